"""Wait-Awhile: interruptible jobs run in the cheapest forecast slots before their deadline.

Wiesner et al., "Let's Wait Awhile", Middleware 2021, section 4 (interrupting scheduling), with what a real cluster
adds to it: room (jobs choose slots in order of laxity, each taking its GPUs), a cost of suspending, shortest run and
pause, a smallest job worth deferring, and a margin before the deadline from which a job runs whatever the forecast
says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from facility.records import (
    Command,
    Decision,
    Forecasts,
    JobDecision,
    JobOutcome,
    JobPhase,
    JobStatus,
    Plan,
    State,
)
from scheduler.backfill import Room, backfill
from scheduler.placement import Placement
from scheduler.slots import Choice, SlotPlan
from scheduler.words import clock, decision, start_commands, suspend_command
from twin.signals import CARBON


@dataclass(frozen=True, slots=True)
class WaitAwhileParams:
    """Parameters of the rule. The defaults were chosen on 2022 data of two grids, see docs/scheduling.md."""

    min_gpu_h: float = 8.0  # smaller jobs pass through: deferring them costs much waiting and saves little
    margin_s: float = 4500.0  # laxity at which a job is forced to run
    min_run_s: float = 3600.0
    min_pause_s: float = 3600.0
    keep_running: float = 1.05  # a running job goes on up to this multiple of its threshold


@dataclass(slots=True)
class _Sorted:
    """The jobs of one tick by what is to become of them."""

    forced: list[JobStatus] = field(default_factory=list)
    passing: list[JobStatus] = field(default_factory=list)
    wanting: list[JobStatus] = field(default_factory=list)
    stopping: list[JobStatus] = field(default_factory=list)
    said: dict[str, JobDecision] = field(default_factory=dict)
    plans: list[Plan] = field(default_factory=list)


class WaitAwhile:
    """Runs flexible jobs in the cheapest slots of the carbon forecast; all others first come, first served."""

    name = "wait-awhile"
    version = "1"

    def __init__(self, params: WaitAwhileParams | None = None) -> None:
        self.params = params or WaitAwhileParams()

    def decide(self, state: State, forecasts: Forecasts) -> Decision:
        """Start, suspend and defer jobs by the carbon forecast issued at or before ``state.at``."""
        jobs = _Sorted()
        deferrable = self._triage(state, jobs)
        forecast = forecasts.get(CARBON)
        note = ""
        if forecast is None:
            jobs.passing.extend(deferrable)
            note = "no carbon forecast: nothing is deferred"
        else:
            self._plan(state, deferrable, SlotPlan(forecast, state.at, _gpus(state)), jobs)
        commands = _act(state, jobs)
        said = tuple(jobs.said.get(status.job.name) or _passing(status, commands) for status in state.jobs)
        return decision(self, state, commands, said, tuple(jobs.plans), note)

    def _triage(self, state: State, jobs: _Sorted) -> list[JobStatus]:
        """Sort out what must or may run; returns the deferrable jobs, least laxity first."""
        deferrable = []
        for status in state.jobs:
            if not status.job.flexible or status.job.gpus * status.job.work_s < self.params.min_gpu_h * 3600.0:
                jobs.passing.append(status)
            elif _laxity_s(status, state) <= self.params.margin_s:
                jobs.forced.append(status)
                spare_min, due = _laxity_s(status, state) / 60, clock(status.job.deadline, state.at)
                text = f"runs: {spare_min:.0f} min to spare before {due}"
                jobs.said[status.job.name] = JobDecision(status.job.name, JobOutcome.PASS_THROUGH, text)
            else:
                deferrable.append(status)
        jobs.forced.sort(key=lambda status: _laxity_s(status, state))
        return sorted(deferrable, key=lambda status: _laxity_s(status, state))

    def _plan(self, state: State, deferrable: Sequence[JobStatus], slots: SlotPlan, jobs: _Sorted) -> None:
        running = [status for status in jobs.passing if status.phase is JobPhase.RUNNING]
        for status in (*jobs.forced, *running):
            slots.occupy(status.job.gpus, status.remaining_s)
        for status in deferrable:
            window_s = (status.job.deadline - state.at).total_seconds() - self.params.margin_s
            choice = slots.choose(status, status.remaining_s, window_s)
            jobs.plans.append(Plan(status.job.name, slots.windows(choice)))
            is_running = status.phase is JobPhase.RUNNING
            if self._runs_now(status, state, choice, float(slots.value[0])):
                jobs.wanting.append(status)
            elif is_running:
                jobs.stopping.append(status)
            jobs.said[status.job.name] = self._explain(status, state, choice, slots, jobs)

    def _runs_now(self, status: JobStatus, state: State, choice: Choice, value_now: float) -> bool:
        since_s = (state.at - (status.changed_at or status.job.submitted_at)).total_seconds()
        if status.phase is JobPhase.RUNNING:
            return since_s < self.params.min_run_s or value_now <= choice.threshold * self.params.keep_running
        if status.phase is JobPhase.SUSPENDED and since_s < self.params.min_pause_s:
            return False
        return choice.holds_now

    def _explain(self, status: JobStatus, state: State, choice: Choice, slots: SlotPlan, jobs: _Sorted) -> JobDecision:
        name, now_g = status.job.name, slots.value[0]
        due = clock(status.job.deadline, state.at)
        if jobs.wanting and jobs.wanting[-1] is status:
            text = f"runs: {now_g:.0f} g/kWh now, up to {choice.threshold:.0f} is worth running at, deadline {due}"
            return JobDecision(name, JobOutcome.PASS_THROUGH, text)
        start, end = jobs.plans[-1].windows[0]
        ahead_g = float(slots.value[choice.slots].mean())
        when = f"{clock(start, state.at)}-{end:%H:%M} UTC"
        text = f"waits for {when}: forecast {ahead_g:.0f} against {now_g:.0f} g/kWh now, deadline {due}"
        return JobDecision(name, JobOutcome.DEFER, text)


def _act(state: State, jobs: _Sorted) -> tuple[Command, ...]:
    """Suspend what stops, then start forced, passing and wanting jobs in this order, with backfilling."""
    room = Room.of(state)
    for status in jobs.stopping:
        room.suspend(status)
    queue = [s for s in (*jobs.forced, *jobs.passing) if s.phase is not JobPhase.RUNNING]
    fillers = [s for s in jobs.wanting if s.phase is not JobPhase.RUNNING]
    starts: dict[str, Placement] = backfill(queue, room, fillers).starts
    stops = tuple(suspend_command(s.job.name, jobs.said[s.job.name].reason) for s in jobs.stopping)
    reasons = {name: jobs.said[name].reason if name in jobs.said else "next in order of arrival" for name in starts}
    begun = tuple(command for name in starts for command in start_commands({name: starts[name]}, reasons[name]))
    return (*stops, *begun)


def _passing(status: JobStatus, commands: Sequence[Command]) -> JobDecision:
    name = status.job.name
    if status.phase is JobPhase.RUNNING:
        return JobDecision(name, JobOutcome.PASS_THROUGH, "runs until it is done")
    if any(command.point.startswith(f"{name}/") for command in commands):
        return JobDecision(name, JobOutcome.PASS_THROUGH, "starts: next in order of arrival")
    return JobDecision(name, JobOutcome.PASS_THROUGH, f"queued: no room for {status.job.gpus} GPUs yet")


def _laxity_s(status: JobStatus, state: State) -> float:
    """Time to spare until the deadline if the job ran from now on."""
    return (status.job.deadline - state.at).total_seconds() - status.remaining_s


def _gpus(state: State) -> int:
    return sum(node.gpus_total for node in state.nodes if not node.parked)
