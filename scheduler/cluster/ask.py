"""What the owner of a job asks for: its annotations, completed by the EnergyPolicy that it names.

A mistake never harms the job: what cannot be understood is a *problem*, with what to write instead, and the job then
runs as plain Kubernetes would. What merely limits what can be done for it is a *warning*.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, TypeVar

from facility.records import WorkClass
from scheduler.cluster import names

T = TypeVar("T")

ASKED = (
    names.POLICY,
    names.DEADLINE,
    names.MAX_DELAY,
    names.DURATION,
    names.STEPS,
    names.CHECKPOINT,
    names.CHECKPOINT_TIME,
    names.CHECKPOINT_INTERVAL,
    names.RESTART_TIME,
    names.RECEIPT_PATH,
    names.CARBON_BUDGET_KG,
    names.WORK_CLASS,
)
KINDS_OF_CHECKPOINT = ("sigterm", "periodic")
DEFAULT_GRACE_S = 30.0  # terminationGracePeriodSeconds of a pod that names none
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s)?")
_UNITS_S = (86400.0, 3600.0, 60.0, 1.0)
LONGEST_S = 366 * 86400.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How a job keeps its work when it is stopped."""

    kind: str  # sigterm: it saves when it is told to stop; periodic: it saves every interval_s
    time_s: float = 0.0  # of writing one
    interval_s: float = 0.0
    restart_s: float = 0.0  # from the start of its pods to the first new step

    @property
    def cost_s(self) -> float:
        """Work lost and time spent at a pause, as expected: half an interval where it saves by the clock alone."""
        return self.time_s + self.restart_s + (self.interval_s / 2 if self.kind == "periodic" else 0.0)


