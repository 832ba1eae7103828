"""What the controller remembers of a job, kept as one annotation of the job itself.

It is written in the same patch as the change that it tells of, so that neither can be there without the other: a
controller that was killed between two changes finds everything in the cluster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from facility.errors import DataError
from scheduler.cluster import names
from scheduler.cluster.codec import from_json, to_json_bytes
from scheduler.placement import Placement

MOST_ENTRIES = 400  # some 150 bytes each; the annotations of an object hold 256 KiB together


class Phase(StrEnum):
    """Where a job is on its way."""

    HELD = "held"  # not started yet
    PROFILING = "profiling"  # runs for some minutes to be measured
    RUNNING = "running"
    SUSPENDED = "suspended"  # by the controller
    RELEASED = "released"  # left to plain Kubernetes; metered, never touched again
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done, and why."""

    at: datetime
    what: str
    reason: str
    plan: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The same job started at once, at full power and without a pause: fixed when it was first seen."""

    start: datetime
    duration_s: float
    gpu_w: float  # each GPU at work; with its band
    gpu_w_low: float
    gpu_w_high: float
    it_wh: float
    intensity_g_kwh: float | None  # forecast mean over the span; with its band; None without a forecast
    intensity_low_g_kwh: float | None
    intensity_high_g_kwh: float | None
    power_from: str  # "profile" or "class curve"
    issued_at: datetime | None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """What the job has used up to ``until``."""

    until: datetime
    it_wh: float = 0.0
    location_g: float = 0.0
    market_g: float | None = None  # None without the figure of a contract
    carbon_wh: float = 0.0  # the energy whose intensity is known
    gpu_s: float = 0.0
    steps: float | None = None
    covered_s: float = 0.0  # for which there were readings
    span_s: float = 0.0  # in which it had pods


@dataclass(frozen=True, slots=True)
class Ledger:
    """All that is remembered of one job."""

    submitted_at: datetime
    phase: Phase
    fingerprint: str
    account: Account
    work_s: float | None = None  # of the gang at full power
    done_s: float = 0.0  # of that, up to progress_at
    progress_at: datetime | None = None
    suspend: bool | None = None  # as last written or taken note of
    cap_w: float | None = None  # likewise
    changed_at: datetime | None = None  # of the phase
    started_at: datetime | None = None
    ended_at: datetime | None = None
    placement: Placement = ()
    pods: tuple[str, ...] = ()  # of this run
    pauses: int = 0
    baseline: Baseline | None = None
    windows: tuple[tuple[datetime, datetime], ...] = ()
    override: str = ""  # what somebody changed by hand
    said: tuple[str, ...] = ()  # reasons of the Events that are said once
    entries: tuple[Entry, ...] = ()
    dropped: int = 0  # entries that no longer fitted

    def noted(self, at: datetime, what: str, reason: str, plan: str = "") -> Ledger:
        """With one more entry; the first and the newest are kept where there are too many."""
        entries = (*self.entries, Entry(at, what, reason, plan))
        surplus = max(0, len(entries) - MOST_ENTRIES)
        return replace(self, entries=(*entries[:1], *entries[1 + surplus :]), dropped=self.dropped + surplus)

    def turned(self, at: datetime, phase: Phase, reason: str, plan: str = "") -> Ledger:
        """In another phase from ``at``, with the entry that says why."""
        return replace(self.noted(at, phase.value, reason, plan), phase=phase, changed_at=at)


@dataclass(frozen=True, slots=True)
class Kept:
    """The ledger of an object, or why it cannot be read."""

    ledger: Ledger | None = None
    problem: str = field(default="")


def read_ledger(annotations: Mapping[str, str]) -> Kept:
    """The ledger in an object's annotations; a damaged one is told, never guessed at."""
    text = annotations.get(names.LEDGER)
    if text is None:
        return Kept()
    try:
        return Kept(from_json(Ledger, json.loads(text)))
    except (ValueError, DataError) as error:
        return Kept(problem=f"annotation {names.LEDGER} cannot be read: {error}")


def ledger_text(ledger: Ledger) -> str:
    """The annotation's value."""
    return to_json_bytes(ledger).decode()
