"""DCGM's and Kepler's exporters of the emulated hall: metrics by the names and labels of the real ones.

Kepler is emulated with its known weakness: what a pod's GPUs take is not in its CPU figures. GPUs are numbered from 0,
as DCGM does. Energy is summed from one scrape to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from apps.emulator.building import Building
from apps.emulator.redfish_building import node_numbers
from facility.records import JobPhase

NAMESPACE = "training"
PACKAGE_SHARE = 0.55  # of what a node takes beside its GPUs: processors; the rest are fans, network, drives and losses
DRAM_SHARE = 0.15
SM_CLOCK_MHZ, IDLE_CLOCK_MHZ, MEMORY_CLOCK_MHZ = 1410.0, 210.0, 1593.0  # A100-80GB: boost, idle, memory
GPU_K_W = 0.11  # from intake to the core: 400 W at 25 C make 69 C


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU now; ``pod`` is empty where no job runs on it."""

    node: str
    index: int
    watts: float
    celsius: float
    pod: str


@dataclass(frozen=True, slots=True)
class Node:
    """One node now: what it takes, and what its processors and memory do."""

    name: str
    watts: float
    package_w: float
    dram_w: float
    gpus: tuple[Gpu, ...]


def snapshot(building: Building) -> list[Node]:
    """Every node of the building with its GPUs; jobs fill a node's GPUs in the order of their names."""
    pods: dict[str, list[str]] = {name: [] for name in building.hall.node_names}
    for status in building.cluster.statuses():
        if status.phase is JobPhase.RUNNING:
            for node, count in status.placement:
                pods[node] += [f"{status.job.name}-{node}"] * count
    return [_node(building, index, name, pods[name]) for index, name in enumerate(building.hall.node_names)]


def _node(building: Building, index: int, name: str, pods: list[str]) -> Node:
    now = node_numbers(building, index)  # the busy GPUs come first
    gpus = tuple(
        Gpu(name, gpu, watts, now.inlet_c + GPU_K_W * watts, pods[gpu] if gpu < len(pods) else "")
        for gpu, watts in enumerate(now.gpu_w)
    )
    host_w = max(now.node_w - sum(now.gpu_w), 0.0)
    return Node(name, now.node_w, PACKAGE_SHARE * host_w, DRAM_SHARE * host_w, gpus)


