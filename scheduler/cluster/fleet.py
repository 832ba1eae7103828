"""All managed workloads of one moment as records, and the State that a policy decides on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from facility.records import Job, JobPhase, JobStatus, NodeStatus, State, WorkClass
from scheduler.cluster import names
from scheduler.cluster.ask import Ask
from scheduler.cluster.kinds import dig
from scheduler.cluster.ledger import Ledger, Phase
from scheduler.cluster.profiler import JobCurve
from scheduler.cluster.workload import Pod, Workload
from scheduler.placement import Placement

LEAST_SHARE = 0.05  # of its work a job that still runs is taken to have left, whatever the estimate said
LONG_AGO = timedelta(days=7)
PHASES = {
    Phase.HELD: JobPhase.QUEUED,
    Phase.SUSPENDED: JobPhase.SUSPENDED,
    Phase.RUNNING: JobPhase.RUNNING,
    Phase.PROFILING: JobPhase.RUNNING,
}


@dataclass(frozen=True, slots=True)
class Record:
    """One workload with everything that is known of it now."""

    workload: Workload
    ledger: Ledger
    ask: Ask
    pods: tuple[Pod, ...]
    curve: JobCurve | None  # None: no curve of its GPU type

    @property
    def key(self) -> str:
        """Its name in State and commands."""
        return self.workload.key

    @property
    def is_running(self) -> bool:
        """Whether all its pods run."""
        return bool(self.pods) and all(pod.phase == "Running" and not pod.is_ending for pod in self.pods)

    @property
    def is_still_ending(self) -> bool:
        """Whether pods of the run before are there yet; a bare pod is its own and has no run before."""
        return bool(self.pods) and not self.workload.kind.is_pod

    @property
    def deadline(self) -> datetime | None:
        """The soft deadline; None where no delay was offered."""
        return self.ask.latest_end(self.ledger.submitted_at, self.ledger.work_s or 0.0)

    def may_pause(self, max_pauses: int) -> bool:
        """Whether it may be suspended: by contract, and not too often."""
        most = max_pauses if self.ask.max_pauses is None else self.ask.max_pauses
        can = self.ask.checkpoint is not None and not self.workload.kind.is_pod
        return can and self.ledger.pauses < most and self.deadline is not None

    def done_s(self, now: datetime) -> float:
        """Work done by now, in seconds at full power."""
        ledger = self.ledger
        if ledger.phase not in (Phase.RUNNING, Phase.PROFILING, Phase.RELEASED) or not self.is_running:
            return ledger.done_s
        begun = max((pod.started_at for pod in self.pods if pod.started_at is not None), default=now)
        since = max(begun, ledger.progress_at or begun)
        speed = 1.0 if self.curve is None else self.curve.speed(ledger.cap_w)
        return ledger.done_s + max(0.0, (now - since).total_seconds()) * speed

    def remaining_s(self, now: datetime) -> float:
        """Work left, in seconds at full power."""
        work_s = self.ledger.work_s or 0.0
        return max(work_s - self.done_s(now), LEAST_SHARE * work_s, 1.0)

    def progressed(self, now: datetime) -> Ledger:
        """The ledger with the work done by now written down."""
        return replace(self.ledger, done_s=self.done_s(now), progress_at=now)


def nodes_of(objects: Iterable[Mapping[str, Any]], pods: Sequence[Pod]) -> tuple[NodeStatus, ...]:
    """GPU nodes with their free GPUs; a node that takes no pods counts as parked."""
    used: dict[str, int] = {}
    for pod in pods:
        if pod.holds_gpus:
            used[pod.node] = used.get(pod.node, 0) + pod.gpus
    found = []
    for node in objects:
        name = str(node["metadata"]["name"])
        said = (dig(node, ("status", "allocatable")) or {}).get(names.GPU, "0")
        total = int(said) if str(said).isdigit() else 0
        if total:
            free = max(0, total - used.get(name, 0))
            found.append(NodeStatus(name, total, free, parked=not _takes_pods(node)))
    return tuple(sorted(found, key=lambda one: one.name))


def _takes_pods(node: Mapping[str, Any]) -> bool:
    ready = [one for one in dig(node, ("status", "conditions")) or () if one.get("type") == "Ready"]
    is_ready = all(one.get("status") == "True" for one in ready)
    return is_ready and not dig(node, ("spec", "unschedulable"))


def products_of(objects: Iterable[Mapping[str, Any]]) -> set[str]:
    """GPU types of the nodes, as their labels say."""
    return {
        product for node in objects if (product := (node["metadata"].get("labels") or {}).get(names.GPU_PRODUCT, ""))
    }


def state_of(records: Iterable[Record], nodes: tuple[NodeStatus, ...], now: datetime, max_pauses: int) -> State:
    """What a policy sees: jobs on their way, nodes with what is free; GPUs promised to starting jobs are taken."""
    free = {node.name: node.gpus_free for node in nodes if not node.parked}
    statuses = []
    for record in records:
        if record.ledger.phase not in PHASES:
            continue
        placement = _place(record, free)
        statuses.append(status_of(record, placement, now, max_pauses))
    seen = tuple(replace(node, gpus_free=free.get(node.name, node.gpus_free)) for node in nodes)
    return State(now, {}, tuple(statuses), seen)


def _place(record: Record, free: dict[str, int]) -> Placement:
    """Where a running job's GPUs are; what was promised and is not bound to nodes yet is taken from ``free``."""
    bound: dict[str, int] = {}
    for pod in record.pods:
        if pod.holds_gpus:
            bound[pod.node] = bound.get(pod.node, 0) + pod.gpus
    if PHASES[record.ledger.phase] is not JobPhase.RUNNING:
        return ()
    if not bound:
        for node, gpus in record.ledger.placement:
            taken = min(gpus, free.get(node, 0))
            if taken:
                free[node] -= taken
                bound[node] = taken
    return tuple((node, gpus) for node, gpus in bound.items() if node in free)


def status_of(record: Record, placement: Placement, now: datetime, max_pauses: int) -> JobStatus:
    """One workload in the vocabulary of policies."""
    ledger, ask = record.ledger, record.ask
    phase = PHASES[ledger.phase]
    can_wait = record.deadline is not None and (phase is not JobPhase.RUNNING or record.may_pause(max_pauses))
    job = Job(
        record.key,
        ledger.submitted_at,
        max(1, record.workload.gpus),
        ledger.work_s or 0.0,
        record.deadline or now,
        can_wait and ledger.phase is not Phase.PROFILING,
        ask.work_class or (record.curve.curve.work_class if record.curve else WorkClass.COMPUTE_BOUND),
        suspend_cost_s=0.0 if ask.checkpoint is None else ask.checkpoint.cost_s,
    )
    return JobStatus(
        job,
        phase,
        record.remaining_s(now),
        started_at=ledger.started_at,
        changed_at=ledger.changed_at or ledger.submitted_at - LONG_AGO,
        placement=placement,
        gpu_cap_w=ledger.cap_w,
        suspensions=ledger.pauses,
    )
