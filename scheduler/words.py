"""What policies share when they put a decision into records and words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from facility.records import JOB_RUN_FLAG, Command, Decision, JobDecision, JobOutcome, Plan, State
from scheduler.placement import Placement
from scheduler.policy import Policy

MODEL_VERSION = "none"  # these policies predict with no model of the plant


def start_commands(starts: Mapping[str, Placement], reason: str) -> tuple[Command, ...]:
    """Commands that start or resume jobs."""
    return tuple(Command(f"{job}/{JOB_RUN_FLAG}", 1.0, "1", reason, placement) for job, placement in starts.items())


def suspend_command(job: str, reason: str) -> Command:
    """The command that suspends a running job."""
    return Command(f"{job}/{JOB_RUN_FLAG}", 0.0, "1", reason)


def decision(
    policy: Policy,
    state: State,
    commands: Iterable[Command],
    jobs: tuple[JobDecision, ...],
    plans: tuple[Plan, ...] = (),
    note: str = "",
) -> Decision:
    """A decision at the state's time whose reason counts what it does."""
    commands = tuple(commands)
    starts = sum(command.value == 1.0 for command in commands)
    deferred = sum(job.outcome is JobOutcome.DEFER for job in jobs)
    words = f"{starts} jobs start, {len(commands) - starts} are suspended, {deferred} wait for a cleaner time"
    return Decision(
        at=state.at,
        policy=policy.name,
        policy_version=policy.version,
        model_version=MODEL_VERSION,
        commands=commands,
        reason=f"{words}; {note}" if note else words,
        jobs=jobs,
        plans=plans,
    )


def clock(when: datetime, now: datetime) -> str:
    """``14:00``, with the date where it is not today."""
    return f"{when:%H:%M}" if when.date() == now.date() else f"{when:%d %b %H:%M}"
