"""How long one planning tick over a large cluster takes, and how much memory the controller needs for it.

The objects are made in a real API server, so that lists, watches and parsing count; they are taken away at the end. The
controller itself is a dry run: it reads and decides.
"""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from apps.controller import Controller
from apps.controller_parts import Parts, Report
from apps.controller_settle import Bookkeeper
from facility.checks import GuardLimits
from facility.errors import ConfigError
from facility.guard import Guard
from facility.journal import Journal
from facility.records import Mode
from scheduler.cluster import names
from scheduler.cluster.api import MERGE_PATCH, Json, Kube, NotFound, path_of
from scheduler.cluster.ask import read_ask
from scheduler.cluster.change import OWNER, stamp
from scheduler.cluster.kinds import JOB, POD
from scheduler.cluster.kube_actuator import KubernetesActuator
from scheduler.cluster.ledger import Account, Ledger, Phase, ledger_text
from scheduler.cluster.metering import Usage
from scheduler.cluster.outlook import SeriesOutlook
from scheduler.cluster.plan import Planner
from scheduler.cluster.profiler import Profiles
from scheduler.cluster.settings import ClusterSettings
from scheduler.cluster.view import ClusterView
from scheduler.cluster.writer import Writer
from scheduler.wait_awhile import WaitAwhile
from twin.signals import synthetic_carbon

RUNNING_SHARE = 0.4
THREADS = 8
TICKS = 5
CAP_W = 280.0  # what running jobs are held to already
LISTED_S = 300.0  # that the first lists may take
GPUS_PER_NODE = 8
HISTORY_D = 30


@dataclass(frozen=True, slots=True)
class Size:
    """How large the cluster is."""

    jobs: int
    nodes: int
    seed: int = 0


def bench_cluster(kube: Kube, size: Size, done: Callable[[float], None] = lambda share: None) -> dict[str, Any]:
    """Make the objects, time the ticks, take the objects away. Raises ConfigError in a cluster with GPU nodes.

    ``done`` is told the share of the work that is over.
    """
    _refuse_real(kube)
    namespace = f"eco-bench-{uuid.uuid4().hex[:8]}"
    now = datetime.now(UTC)
    made: list[str] = []
    try:
        _make(kube, namespace, size, now, made, done)
        return {"jobs": size.jobs, "nodes": size.nodes, **_measure(kube, namespace, now)}
    finally:
        _take_away(kube, namespace, made)


def _refuse_real(kube: Kube) -> None:
    nodes, _ = kube.items("/api/v1/nodes")
    if any((one.get("status", {}).get("allocatable") or {}).get(names.GPU, "0") != "0" for one in nodes):
        hint = "give the kubeconfig of a throw-away API server"
        raise ConfigError("this cluster has GPU nodes: made-up ones do not belong here", hint=hint)


def _make(
    kube: Kube, namespace: str, size: Size, now: datetime, made: list[str], done: Callable[[float], None]
) -> None:
    """Nodes, jobs and the pods of those that run."""
    kube.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    run = namespace.removeprefix("eco-bench-")
    nodes = [f"bench-{run}-{index:05d}" for index in range(size.nodes)]
    steps = size.nodes + size.jobs
    with ThreadPoolExecutor(THREADS) as pool:
        for index, name in enumerate(pool.map(lambda name: _make_node(kube, name), nodes)):
            made.append(name)
            done(index / steps)
        jobs = _jobs(size, nodes, now)
        for index, _ in enumerate(pool.map(lambda job: _make_job(kube, namespace, *job), jobs)):
            done((size.nodes + index) / steps)


def _make_node(kube: Kube, name: str) -> str:
    kube.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    status = {"allocatable": {names.GPU: str(GPUS_PER_NODE)}, "conditions": [{"type": "Ready", "status": "True"}]}
    kube.patch(f"/api/v1/nodes/{name}/status", {"status": status}, MERGE_PATCH)
    return name


def _jobs(size: Size, nodes: list[str], now: datetime) -> Iterator[tuple[Json, str]]:
    """Manifests as they stand after first sight, with the node of those that run (empty: held)."""
    rng = np.random.default_rng(size.seed)
    free = [node for node in nodes for _ in range(2)]  # two gangs of four GPUs each
    for index in range(size.jobs):
        hours, delay_h = float(rng.uniform(1.0, 24.0)), float(rng.uniform(2.0, 48.0))
        is_running = rng.random() < RUNNING_SHARE and bool(free)
        asked = {
            names.DURATION: f"{hours:.1f}h",
            names.MAX_DELAY: f"{delay_h:.1f}h",
            names.CHECKPOINT: "sigterm",
            names.CHECKPOINT_TIME: "20s",
        }
        submitted = now - timedelta(hours=float(rng.uniform(0.0, 1.0)))
        ledger = Ledger(
            submitted,
            Phase.HELD,
            read_ask(asked, submitted).fingerprint,
            Account(until=now),
            work_s=float(asked[names.DURATION][:-1]) * 3600.0,
            suspend=True,
            changed_at=submitted,
        ).noted(submitted, "held", "held for planning: it starts in time for its deadline")
        node = free.pop() if is_running else ""
        if node:
            ledger = ledger.turned(now, Phase.RUNNING, "a benchmark's")
            ledger = replace(ledger, suspend=False, started_at=now, cap_w=CAP_W)
        yield _job(f"job-{index:05d}", asked, ledger, index % 40), node


