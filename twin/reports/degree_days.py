"""Cooling degree days of an outdoor temperature that was measured."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from twin.reports.metered import Metered

BASE_C = 21.0
WHOLE_DAY = 0.75  # share of a day that must be measured for its mean to stand for it


@dataclass(frozen=True, slots=True)
class DegreeDays:
    """Kelvin days, and of how many days; ``coverage_pct`` is the share of the span's days."""

    kelvin_days: float
    days: int
    coverage_pct: float


def cooling_degree_days(outdoor: Metered, start: datetime, end: datetime, timezone: str) -> DegreeDays | None:
    """Sum of what each local day's mean is above 21 C; None without a whole day.

    Eurostat's own series count only days with a mean of 24 C and more; this is the plain sum to the base.
    """
    edges = _midnights(start, end, timezone)
    if len(edges) < 2:
        return None
    edges_s = np.array([(edge - start).total_seconds() for edge in edges])
    read_s = np.diff(outdoor.read.seconds_before(edges_s))
    sums = outdoor.steps(outdoor.read, edges_s)
    whole = read_s >= WHOLE_DAY * np.diff(edges_s)
    if not whole.any():
        return None
    means = sums[whole] / read_s[whole]
    days = int(whole.sum())
    return DegreeDays(float(np.clip(means - BASE_C, 0.0, None).sum()), days, 100.0 * days / len(whole))


def _midnights(start: datetime, end: datetime, timezone: str) -> list[datetime]:
    """The local midnights within [start, end]."""
    zone = ZoneInfo(timezone)
    day = start.astimezone(zone).date()
    found = []
    while (edge := datetime.combine(day, time(), zone).astimezone(UTC)) <= end:
        if edge >= start:
            found.append(edge)
        day += timedelta(days=1)
    return found
