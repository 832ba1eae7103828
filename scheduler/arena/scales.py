"""What is ordinary around each hall as far as was public then: the scales of observations and rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from facility.records import FloatArray
from scheduler.arena.arrays import IntArray
from scheduler.arena.scenarios import Window
from scheduler.arena.surroundings import STEPS_H
from twin.signals import Series

HISTORY_D = 7
_WETBULB_STEPS = 3 * STEPS_H


@dataclass(frozen=True, slots=True, eq=False)
class Scales:
    """Means of the public week before each full hour of the windows, arrays (hours, B)."""

    carbon_g_kwh: FloatArray
    price_usd_mwh: FloatArray | None

    @classmethod
    def of(cls, windows: Sequence[Window], steps: int) -> Scales:
        """For every hour of ``steps``; the price is left out where any window has none."""
        hours = -(-steps // STEPS_H) + 1
        carbon = [_means(window.signals.carbon, window.start, hours) for window in windows]
        prices = [window.signals.price for window in windows]
        priced = [
            _means(series, window.start, hours)
            for series, window in zip(prices, windows, strict=True)
            if series is not None
        ]
        whole = len(priced) == len(windows)
        return cls(np.stack(carbon, axis=1), np.stack(priced, axis=1) if whole else None)

    def rows(self, index: IntArray) -> Scales:
        """Of some halls, repeats allowed."""
        price = self.price_usd_mwh
        return Scales(self.carbon_g_kwh[:, index], None if price is None else price[:, index])

    def carbon_at(self, step: int) -> FloatArray:
        """(B,) at a step."""
        return np.asarray(self.carbon_g_kwh[step // STEPS_H])

    def price_at(self, step: int) -> FloatArray | None:
        """(B,) at a step; None where the price is not known."""
        return None if self.price_usd_mwh is None else self.price_usd_mwh[step // STEPS_H]


def _means(series: Series, start: datetime, hours: int) -> FloatArray:
    """Mean of the values of the week that was over, or public, at each hour from ``start`` on."""
    total = np.concatenate([[0.0], np.cumsum(series.value)])
    week = round(HISTORY_D * 86400.0 / series.step_s)
    means = np.empty(hours)
    for index in range(hours):
        now = start + timedelta(hours=index)
        past = int((now - series.start).total_seconds() // series.step_s)
        last = min(series.known_count(now), past)
        first = max(0, last - week)
        means[index] = (total[last] - total[first]) / (last - first)
    return means