@dataclass(slots=True)
class Meter:
    """Joules by series, summed over the building's own time from one scrape to the next."""

    at: datetime | None = None
    joules: dict[tuple[str, ...], float] = field(default_factory=dict)

    def count(self, at: datetime, watts: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
        """Add what was taken since the last scrape; series that are gone are forgotten."""
        over_s = 0.0 if self.at is None else max((at - self.at).total_seconds(), 0.0)
        self.joules = {key: self.joules.get(key, 0.0) + power_w * over_s for key, power_w in watts.items()}
        self.at = at
        return self.joules


class DcgmCollector(Collector):
    """DCGM exporter, default counters."""

    LABELS = ("gpu", "UUID", "device", "modelName", "Hostname", "container", "namespace", "pod")

    def __init__(self, look: Callable[[], tuple[datetime, list[Node]]]) -> None:
        self._look = look
        self._meter = Meter()

    def collect(self) -> Iterator[Metric]:
        """Gauges of every GPU, and its energy counter in mJ."""
        at, nodes = self._look()
        gpus = [gpu for node in nodes for gpu in node.gpus]
        joules = self._meter.count(at, {(gpu.node, str(gpu.index)): gpu.watts for gpu in gpus})
        yield self._gauge("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", gpus, lambda gpu: gpu.watts)
        yield self._gauge("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", gpus, lambda gpu: round(gpu.celsius))
        yield self._gauge("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", gpus, lambda gpu: 98.0 if gpu.pod else 0.0)
        clock = "DCGM_FI_DEV_SM_CLOCK"
        yield self._gauge(clock, "SM clock (in MHz).", gpus, lambda gpu: SM_CLOCK_MHZ if gpu.pod else IDLE_CLOCK_MHZ)
        yield self._gauge("DCGM_FI_DEV_MEM_CLOCK", "Memory clock (in MHz).", gpus, lambda _: MEMORY_CLOCK_MHZ)
        energy = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
        text = "Total energy consumption since boot (in mJ)."
        yield self._gauge(energy, text, gpus, lambda gpu: round(1000.0 * joules[gpu.node, str(gpu.index)]))

    def _gauge(self, name: str, text: str, gpus: Iterable[Gpu], value: Callable[[Gpu], float]) -> Metric:
        metric = GaugeMetricFamily(name, text, labels=self.LABELS)
        for gpu in gpus:
            uuid, device = f"GPU-{gpu.node}-{gpu.index}", f"nvidia{gpu.index}"
            job = ("main", NAMESPACE, gpu.pod) if gpu.pod else ("", "", "")
            labels = (str(gpu.index), uuid, device, "NVIDIA A100-SXM4-80GB", gpu.node, *job)
            metric.add_metric(labels, value(gpu))
        return metric


class KeplerCollector(Collector):
    """Kepler 0.10: nodes and pods, by zone."""

    def __init__(self, look: Callable[[], tuple[datetime, list[Node]]]) -> None:
        self._look = look
        self._nodes, self._pods = Meter(), Meter()

    def collect(self) -> Iterator[Metric]:
        """Energy counters of nodes and pods, and the platform's power."""
        at, nodes = self._look()
        build = GaugeMetricFamily("kepler_build_info", "Build information", labels=("version",))
        build.add_metric(("v0.11.2-emulated",), 1.0)
        yield build
        node_labels = ("zone", "path", "node_name")
        yield _joules("kepler_node_cpu_joules", node_labels, self._nodes.count(at, _node_watts(nodes)))
        labels = ("zone", "node_name", "pod_namespace", "pod_name", "pod_id", "state")
        yield _joules("kepler_pod_cpu_joules", labels, self._pods.count(at, _pod_watts(nodes)))
        platform = GaugeMetricFamily("kepler_platform_watts", "Power of the platform", labels=("source", "node_name"))
        for node in nodes:
            platform.add_metric(("redfish", node.name), node.watts)
        yield platform


def _node_watts(nodes: Iterable[Node]) -> dict[tuple[str, ...], float]:
    return {
        (zone, f"/sys/class/powercap/{path}", node.name): power_w
        for node in nodes
        for zone, path, power_w in (
            ("package", "intel-rapl:0", node.package_w),
            ("dram", "intel-rapl:0:0", node.dram_w),
        )
    }


def _pod_watts(nodes: Iterable[Node]) -> dict[tuple[str, ...], float]:
    """A node's processors are given to its pods by their share of its GPUs; nobody's share stays with the node."""
    watts: dict[tuple[str, ...], float] = {}
    for node in nodes:
        for gpu in node.gpus:
            if gpu.pod:
                for zone, power_w in (("package", node.package_w), ("dram", node.dram_w)):
                    key = (zone, node.name, NAMESPACE, gpu.pod, f"id-{gpu.pod}", "running")
                    watts[key] = watts.get(key, 0.0) + power_w / len(node.gpus)
    return watts


def _joules(name: str, labels: tuple[str, ...], joules: dict[tuple[str, ...], float]) -> Metric:
    metric = CounterMetricFamily(name, "Energy (in J)", labels=labels)
    for key, value in joules.items():
        metric.add_metric(key, value)
    return metric


def exporter_app(collector: Collector) -> FastAPI:
    """``GET /metrics`` of one exporter."""
    registry = CollectorRegistry()
    registry.register(collector)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/metrics")
    async def metrics() -> Response:  # a coroutine: it runs in the event loop, like all that touches the building
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app
