"""From a policy's decision to changes of workloads: who starts, who pauses, under which cap, and the words for each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from facility.records import JOB_GPU_CAP_W, JOB_RUN_FLAG, Command, Decision, Forecasts, JobOutcome, NodeStatus
from scheduler.cluster import names
from scheduler.cluster.caps import choose_cap
from scheduler.cluster.change import Change, Notice
from scheduler.cluster.fleet import Record, state_of
from scheduler.cluster.ledger import Ledger, Phase
from scheduler.cluster.settings import ClusterSettings, GpuType
from scheduler.placement import Placement
from scheduler.policy import Policy
from twin.signals import CARBON

MARGIN_S = 4500.0  # before the latest start from which a job is let go whatever the policy says; that of Wait-Awhile
WINDOW_MOVED = timedelta(hours=1)  # by which a plan must move to be written down again
CAP_MOVED = 0.05  # of the highest limit: a smaller change of a cap is not worth a write


@dataclass(slots=True)
class Planned:
    """What one planning tick wants: commands for the guard, with the change that each means."""

    decision: Decision | None = None
    commands: list[Command] = field(default_factory=list)
    changes: dict[str, Change] = field(default_factory=dict)  # by the command's point
    notes: list[Change] = field(default_factory=list)  # plans that are only written down
    is_stale: bool = False
    is_postponed: bool = False  # a start waits for the pods of the run before to be gone


class Planner:
    """Runs a policy over the fleet; remembers only since when a job waits for room."""

    def __init__(self, policy: Policy, settings: ClusterSettings) -> None:
        self._policy, self._settings = policy, settings
        self._roomless: dict[str, datetime] = {}

    def plan(
        self,
        records: Mapping[str, Record],
        nodes: tuple[NodeStatus, ...],
        forecasts: Forecasts,
        now: datetime,
        gpu: Mapping[str, GpuType | None],
    ) -> Planned:
        """One decision; without a carbon forecast nothing new is deferred, and what waits keeps to its window."""
        is_stale = CARBON not in forecasts
        waiting = {key for key, one in records.items() if is_stale and self._keeps_waiting(one, now)}
        asked = [one for key, one in records.items() if key not in waiting]
        if is_stale:
            asked = [_undeferred(one) for one in asked]
        decision = self._policy.decide(state_of(asked, nodes, now, self._settings.max_pauses), forecasts)
        plan_id = plan_name(decision)
        planned = Planned(decision, is_stale=is_stale)
        self._take(decision, records, planned, plan_id, now)
        self._let_go(records, decision, planned, plan_id, now)
        if self._settings.caps:
            self._cap(records, planned, plan_id, now, gpu)
        _write_down(records, decision, planned, now)
        for key in waiting:
            text = "the carbon signal is too old to plan with: it keeps to its window, and starts at its latest start"
            notice = Notice(names.EVENT_STALE_SIGNAL, text, is_warning=True)
            change = Change(records[key].workload, records[key].ledger).saying(notice, once=True)
            planned.notes += [change] if change.notices else []
        return planned

    def _keeps_waiting(self, record: Record, now: datetime) -> bool:
        """Whether a job was deferred before the signal went stale, and its window has not come."""
        if record.ledger.phase not in (Phase.HELD, Phase.SUSPENDED) or not record.ledger.windows:
            return False
        return now < record.ledger.windows[0][0] and now < self._latest_start(record, now)

    def _latest_start(self, record: Record, now: datetime) -> datetime:
        if record.deadline is None:
            return now
        return record.deadline - timedelta(seconds=record.remaining_s(now) + MARGIN_S)

    def _take(
        self, decision: Decision, records: Mapping[str, Record], planned: Planned, plan_id: str, now: datetime
    ) -> None:
        """The policy's commands as changes; a start waits for the pods of the run before to be gone."""
        for command in decision.commands:
            key, _, quantity = command.point.rpartition("/")
            record = records.get(key)
            if record is None or quantity != JOB_RUN_FLAG:
                continue
            if command.value == 0.0:
                change = suspend(record, command.reason, plan_id, now)
            elif record.is_still_ending:
                planned.is_postponed = True
                continue
            else:
                change = start(record, command.placement, command.reason, plan_id, now)
            planned.commands.append(command)
            planned.changes[command.point] = change

    def _let_go(
        self, records: Mapping[str, Record], decision: Decision, planned: Planned, plan_id: str, now: datetime
    ) -> None:
        """No job is held for ever: at its latest start, or after waiting for room alone, Kubernetes queues it."""
        deferred = {one.job for one in decision.jobs if one.outcome is JobOutcome.DEFER}
        for key, record in records.items():
            point = f"{key}/{JOB_RUN_FLAG}"
            is_held = record.ledger.phase in (Phase.HELD, Phase.SUSPENDED) and not record.is_still_ending
            if not is_held or point in planned.changes:
                self._roomless.pop(key, None)
                continue
            is_late = now >= self._latest_start(record, now)
            if key in deferred and not is_late:
                self._roomless.pop(key, None)
                continue
            since = self._roomless.setdefault(key, now)
            if not is_late and (now - since).total_seconds() < self._settings.queue_s:
                continue
            why = "its latest start has come" if is_late else "it waits for room alone"
            reason = f"{why}: left to the cluster's own scheduler to place"
            planned.commands.append(Command(point, 1.0, "1", reason))
            planned.changes[point] = start(record, (), reason, plan_id, now)

    def _cap(
        self,
        records: Mapping[str, Record],
        planned: Planned,
        plan_id: str,
        now: datetime,
        gpu: Mapping[str, GpuType | None],
    ) -> None:
        """Caps of jobs that run or are about to; what somebody set by hand stands."""
        for key, record in records.items():
            flag = planned.changes.get(f"{key}/{JOB_RUN_FLAG}")
            runs = flag.suspend is False if flag is not None else record.ledger.phase is Phase.RUNNING
            kind = gpu.get(key)
            if not runs or kind is None or record.curve is None or record.ledger.override:
                continue
            wanted = self._wanted_cap(record, kind, now)
            known = record.ledger.cap_w
            moved = abs((wanted or kind.max_w) - (known or kind.max_w))
            if moved <= CAP_MOVED * kind.max_w:
                continue
            point = f"{key}/{JOB_GPU_CAP_W}"
            base = record.ledger if flag is None else flag.ledger
            reason = _cap_words(wanted, record)
            change = cap(record, base, wanted, reason, plan_id, now)
            if flag is not None:  # one patch starts it under its cap
                both = {**flag.annotations, **change.annotations, names.REASON: flag.annotations[names.REASON]}
                planned.changes[f"{key}/{JOB_RUN_FLAG}"] = replace(
                    flag, ledger=change.ledger, annotations=both, notices=(*flag.notices, *change.notices)
                )
                continue
            planned.commands.append(Command(point, wanted if wanted is not None else kind.max_w, "W", reason))
            planned.changes[point] = change

    def _wanted_cap(self, record: Record, gpu: GpuType, now: datetime) -> float | None:
        assert record.curve is not None  # noqa: S101 - asked before
        left_s = 0.0 if record.deadline is None else (record.deadline - now).total_seconds() - MARGIN_S
        return choose_cap(
            record.curve,
            gpu,
            record.remaining_s(now),
            left_s,
            slowdown=self._settings.slowdown,
            host_w=self._settings.host_w_per_gpu,
            floor_w=record.ask.floor_w,
            ceiling_w=record.ask.cap_w,
        )


