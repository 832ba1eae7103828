"""The service's own metrics, in the text format of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats)."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from apps.service_view import ServiceView
from facility.records import Mode

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SEVERITIES = ("critical", "warning", "info")


class ServiceCollector(Collector):
    """What the service says when it is asked."""

    def __init__(self, service: ServiceView) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Mode, alarms by severity, overrides, and the service's counters."""
        service = self._service
        mode = GaugeMetricFamily("eco_mode", "1 for the mode in force.", labels=("mode",))
        for one in Mode:
            mode.add_metric((one.value,), float(one is service.control.modes.mode))
        yield mode
        alarms = GaugeMetricFamily("eco_alarms", "Alarms that stand.", labels=("severity",))
        standing = [alarm["severity"] for alarm in service.alarms()]
        for severity in SEVERITIES:
            alarms.add_metric((severity,), float(standing.count(severity)))
        yield alarms
        yield GaugeMetricFamily(
            "eco_overrides", "Points that a person holds.", value=float(len(service.control.overrides.held))
        )
        for name, value in sorted(service.counters().items()):
            words = f"{name.removesuffix('_total').replace('_', ' ')}, of the service."
            is_count = name.endswith("_total")
            family = CounterMetricFamily if is_count else GaugeMetricFamily
            yield family(f"eco_{name.removesuffix('_total')}", words, value=value)


def exposition(service: ServiceView) -> bytes:
    """All of it as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServiceCollector(service))
    return generate_latest(registry)
