"""A GPU cluster on explicit time: gangs start, make progress, are suspended, capped and finish. It keeps no clock.

Between two calls of ``advance`` every job's speed and power are constant, so a job ends at its exact time inside the
step and the energy of a step is exact. GPUs freed inside a step are given out at the next one, to every policy alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from facility.errors import DataError, EcoError
from facility.records import Job, JobPhase, JobStatus, NodeStatus
from facility.site import Hall
from scheduler.cluster.codec import from_json, to_json
from scheduler.cluster.curves import Curves, hall_curves
from scheduler.cluster.jobs import JobRun
from scheduler.placement import Placement


@dataclass(frozen=True, slots=True)
class NodeGpuPower:
    """Power of a node's busy GPUs, now and as the mean of the last step; idle GPUs are only counted."""

    name: str
    busy_w: float
    busy_gpus: int
    idle_gpus: int
    mean_busy_w: float
    mean_busy_gpus: float
    mean_idle_gpus: float


@dataclass(slots=True)
class _Node:
    gpus: int
    free: int
    gpu_limit_w: float | None = None  # held by its BMC, for each GPU
    busy_j: float = 0.0  # of the last step
    busy_gpu_s: float = 0.0


class EmulatedCluster:
    """Jobs on nodes. ``jobs`` become visible at their submitted_at; ``curves`` gives the power curve of a job."""

    def __init__(self, nodes: Mapping[str, int], jobs: Iterable[Job], start: datetime, curves: Curves) -> None:
        """``nodes`` are the GPUs of each node by name; raises EcoError for a naive start."""
        if start.tzinfo is None:
            raise EcoError("a time without zone", where=str(start), hint="times are UTC and aware")
        self.at = start
        self._curves = curves
        self._nodes = {name: _Node(gpus, gpus) for name, gpus in nodes.items()}
        self._runs: dict[str, JobRun] = {}  # submitted and not finished
        self._finished: list[JobRun] = []
        self._coming: list[Job] = []
        self._names: set[str] = set()
        self._step_s = 0.0
        for job in jobs:
            self._admit(job)
        self._coming.sort(key=lambda job: (job.submitted_at, job.name), reverse=True)
        self._arrive()

    @classmethod
    def from_hall(cls, hall: Hall, jobs: Iterable[Job], start: datetime) -> EmulatedCluster:
        """The cluster of a configured hall, with the power curves of its GPUs."""
        return cls(dict.fromkeys(hall.node_names, hall.node.gpu.per_node), jobs, start, hall_curves(hall))

    def submit(self, job: Job) -> None:
        """Add a job that arrives now or later; raises EcoError where the name is taken or the gang can never fit."""
        self._admit(job)
        self._coming.sort(key=lambda job: (job.submitted_at, job.name), reverse=True)
        self._arrive()

    def start(self, name: str, placement: Placement) -> None:
        """Start or resume a job on ``placement``; raises EcoError where it runs already or the GPUs are not free."""
        run = self._run(name)
        if run.phase is JobPhase.RUNNING:
            raise EcoError("the job is running already", where=name)
        if sum(count for _, count in placement) != run.job.gpus:
            raise EcoError(
                f"a gang of {run.job.gpus} cannot run on {placement}", where=name, hint="place the whole gang"
            )
        for node, count in placement:
            free = self._nodes[node].free if node in self._nodes else 0
            if count <= 0 or count > free:
                raise EcoError(
                    f"{count} GPUs wanted on {node}, {free} free", where=name, hint="place the gang elsewhere"
                )
        for node, count in placement:
            self._nodes[node].free -= count
        run.start(self.at, tuple(placement))
        self._limit(run)

    def resume(self, name: str, placement: Placement) -> None:
        """Resume a suspended job; the same as ``start``."""
        self.start(name, placement)

    def suspend(self, name: str) -> None:
        """Suspend a running job; raises EcoError where it does not run."""
        run = self._run(name)
        if run.phase is not JobPhase.RUNNING:
            raise EcoError(f"the job is {run.phase.value}, not running", where=name)
        self._free(run.placement)
        run.suspend(self.at)

    def set_cap(self, name: str, cap_w: float | None) -> None:
        """Power limit of each GPU of a job in W; None takes it away."""
        if cap_w is not None and cap_w <= 0:
            raise EcoError(f"a cap of {cap_w} W", where=name, hint="a cap is positive, or None for no cap")
        self._run(name).gpu_cap_w = cap_w

    def limit_node(self, name: str, gpu_w: float | None) -> None:
        """Power limit of each GPU of a node in W, as its BMC holds it; None takes it away."""
        if name not in self._nodes:
            raise EcoError("no such node", where=name)
        self._nodes[name].gpu_limit_w = gpu_w
        for run in self._runs.values():
            self._limit(run)

    def _limit(self, run: JobRun) -> None:
        """A gang works in step: the most limited of its nodes sets the pace."""
        limits = [self._nodes[name].gpu_limit_w for name, _ in run.placement]
        run.node_limit_w = min((limit for limit in limits if limit is not None), default=None)

    def advance(self, to: datetime) -> None:
        """Let time pass until ``to``; raises EcoError where that is in the past."""
        dt_s = (to - self.at).total_seconds()
        if dt_s < 0:
            raise EcoError(f"time cannot go back to {to}", where=str(self.at))
        for node in self._nodes.values():
            node.busy_j = node.busy_gpu_s = 0.0
        self._step_s = dt_s
        for name in [name for name, run in self._runs.items() if run.phase is JobPhase.RUNNING]:
            self._work(name, dt_s)
        self.at = to
        self._arrive()

    def status(self, name: str) -> JobStatus:
        """One unfinished job; raises EcoError where there is none of that name."""
        return self._run(name).status()

    def statuses(self) -> tuple[JobStatus, ...]:
        """Every submitted and unfinished job, in order of arrival."""
        return tuple(run.status() for run in self._runs.values())

    def nodes(self) -> tuple[NodeStatus, ...]:
        """Every node with its free GPUs."""
        return tuple(NodeStatus(name, node.gpus, node.free) for name, node in self._nodes.items())

    def gpu_power_w(self) -> tuple[NodeGpuPower, ...]:
        """Busy GPU power of every node: now, and the mean of the last step (exact in energy)."""
        now = dict.fromkeys(self._nodes, 0.0)
        for run in self._runs.values():
            if run.phase is JobPhase.RUNNING:
                power_w = self._curves(run.job).power_w(run.limit_w)
                for name, count in run.placement:
                    now[name] += power_w * count
        return tuple(self._power(name, node, now[name]) for name, node in self._nodes.items())

    @property
    def finished(self) -> tuple[JobRun, ...]:
        """Jobs that are done, in order of their end within each step."""
        return tuple(self._finished)

    @property
    def is_drained(self) -> bool:
        """Whether every job that was ever submitted is done."""
        return not self._runs and not self._coming

    def to_dict(self) -> dict[str, Any]:
        """The whole state as JSON types; the curves are not part of it."""
        return {
            "at": self.at.isoformat(),
            "nodes": {name: node.gpus for name, node in self._nodes.items()},
            "coming": [to_json(job) for job in self._coming],
            "runs": [to_json(run) for run in self._runs.values()],
            "finished": [to_json(run) for run in self._finished],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], curves: Curves) -> EmulatedCluster:
        """The cluster that ``to_dict`` described; raises DataError where it cannot be read."""
        try:
            cluster = cls(data["nodes"], (), datetime.fromisoformat(data["at"]), curves)
            cluster._coming = [from_json(Job, job) for job in data["coming"]]
            cluster._runs = {run.job.name: run for run in (from_json(JobRun, item) for item in data["runs"])}
            cluster._finished = [from_json(JobRun, run) for run in data["finished"]]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a saved cluster: {error}", where="cluster", hint="start with a fresh one") from error
        known = [*cluster._runs.values(), *cluster._finished]
        cluster._names = {run.job.name for run in known} | {job.name for job in cluster._coming}
        for run in cluster._runs.values():
            for node, count in run.placement:
                cluster._nodes[node].free -= count
        return cluster

    def _admit(self, job: Job) -> None:
        total = sum(node.gpus for node in self._nodes.values())
        if job.name in self._names:
            raise EcoError("the name is taken", where=job.name, hint="give every job its own name")
        if not 0 < job.gpus <= total:
            raise EcoError(f"a gang of {job.gpus} GPUs on a cluster of {total}", where=job.name)
        self._names.add(job.name)
        self._coming.append(job)

    def _arrive(self) -> None:
        while self._coming and self._coming[-1].submitted_at <= self.at:
            job = self._coming.pop()
            self._runs[job.name] = JobRun.submitted(job)

    def _run(self, name: str) -> JobRun:
        if name not in self._runs:
            raise EcoError("no unfinished job of this name", where=name)
        return self._runs[name]

    def _free(self, placement: Placement) -> None:
        for name, count in placement:
            self._nodes[name].free += count

    def _work(self, name: str, dt_s: float) -> None:
        run = self._runs[name]
        placement = run.placement
        worked_s, power_w = run.advance(self.at, dt_s, self._curves(run.job))
        for node, count in placement:
            self._nodes[node].busy_j += worked_s * power_w * count
            self._nodes[node].busy_gpu_s += worked_s * count
        if run.phase is JobPhase.DONE:
            self._free(placement)
            self._finished.append(self._runs.pop(name))

    def _power(self, name: str, node: _Node, busy_w: float) -> NodeGpuPower:
        busy = node.gpus - node.free
        mean_busy = node.busy_gpu_s / self._step_s if self._step_s else float(busy)
        mean_w = node.busy_j / self._step_s if self._step_s else busy_w
        return NodeGpuPower(name, busy_w, busy, node.free, mean_w, mean_busy, node.gpus - mean_busy)
