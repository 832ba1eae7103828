"""What the loop proposes in ADVISORY: a person accepts or rejects it before it runs out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from facility.audit import SERVICE, Actor, AuditEntry
from facility.errors import DataError
from facility.records import JOB_GPU_CAP_W, JOB_RUN_FLAG, Command, Decision, Effect, PointState, Verdict, VerdictKind

SAME = 0.005  # share of the value (absolute below 1): a setpoint so near to what stands there is no change
REMEMBERED = 200  # proposals that are settled and can still be asked for by name


class Status(StrEnum):
    """What became of a proposal."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Proposal:
    """Commands that belong together: all setpoints of the plant, or all that concerns jobs."""

    name: str
    group: str  # plant or jobs
    at: datetime
    until: datetime
    commands: tuple[Command, ...]
    reason: str
    effects: tuple[Effect, ...] = ()
    status: Status = Status.OPEN
    person: str = ""
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "name": self.name,
            "group": self.group,
            "at": self.at.isoformat(),
            "until": self.until.isoformat(),
            "status": self.status.value,
            "person": self.person,
            "why": self.why,
            "reason": self.reason,
            "commands": [asdict(command) for command in self.commands],
            "effects": [asdict(effect) for effect in self.effects],
        }


class Proposals:
    """Those of this run, by name."""

    def __init__(self) -> None:
        self._all: dict[str, Proposal] = {}

    def listed(self, status: Status | None = None) -> list[Proposal]:
        """All, or those of one status; newest first."""
        found = [one for one in self._all.values() if status is None or one.status is status]
        return sorted(found, key=lambda one: (one.at, one.name), reverse=True)

    def open(self, name: str, at: datetime) -> Proposal:
        """The proposal of that name that can still be decided; raises DataError where there is none."""
        found = self._all.get(name)
        if found is None:
            raise DataError("no such proposal", where=name[:80], hint="GET /v1/proposals lists them")
        if found.status is not Status.OPEN or at >= found.until:
            status = found.status.value if found.status is not Status.OPEN else Status.EXPIRED.value
            raise DataError(f"the proposal is {status}", where=name, hint="wait for the next one")
        return found

    def make(
        self, decision: Decision, verdicts: Sequence[Verdict], known: Mapping[str, PointState], until: datetime
    ) -> list[AuditEntry]:
        """The proposals of one decision, in place of open ones before; returns the audit rows of all that changed."""
        rows = self.expire(decision.at, all_open=True)
        for group, commands in _groups(verdicts, known).items():
            name = f"{decision.at:%Y%m%dT%H%M%S}-{group}"
            effects = decision.effects if group == "plant" else ()
            made = Proposal(name, group, decision.at, until, commands, decision.reason, effects)
            self._all[name] = made
            rows.append(_entry(made, decision.at, "made", SERVICE))
        self._forget()
        return rows

    def settle(self, name: str, status: Status, actor: Actor, why: str, at: datetime) -> tuple[Proposal, AuditEntry]:
        """The proposal as decided, and its audit row; in force with ``adopt``. Raises DataError unless it is open."""
        settled = replace(self.open(name, at), status=status, person=actor.name, why=why)
        return settled, _entry(settled, at, status.value, actor)

    def adopt(self, settled: Proposal) -> None:
        """Its audit row is kept: from now on it is decided."""
        self._all[settled.name] = settled

    def expire(self, at: datetime, *, all_open: bool = False) -> list[AuditEntry]:
        """Close open proposals whose time is over, or all; returns their audit rows."""
        rows = []
        for proposal in self.listed(Status.OPEN):
            if all_open or at >= proposal.until:
                why = "a newer decision was made" if at < proposal.until else "nobody decided in time"
                self._all[proposal.name] = replace(proposal, status=Status.EXPIRED, why=why)
                rows.append(_entry(self._all[proposal.name], at, Status.EXPIRED.value, SERVICE))
        return rows

    def _forget(self) -> None:
        for old in self.listed()[REMEMBERED:]:
            del self._all[old.name]


def is_job(point: str) -> bool:
    """Whether a point is one of a job."""
    return point.rpartition("/")[2] in (JOB_RUN_FLAG, JOB_GPU_CAP_W)


def _groups(verdicts: Sequence[Verdict], known: Mapping[str, PointState]) -> dict[str, tuple[Command, ...]]:
    """Commands that passed the guard and change something, by group."""
    groups: dict[str, tuple[Command, ...]] = {}
    for verdict in verdicts:
        if verdict.kind is VerdictKind.REJECTED or _is_there(verdict, known):
            continue
        group = "jobs" if is_job(verdict.command.point) else "plant"
        groups[group] = (*groups.get(group, ()), replace(verdict.command, value=verdict.value))
    return groups


def _is_there(verdict: Verdict, known: Mapping[str, PointState]) -> bool:
    found = known.get(verdict.command.point)
    if found is None or found.value is None or verdict.value is None:
        return False
    return abs(found.value - verdict.value) <= SAME * max(abs(found.value), 1.0)


def _entry(proposal: Proposal, at: datetime, action: str, actor: Actor) -> AuditEntry:
    before = "" if action == "made" else Status.OPEN.value
    return AuditEntry(
        at, "proposal", proposal.name, action, actor, proposal.why, before, proposal.status.value, proposal.to_json()
    )
