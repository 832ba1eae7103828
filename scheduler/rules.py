"""Rule-based job policies: FCFS with backfilling, the baseline, and Wait-Awhile.

Both see jobs and nodes as the cluster reports them, and command run flags only: a plant control gives the setpoints.
Both are pure: nothing is remembered between two decisions.
"""

from __future__ import annotations

from collections.abc import Callable

from facility.errors import ConfigError
from facility.records import Decision, Forecasts, JobDecision, JobOutcome, JobPhase, JobStatus, State
from scheduler.backfill import Backfilled, Room, backfill
from scheduler.policy import Policy
from scheduler.wait_awhile import WaitAwhile
from scheduler.words import decision, start_commands


class Fcfs:
    """First come, first served, with EASY backfilling, at full power; it looks at no forecast. The baseline."""

    name = "fcfs"
    version = "1"

    def decide(self, state: State, forecasts: Forecasts) -> Decision:
        """Start whatever fits, in order of arrival."""
        waiting = [status for status in state.jobs if status.phase is not JobPhase.RUNNING]
        done = backfill(waiting, Room.of(state))
        return decision(
            self,
            state,
            start_commands(done.starts, "next in order of arrival"),
            tuple(_explain(status, done) for status in state.jobs),
        )


def _explain(status: JobStatus, done: Backfilled) -> JobDecision:
    name = status.job.name
    if status.phase is JobPhase.RUNNING:
        return JobDecision(name, JobOutcome.PASS_THROUGH, "runs until it is done")
    if name in done.starts:
        return JobDecision(name, JobOutcome.PASS_THROUGH, "starts: next in order of arrival")
    return JobDecision(name, JobOutcome.PASS_THROUGH, f"queued: no room for {status.job.gpus} GPUs yet")


POLICIES: dict[str, Callable[[], Policy]] = {"fcfs": Fcfs, "wait-awhile": WaitAwhile}


def make_policy(name: str) -> Policy:
    """A policy by its name, with its default parameters; raises ConfigError that lists the names."""
    if name not in POLICIES:
        raise ConfigError(f"no policy {name!r}", hint=f"one of: {', '.join(sorted(POLICIES))}")
    return POLICIES[name]()
