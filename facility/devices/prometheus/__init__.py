"""Prometheus: what its PromQL answers, as points."""

from facility.devices.prometheus.device import PrometheusDevice

__all__ = ["PrometheusDevice"]