def start(record: Record, placement: Placement, reason: str, plan_id: str, now: datetime) -> Change:
    """Start or resume: the change with its ledger, Event and the nodes that its pods shall prefer."""
    ledger = record.ledger
    is_first = ledger.started_at is None
    if not is_first and ledger.placement and placement and placement != ledger.placement:
        placement = ledger.placement  # its template may not change any more: it prefers its nodes still
    after = replace(
        ledger.turned(now, Phase.RUNNING, reason, plan_id),
        suspend=False,
        started_at=ledger.started_at or now,
        placement=placement,
        windows=(),
    )
    event = names.EVENT_STARTED if is_first else names.EVENT_RESUMED
    marks = {names.REASON: reason, names.PLAN: plan_id}
    nodes = tuple(node for node, _ in placement)
    return Change(record.workload, after, False, marks, nodes, (Notice(event, reason),))


def suspend(record: Record, reason: str, plan_id: str, now: datetime) -> Change:
    """Pause at a checkpoint: what the pause costs is work to be done again."""
    ledger = record.progressed(now)
    cost_s = 0.0 if record.ask.checkpoint is None else record.ask.checkpoint.cost_s
    after = replace(
        ledger.turned(now, Phase.SUSPENDED, reason, plan_id),
        suspend=True,
        done_s=max(0.0, ledger.done_s - cost_s),
        pauses=ledger.pauses + 1,
    )
    marks = {names.REASON: reason, names.PLAN: plan_id}
    return Change(record.workload, after, True, marks, notices=(Notice(names.EVENT_SUSPENDED, reason),))


def cap(record: Record, ledger: Ledger, cap_w: float | None, reason: str, plan_id: str, now: datetime) -> Change:
    """Hold each GPU of a job to ``cap_w``, or take the cap away; the work done so far was at the old speed."""
    if ledger is record.ledger:
        ledger = record.progressed(now)
    after = replace(ledger.noted(now, "cap", reason, plan_id), cap_w=cap_w)
    marks = {names.GPU_CAP_W: None if cap_w is None else f"{cap_w:g}", names.REASON: reason, names.PLAN: plan_id}
    return Change(record.workload, after, None, marks, notices=(Notice(names.EVENT_CAPPED, reason),))


def _cap_words(cap_w: float | None, record: Record) -> str:
    if cap_w is None or record.curve is None:
        return "no cap: the deadline wants full power"
    slower = 100.0 * (1.0 - record.curve.speed(cap_w))
    less = 100.0 * (1.0 - record.curve.power_w(cap_w) / record.curve.power_w(None))
    return f"held to {cap_w:g} W a GPU: {less:.0f} % less power, {slower:.0f} % slower"


def _undeferred(record: Record) -> Record:
    """As a policy sees it while the signal is stale: with a deadline that allows no new deferral, and no pause."""
    return replace(record, ask=replace(record.ask, deadline=None, max_delay_s=None))


def _write_down(records: Mapping[str, Record], decision: Decision, planned: Planned, now: datetime) -> None:
    """Plans of jobs that wait, where they are new or have moved: a stale signal or a crash must not lose them."""
    said = {one.job: one.reason for one in decision.jobs}
    for plan in decision.plans:
        record = records.get(plan.job)
        is_waiting = record is not None and record.ledger.phase in (Phase.HELD, Phase.SUSPENDED)
        if record is None or not is_waiting or f"{plan.job}/{JOB_RUN_FLAG}" in planned.changes or not plan.windows:
            continue
        known = record.ledger.windows
        if known and abs(known[0][0] - plan.windows[0][0]) < WINDOW_MOVED:
            continue
        words = said.get(plan.job, "")
        ledger = replace(record.ledger.noted(now, "planned", words), windows=plan.windows)
        planned.notes.append(Change(record.workload, ledger, None, {names.REASON: words}))


def plan_name(decision: Decision) -> str:
    """A name of a decision: its time and what it says."""
    said = f"{decision.policy}{decision.policy_version}{decision.commands}"
    return f"{decision.at:%Y%m%dt%H%M%S}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"
