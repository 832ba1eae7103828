"""The agent's metrics: its own, and GPU power by pod under the names of DCGM's and Kepler's exporters.

DCGM's come with its labels (https://github.com/NVIDIA/dcgm-exporter, default counters), Kepler's with those of 0.10.
A value that a GPU does not tell is no sample: it is never zero.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from apps.agent.beside import Beside
from apps.agent.cpu_energy import PodJoules
from apps.agent.snapshot import GpuNow, Snapshot
from facility.errors import ConfigError

DCGM_LABELS = ("gpu", "UUID", "device", "modelName", "Hostname", "container", "namespace", "pod")
# DCGM's name: its words, our quantity, factor to DCGM's unit.
DCGM_GAUGES = {
    "DCGM_FI_DEV_POWER_USAGE": ("Power draw (in W).", "power_w", 1.0),
    "DCGM_FI_DEV_GPU_TEMP": ("GPU temperature (in C).", "temperature_c", 1.0),
    "DCGM_FI_DEV_GPU_UTIL": ("GPU utilization (in %).", "utilization_pct", 1.0),
    "DCGM_FI_DEV_MEM_COPY_UTIL": ("Memory utilization (in %).", "memory_copy_utilization_pct", 1.0),
    "DCGM_FI_DEV_SM_CLOCK": ("SM clock frequency (in MHz).", "sm_clock_mhz", 1.0),
    "DCGM_FI_DEV_MEM_CLOCK": ("Memory clock frequency (in MHz).", "memory_clock_mhz", 1.0),
}
DCGM_ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
MJ_PER_WH = 3.6e6
POD_LABELS = ("node_name", "pod_namespace", "pod_name", "pod_id", "state")


class AgentCollector(Collector):
    """What the last round found, whenever it is asked for."""

    def __init__(self, last: Callable[[], Snapshot], beside: Beside, cpu: Callable[[], PodJoules]) -> None:
        self._last, self._beside, self._cpu = last, beside, cpu

    def collect(self) -> Iterator[Metric]:
        """Every metric of one round."""
        now = self._last()
        yield from _own(now)
        if self._beside.dcgm:
            yield from _dcgm(now)
        if self._beside.kepler:
            yield from _kepler(now)
            yield from _cpu(now, self._cpu())


def _own(now: Snapshot) -> Iterator[Metric]:
    round_ = GaugeMetricFamily("eco_agent_round_timestamp_seconds", "Time of the last round", labels=("node", "mode"))
    round_.add_metric((now.node, now.mode), now.at.timestamp())
    yield round_
    problems = GaugeMetricFamily("eco_agent_problems", "Problems of the last round", labels=("node",))
    problems.add_metric((now.node,), float(len(now.problems)))
    yield problems
    held = GaugeMetricFamily("eco_agent_limit", "Limit that the agent holds, W or MHz", labels=("node", "point"))
    for point, value in now.limited.items():
        if value is not None:
            held.add_metric((now.node, point), value)
    yield held
    refused = GaugeMetricFamily("eco_agent_gpu_refused", "1: the GPU is not limited", labels=("node", "UUID", "reason"))
    for gpu in now.gpus:
        if gpu.refused:
            refused.add_metric((now.node, gpu.identity.uuid, gpu.refused), 1.0)
    yield refused
    left = GaugeMetricFamily("eco_agent_budget_left_seconds", "Until a budget ends", labels=("node", "of"))
    for of, left_s in now.budgets.items():
        left.add_metric((now.node, of), left_s)
    yield left
    stalled = GaugeMetricFamily("eco_agent_pod_stalled", "1: the pod waits for its data", labels=("node", "of"))
    for pod in sorted(now.stalled):
        stalled.add_metric((now.node, pod), 1.0)
    yield stalled


def _dcgm(now: Snapshot) -> Iterator[Metric]:
    for name, (text, quantity, factor) in DCGM_GAUGES.items():
        gauge = GaugeMetricFamily(name, text, labels=DCGM_LABELS)
        _fill(gauge, now, quantity, factor)
        yield gauge
    # DCGM's counter has no suffix _total: as a gauge it keeps its name.
    energy = GaugeMetricFamily(DCGM_ENERGY, "Total energy consumption since boot (in mJ).", labels=DCGM_LABELS)
    _fill(energy, now, "energy_wh", MJ_PER_WH)
    yield energy


def _fill(metric: GaugeMetricFamily, now: Snapshot, quantity: str, factor: float) -> None:
    for gpu in now.gpus:
        value = gpu.values.get(quantity)
        if value is not None:
            metric.add_metric(_dcgm_labels(gpu, now.node), value * factor)


def _dcgm_labels(gpu: GpuNow, node: str) -> tuple[str, ...]:
    holder = gpu.holder
    job = ("", "", "") if holder is None else (holder.container, holder.namespace, holder.pod)
    return (gpu.index, gpu.identity.uuid, f"nvidia{gpu.index}", gpu.identity.model, node, *job)


def _kepler(now: Snapshot) -> Iterator[Metric]:
    """GPU power by node and pod. A sum that lacks one of its GPUs is no sum."""
    known = {gpu.name: gpu.values.get("power_w") for gpu in now.gpus}
    node = GaugeMetricFamily("kepler_node_gpu_watts", "Power of all GPUs", labels=("node_name",))
    total_w = _sum(known.values())
    if total_w is not None:
        node.add_metric((now.node,), total_w)
    yield node
    pods = GaugeMetricFamily("kepler_pod_gpu_watts", "Power of a pod's GPUs", labels=POD_LABELS)
    for where in sorted({gpu.holder.where for gpu in now.gpus if gpu.holder is not None}):
        mine = [known[gpu.name] for gpu in now.gpus if gpu.holder is not None and gpu.holder.where == where]
        pod_w = _sum(mine)
        if pod_w is not None:
            pods.add_metric((now.node, *where.split("/", 1), now.pod_uids.get(where, ""), "running"), pod_w)
    yield pods


def _sum(values: Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if found and len(known) == len(found) else None


def _cpu(now: Snapshot, joules: PodJoules) -> Iterator[Metric]:
    """Processor and memory energy, where the machine's counters (RAPL) can be read."""
    node = CounterMetricFamily("kepler_node_cpu_joules", "Energy (in J)", labels=("zone", "path", "node_name"))
    for (zone, path), value in joules.zones.items():
        node.add_metric((zone, path, now.node), value)
    yield node
    where = {uid: pod for pod, uid in now.pod_uids.items()}
    pods = CounterMetricFamily("kepler_pod_cpu_joules", "Energy (in J)", labels=("zone", *POD_LABELS))
    for (uid, zone), value in joules.pods.items():
        if uid in where:
            pods.add_metric((zone, now.node, *where[uid].split("/", 1), uid, "running"), value)
    yield pods


class Exporter:
    """Serves ``/metrics`` from a thread of its own, until it is closed."""

    def __init__(self, collector: Collector, address: str, port: int) -> None:
        """``port`` 0 takes any free one. Raises ConfigError where it is taken."""
        registry = CollectorRegistry()
        registry.register(collector)
        try:
            self._server, self._thread = _started(port, address, registry)
        except OSError as error:
            hint = "another agent? choose another --metrics-port"
            raise ConfigError(f"cannot listen: {error.strerror}", where=f"{address}:{port}", hint=hint) from error
        self.port = int(self._server.server_port)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        with suppress(RuntimeError):
            self._thread.join(2.0)


def _started(port: int, address: str, registry: CollectorRegistry) -> tuple[WSGIServer, threading.Thread]:
    return start_http_server(port, address, registry)