def _job(name: str, asked: dict[str, str], ledger: Ledger, image: int) -> Json:
    notes = {**asked, names.LEDGER: ledger_text(ledger), names.REASON: "a benchmark's"}
    if ledger.cap_w is not None:
        notes[names.GPU_CAP_W] = f"{ledger.cap_w:g}"
    if ledger.suspend:
        notes[names.SUSPENDED_BY] = OWNER
    resources = {"limits": {names.GPU: "4"}}
    container = {"name": "train", "image": f"image-{image}", "args": ["--steps", "1000"], "resources": resources}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 60, "containers": [container]}
    metadata = {"name": name, "labels": {names.MANAGED: "true"}, "annotations": notes}
    template = {"spec": spec}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}
    return {**body, "spec": {"suspend": bool(ledger.suspend), "template": template}}


def _make_job(kube: Kube, namespace: str, body: Json, node: str) -> None:
    kube.create(path_of(JOB, namespace), body)
    if not node:
        return
    name = body["metadata"]["name"]
    metadata = {"name": f"{name}-0", "labels": {JOB.pod_label: name}}
    spec = {**body["spec"]["template"]["spec"], "nodeName": node}
    kube.create(path_of(POD, namespace), {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    status = {"phase": "Running", "startTime": stamp(datetime.now(UTC))}
    kube.patch(path_of(POD, namespace, f"{name}-0", "status"), {"status": status}, MERGE_PATCH)


def _measure(kube: Kube, namespace: str, now: datetime) -> dict[str, Any]:
    before_mb = rss_mb()
    view = ClusterView(kube, lambda: None)
    begun = time.perf_counter()
    view.start()
    while view.age_s == float("inf"):
        if time.perf_counter() - begun > LISTED_S:
            raise ConfigError("the cluster cannot be listed", where="; ".join(view.problems))
        time.sleep(0.01)
    listed_s = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as folder:
        controller = _controller(kube, view, namespace, Path(folder))
        try:
            return {"list_s": listed_s, **_ticks(controller, now), "rss_mb": rss_mb(), "rss_before_mb": before_mb}
        finally:
            view.stop()


def _controller(kube: Kube, view: ClusterView, namespace: str, folder: Path) -> Controller:
    settings = ClusterSettings(namespace=namespace, profiling=False)
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=HISTORY_D)
    series = synthetic_carbon("US-CAL-CISO", start, HISTORY_D + 5, 1)
    outlook, meter = SeriesOutlook(lambda now: series), _Silent()
    writer = Writer(kube, lambda: None, is_dry=True)
    actuator = KubernetesActuator(writer)
    guard = Guard([actuator], GuardLimits(), Journal(folder / "written.json", "bench"), Mode.SHADOW)
    books = Bookkeeper(meter, outlook, settings, None)
    planner, profiles = Planner(WaitAwhile(), settings), Profiles(kube, namespace)
    return Controller(Parts(kube, view, writer, actuator, guard, planner, profiles, books, meter, outlook, settings))


def _ticks(controller: Controller, now: datetime) -> dict[str, Any]:
    """A first pass that parses everything, then planning ticks as they come every quarter of an hour."""

    async def run() -> tuple[list[tuple[float, float]], Report]:
        spent = []
        for index in range(TICKS + 1):
            begun, cpu = time.perf_counter(), time.process_time()
            report = await controller.look_and_act(now + timedelta(minutes=15 * index))
            spent.append((time.perf_counter() - begun, time.process_time() - cpu))
        return spent, report

    spent, report = asyncio.run(run())
    return {
        "first_pass_s": spent[0][0],
        "planning_tick_s": median(wall for wall, _ in spent[1:]),
        "planning_tick_cpu_s": median(cpu for _, cpu in spent[1:]),
        "workloads": report.workloads,
        "planned": report.planned,
        "problems": report.problems,
    }


class _Silent:
    """A meter that answers at once: its time is not the controller's."""

    def usage(self, namespace: str, pods: Sequence[str], start: datetime, end: datetime) -> Usage:
        """Nothing was used."""
        return Usage()


def rss_mb() -> float:
    """The most memory that this process has held, in MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def _take_away(kube: Kube, namespace: str, nodes: list[str]) -> None:
    """Everything that was made, and nothing else."""
    for collection in (f"/apis/batch/v1/namespaces/{namespace}/jobs", f"/api/v1/namespaces/{namespace}/pods"):
        kube.delete(collection, gracePeriodSeconds=0)
    for name in nodes:
        try:
            kube.delete(f"/api/v1/nodes/{name}")
        except NotFound:
            continue
    kube.delete(f"/api/v1/namespaces/{namespace}")
