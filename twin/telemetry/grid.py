"""Rows on a grid of whole minutes, in two views.

`newest`: at minute k the last value measured at or before it: all that a forecast issued at k may use.
`during`: at minute k the mean of the values measured from k until just before k + 1: what minute k was like, which is
the target of a forecast and what is given ahead for the points named by `--known`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from twin.telemetry.cleaning import CleanRows
from twin.telemetry.reading import MINUTE_US


@dataclass(frozen=True, slots=True)
class Clock:
    """``count`` whole minutes from ``start_us``."""

    start_us: int
    count: int

    @classmethod
    def over(cls, first_us: int, last_us: int) -> Clock:
        """Every minute that a row of a recording may touch."""
        start = first_us // MINUTE_US * MINUTE_US
        return cls(start, int((last_us - start) // MINUTE_US) + 2)

    def index(self, ts_us: int) -> int:
        """The minute that ``ts_us`` lies in."""
        return int((ts_us - self.start_us) // MINUTE_US)


def newest(rows: CleanRows, clock: Clock, hold_minutes: int) -> FloatArray:
    """The newest usable value at or before each minute, at most ``hold_minutes`` old; NaN where there is none."""
    minute = -((clock.start_us - rows.ts_us) // MINUTE_US)
    usable = np.isfinite(rows.value) & (minute >= 0) & (minute < clock.count)
    grid = np.full(clock.count, np.nan)
    grid[minute[usable]] = rows.value[usable]  # rows are in the order of time: the last one of a minute stays
    return hold(grid, hold_minutes)


def during(rows: CleanRows, clock: Clock, hold_minutes: int) -> FloatArray:
    """The value of each minute, or one at most ``hold_minutes`` older; NaN where there is none."""
    minute = (rows.ts_us - clock.start_us) // MINUTE_US
    usable = np.isfinite(rows.value) & (minute >= 0) & (minute < clock.count)
    total = np.bincount(minute[usable], rows.value[usable], clock.count)
    count = np.bincount(minute[usable], minlength=clock.count)
    return hold(np.where(count > 0, total / np.maximum(count, 1), np.nan), hold_minutes)


def hold(values: FloatArray, minutes: int) -> FloatArray:
    """Missing values replaced by the one before, at most ``minutes`` old."""
    index = np.arange(len(values))
    last = np.maximum.accumulate(np.where(np.isfinite(values), index, -1))
    kept = (last >= 0) & (index - last <= minutes)
    return np.where(kept, values[np.maximum(last, 0)], np.nan)
