"""Where readings come from: a recording, a state directory that nobody runs, or a live service, behind one port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facility.recording import EPOCH
from facility.records import FloatArray
from facility.site import ReportFacts, Roles
from twin.reports.inputs import Installed
from twin.reports.units import Track, is_register
from twin.signals import Series


@dataclass(frozen=True, slots=True)
class Held:
    """What a source has of one point."""

    unit: str
    first: datetime
    last: datetime
    readings: int
    rollover: float | None = None  # a register: where it begins again at 0


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Readings of one point by time; NaN without a value."""

    ts_us: NDArray[np.int64]  # since 1970, UTC
    value: FloatArray
    is_good: NDArray[np.bool_]
    is_usable: NDArray[np.bool_]  # not bad


@dataclass(frozen=True, slots=True)
class About:
    """What a source says of its site; the defaults are those of a source that knows nothing of it."""

    name: str = ""
    timezone: str = "UTC"
    zone: str = ""
    roles: Roles = field(default_factory=Roles)
    facts: ReportFacts = field(default_factory=ReportFacts)
    installed: Installed | None = None


class Source(Protocol):
    """Readings of one site."""

    name: str

    def about(self) -> About:
        """The site, as far as the source knows it."""
        ...

    def points(self) -> Mapping[str, Held]:
        """Every point that was ever read."""
        ...

    def rows(self, point: str, start: datetime, end: datetime) -> Rows:
        """Readings of one point in [start, end)."""
        ...

    def carbon(self) -> tuple[Series, ...]:
        """Carbon intensity that the source keeps beside its readings, by kind; empty where it keeps none."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


MARGIN = timedelta(hours=3)  # read beyond both ends, so that the first and the last reading of a span have a neighbour


def track(source: Source, point: str, start: datetime, end: datetime, *, usable: bool = False) -> Track:
    """Good readings of one point around [start, end), in seconds since ``start``; ``usable`` takes uncertain ones too.

    Of rates of the same time the last one counts. Of registers all are kept: disorder shows in them.
    """
    held = source.points()[point]
    rows = source.rows(point, start - MARGIN, end + MARGIN)
    kept = (rows.is_usable if usable else rows.is_good) & np.isfinite(rows.value)
    ts_us, value = rows.ts_us[kept], rows.value[kept]
    last = np.append(ts_us[1:] != ts_us[:-1], True) if ts_us.size else np.zeros(0, dtype=np.bool_)
    last |= is_register(held.unit)
    at_s = (ts_us[last] - (start - EPOCH) // timedelta(microseconds=1)) / 1e6
    return Track(point, held.unit, at_s, value[last], held.rollover)


def utc(ts_us: int) -> datetime:
    """A stamp as a time."""
    return (EPOCH + timedelta(microseconds=ts_us)).astimezone(UTC)