@dataclass(frozen=True, slots=True)
class Ask:
    """The owner's wishes; None is not said."""

    deadline: datetime | None = None
    max_delay_s: float | None = None
    duration_s: float | None = None
    steps: int | None = None
    checkpoint: Checkpoint | None = None
    receipt_path: str = ""
    budget_kg: float | None = None
    work_class: WorkClass | None = None
    floor_w: float | None = None
    cap_w: float | None = None
    max_pauses: int | None = None
    problems: tuple[str, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()  # (reason of the Event, what to do)
    fingerprint: str = ""  # changes with anything that was asked

    def latest_end(self, submitted_at: datetime, work_s: float) -> datetime | None:
        """The soft deadline: the earlier of what was said as a time and as a delay; None where neither was."""
        by_delay = None
        if self.max_delay_s is not None:
            by_delay = submitted_at + timedelta(seconds=work_s + self.max_delay_s)
        return min((one for one in (self.deadline, by_delay) if one is not None), default=None)


def duration_s(text: str) -> float:
    """Seconds of ``90s``, ``30min``, ``1h30m``, ``2d``; raises ValueError that says how to write one."""
    match = _DURATION.fullmatch(text.strip())
    parts = (
        [] if match is None else [float(one) * unit for one, unit in zip(match.groups(), _UNITS_S, strict=True) if one]
    )
    if not parts or sum(parts) > LONGEST_S:
        raise ValueError(f"{text!r} is no duration; write for example 90s, 30m, 1h30m or 2d")
    return sum(parts)


def read_ask(
    annotations: Mapping[str, str],
    submitted_at: datetime,
    policy: Mapping[str, Any] | None = None,
    grace_s: float | None = None,
) -> Ask:
    """The wishes in ``annotations`` and, where they are silent, in the EnergyPolicy object ``policy``.

    ``grace_s`` is the pods' terminationGracePeriodSeconds, None where they name none.
    """
    spec = dict((policy or {}).get("spec") or {})
    reader = _Reader(annotations, submitted_at)
    named = annotations.get(names.POLICY)
    if named and policy is None:
        reader.problems.append(f"{names.POLICY} names {named!r}: make that EnergyPolicy in this namespace, or drop it")
    ask = Ask(
        deadline=reader.read(names.DEADLINE, reader.moment, spec.get("deadline")),
        max_delay_s=reader.read(names.MAX_DELAY, duration_s, spec.get("maxDelay")),
        duration_s=reader.read(names.DURATION, duration_s),
        steps=reader.read(names.STEPS, _count),
        checkpoint=reader.checkpoint(spec.get("checkpoint") or {}),
        receipt_path=reader.read(names.RECEIPT_PATH, _path) or "",
        budget_kg=reader.read(names.CARBON_BUDGET_KG, _positive, spec.get("carbonBudgetKg")),
        work_class=reader.read(names.WORK_CLASS, WorkClass),
        floor_w=spec.get("powerFloorWatts"),
        cap_w=spec.get("powerCapWatts"),
        max_pauses=spec.get("maxPauses"),
    )
    checkpoint, warnings = _tenable(ask.checkpoint, DEFAULT_GRACE_S if grace_s is None else grace_s)
    if ask.checkpoint is None and not reader.problems and (ask.deadline or ask.max_delay_s is not None):
        warnings = ((names.EVENT_NO_CHECKPOINT, _NO_CONTRACT),)
    return Ask(
        **{
            name: getattr(ask, name)
            for name in Ask.__slots__
            if name not in ("checkpoint", "problems", "warnings", "fingerprint")
        },
        checkpoint=checkpoint,
        problems=tuple(reader.problems),
        warnings=warnings,
        fingerprint=_fingerprint(annotations, spec),
    )


_NO_CONTRACT = (
    f"no checkpoint contract: the job may start later but is never paused; write {names.CHECKPOINT}: sigterm,"
    f" {names.CHECKPOINT_TIME} and {names.RESTART_TIME} where it can save and go on"
)


def _tenable(checkpoint: Checkpoint | None, grace_s: float) -> tuple[Checkpoint | None, tuple[tuple[str, str], ...]]:
    """The contract where the grace period lets it be kept, else None with what to do."""
    if checkpoint is None or checkpoint.kind != "sigterm" or checkpoint.time_s <= grace_s:
        return checkpoint, ()
    text = (
        f"writing a checkpoint takes {checkpoint.time_s:g} s and the pods are killed after {grace_s:g} s: set"
        f" terminationGracePeriodSeconds to at least {math.ceil(checkpoint.time_s)}; until then the job is never paused"
    )
    return None, ((names.EVENT_NO_CHECKPOINT, text),)


class _Reader:
    """Reads one annotation after the other and gathers what is wrong."""

    def __init__(self, annotations: Mapping[str, str], submitted_at: datetime) -> None:
        self._said, self._submitted_at = annotations, submitted_at
        self.problems: list[str] = []

    def read(self, name: str, parse: Callable[[str], T], otherwise: Any = None) -> T | None:
        text = self._said.get(name, otherwise)
        if text is None:
            return None
        try:
            return parse(str(text))
        except ValueError as error:
            self.problems.append(f"{name}: {error}")
            return None

    def moment(self, text: str) -> datetime:
        """RFC 3339, or a duration after submission."""
        try:
            return self._submitted_at + timedelta(seconds=duration_s(text.lstrip("+")))
        except ValueError:
            pass
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            when = None
        if when is None or when.tzinfo is None:
            raise ValueError(f"{text!r} is no time; write 2026-06-01T18:00:00Z, or 12h after submission")
        return when.astimezone(UTC)

    def checkpoint(self, spec: Mapping[str, Any]) -> Checkpoint | None:
        """The contract; a kind that is not known is a problem."""
        kind = self._said.get(names.CHECKPOINT, spec.get("kind"))
        if kind is None:
            return None
        if kind not in KINDS_OF_CHECKPOINT:
            self.problems.append(f"{names.CHECKPOINT}: {kind!r}; write {' or '.join(KINDS_OF_CHECKPOINT)}")
            return None
        interval_s = self.read(names.CHECKPOINT_INTERVAL, duration_s, spec.get("interval"))
        if kind == "periodic" and interval_s is None:
            self.problems.append(f"{names.CHECKPOINT}: periodic needs {names.CHECKPOINT_INTERVAL}, for example 15m")
        return Checkpoint(
            kind,
            self.read(names.CHECKPOINT_TIME, duration_s, spec.get("time")) or 0.0,
            interval_s or 0.0,
            self.read(names.RESTART_TIME, duration_s, spec.get("restartTime")) or 0.0,
        )


def _count(text: str) -> int:
    if not text.isdigit() or int(text) <= 0:
        raise ValueError(f"{text!r} is no number of steps; write a whole number above 0")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f"{text!r} is no positive number")
    return value


def _path(text: str) -> str:
    """A relative path that does not climb."""
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in text:
        raise ValueError(f"{text!r}: write a path below the receipts folder, for example team/model/receipt.json")
    return text


def _fingerprint(annotations: Mapping[str, str], spec: Mapping[str, Any]) -> str:
    asked = {name: annotations[name] for name in ASKED if name in annotations}
    return hashlib.sha256(json.dumps([asked, spec], sort_keys=True).encode()).hexdigest()[:12]
