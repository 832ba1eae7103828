"""A controller on the real API server beside a simulated cluster, on simulated time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from apps.controller import Controller
from apps.controller_parts import Parts, Report
from apps.controller_settle import Bookkeeper
from facility.checks import GuardLimits
from facility.guard import Guard
from facility.journal import Journal
from facility.records import Mode
from scheduler.cluster import names
from scheduler.cluster.api import Json, Kube, path_of
from scheduler.cluster.kinds import JOB, POD
from scheduler.cluster.kube_actuator import KubernetesActuator
from scheduler.cluster.ledger import Phase
from scheduler.cluster.outlook import SeriesOutlook
from scheduler.cluster.plan import Planner
from scheduler.cluster.profiler import Profiles
from scheduler.cluster.settings import ClusterSettings
from scheduler.cluster.view import UNFINISHED, ClusterView
from scheduler.cluster.watch import Mirror
from scheduler.cluster.writer import Writer
from scheduler.wait_awhile import WaitAwhile
from tests.peers.kube_cluster import SimCluster
from twin.signals.series import CARBON, Series

START = datetime(2023, 6, 1, tzinfo=UTC)
NAMESPACE = "eco-system"
SYNC_S = 20.0


def carbon(start: datetime = START, days: int = 40, until: datetime | None = None) -> Series:
    """A grid that is clean at noon and dirty in the evening, 100 to 500 g/kWh, public after an hour."""
    first = start - timedelta(days=14)
    hours = np.arange(days * 24)
    value = 300.0 + 200.0 * np.cos(2.0 * np.pi * (hours - 20.0) / 24.0)
    if until is not None:
        value = value[: int((until - first).total_seconds() // 3600)]
    return Series(CARBON, "gCO2eq/kWh", "TEST", first, 3600.0, value, 3600.0, "a test's grid", synthetic=True)


@dataclass(slots=True)
class Rig:
    """One controller with what surrounds it."""

    kube: Kube
    sim: SimCluster
    folder: Path
    settings: ClusterSettings
    source: Callable[[datetime], Series]
    controller: Controller = field(init=False)
    view: ClusterView = field(init=False)
    writer: Writer = field(init=False)
    reports: list[Report] = field(default_factory=list)
    is_dry: bool = False
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    generation: int = 0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new controller that knows nothing but what stands in the cluster."""
        if self.generation:
            self.view.stop()
        self.generation += 1
        self.view = ClusterView(self.kube, lambda: None, watch_s=5)
        self.view.start()
        self.writer = Writer(self.kube, lambda: None, is_dry=self.is_dry)
        actuator = KubernetesActuator(self.writer)
        journal = Journal(self.folder / f"written-{self.generation}.json", "test")
        mode = Mode.SHADOW if self.is_dry else Mode.ACTIVE
        outlook = SeriesOutlook(self.source)
        self.controller = Controller(
            Parts(
                self.kube,
                self.view,
                self.writer,
                actuator,
                Guard([actuator], GuardLimits(), journal, mode),
                Planner(WaitAwhile(), self.settings),
                Profiles(self.kube, NAMESPACE),
                Bookkeeper(self.sim.meters, outlook, self.settings, self.folder / "receipts"),
                self.sim.meters,
                outlook,
                self.settings,
            )
        )
        self.sync()
        self.loop.run_until_complete(self.controller.adopt())

    def sync(self) -> None:
        """Wait until the mirrors show what the server has."""
        wait_for(lambda: self.view.age_s < float("inf"), "the mirrors were not listed")
        mirrors = {mirror.path: mirror for mirror in self.view.mirrors}
        managed = self.kube.items(path_of(JOB), labelSelector=f"{names.MANAGED}=true")[0]
        pods = self.kube.items(path_of(POD), fieldSelector=UNFINISHED)[0]
        jobs_mirror = mirrors[path_of(JOB)]
        pods_mirror = self.view.mirrors[len(self.view.kinds)]
        wait_for(lambda: shows(jobs_mirror, managed) and shows(pods_mirror, pods), "the mirrors do not follow")

    def look(self) -> Report:
        """One pass of the controller at the cluster's time."""
        self.sync()
        report = self.loop.run_until_complete(self.controller.look_and_act(self.sim.now))
        self.reports.append(report)
        return report

    def advance(self, seconds: float, step_s: float = 900.0) -> None:
        """Let time pass: the cluster moves, the controller looks, the cluster reacts; finer while it measures."""
        until = self.sim.now + timedelta(seconds=seconds)
        while self.sim.now < until:
            kept = [one.kept.ledger for one in self.view.workloads().values()]
            is_measuring = any(one is not None and one.phase is Phase.PROFILING for one in kept)
            self.sim.step(min(until, self.sim.now + timedelta(seconds=30.0 if is_measuring else step_s)))
            self.look()
            self.sim.step(self.sim.now)

    def job(self, name: str, namespace: str = "default") -> Json:
        """A Job as it stands."""
        return self.kube.get(path_of(JOB, namespace, name))

    def note(self, name: str, annotation: str) -> str | None:
        """One annotation of a Job."""
        found: str | None = (self.job(name)["metadata"].get("annotations") or {}).get(annotation)
        return found

    def events(self, name: str) -> list[tuple[str, str]]:
        """Reason and message of the Events of an object, in order."""
        found = [one for one in self.kube.items("/api/v1/events")[0] if one["involvedObject"]["name"] == name]
        found.sort(key=lambda one: int(one["metadata"]["resourceVersion"]))
        return [(one["reason"], one["message"]) for one in found]

    def clear(self) -> None:
        """Take away what a test has made."""
        self.view.stop()
        for pod in self.kube.items(path_of(POD))[0]:
            self.sim._free(pod)
        for path in ("jobs", "events", "pods", "configmaps"):
            base = "/apis/batch/v1" if path == "jobs" else "/api/v1"
            for space in ("default", NAMESPACE):
                self.kube.delete(f"{base}/namespaces/{space}/{path}")
        for node in self.sim.nodes:
            self.kube.delete(f"/api/v1/nodes/{node}")
        self.kube.delete("/apis/eco-orchestrator.io/v1alpha1/nodepowerbudgets")
        self.kube.delete("/apis/eco-orchestrator.io/v1alpha1/namespaces/default/energypolicies")
        self.loop.close()


def shows(mirror: Mirror, items: list[Json]) -> bool:
    """Whether a mirror holds exactly these versions, or newer ones of its own writes."""
    known = {key: int(obj["metadata"]["resourceVersion"]) for key, obj in mirror.objects.items()}
    wanted = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): int(one["metadata"]["resourceVersion"])
        for one in items
    }
    return known.keys() == wanted.keys() and all(known[key] >= wanted[key] for key in wanted)


def wait_for(ready: Callable[[], bool], what: str) -> None:
    """Poll until it is so."""
    until = time.monotonic() + SYNC_S
    while not ready():
        assert time.monotonic() < until, what
        time.sleep(0.002)


def make_rig(
    kube: Kube, folder: Path, *, nodes: int = 4, source: Any = None, is_dry: bool = False, **settings: Any
) -> Iterator[Rig]:
    """A rig for a fixture; ``settings`` change the controller's."""
    series = carbon()
    sim = SimCluster(kube, START, nodes)
    known = {"namespace": NAMESPACE, "host_w_per_gpu": 75.0, "pue": 1.2, "market_g_kwh": 50.0, **settings}
    rig = Rig(kube, sim, folder, ClusterSettings(**known), source or (lambda now: series), is_dry=is_dry)
    try:
        yield rig
    finally:
        rig.clear()
