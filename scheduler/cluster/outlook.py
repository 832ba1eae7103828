"""The grid's carbon intensity from a series that grows: the daily profile ahead, published values for receipts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np

from facility.errors import DataError
from facility.records import Forecast
from twin.daily_profile import daily_profile
from twin.signals.series import Series

HORIZON_H = 96.0
STEP_S = 900.0


class SeriesOutlook:
    """An Outlook over a Series of published carbon intensity; ``source`` gives the newest one at a moment."""

    def __init__(self, source: Callable[[datetime], Series]) -> None:
        self._source = source
        self._forecast: Forecast | None = None
        self._slot: datetime | None = None
        self._lock = threading.Lock()

    def forecast(self, now: datetime) -> Forecast | None:
        """Issued once for every quarter of an hour; None with less than a day of known past."""
        slot = now - timedelta(seconds=now.timestamp() % STEP_S)
        with self._lock:
            if slot != self._slot:
                try:
                    self._forecast = daily_profile(self._source(now), now, HORIZON_H, STEP_S)
                except DataError:
                    self._forecast = None
                self._slot = slot
            return self._forecast

    def age_s(self, now: datetime) -> float:
        """Since the end of the newest published value; a series that is public ahead of time has age 0."""
        try:
            series = self._source(now)
        except DataError:
            return float("inf")
        if not series.known_count(now):
            return float("inf")
        return max(0.0, (now - series.published(now)).total_seconds())

    def intensity_g_kwh(self, start: datetime, end: datetime, now: datetime) -> float | None:
        """Published where it is, else forecast; None where a part is neither."""
        if end <= start:
            return None
        try:
            series = self._source(now)
            published = series.published(now)
        except DataError:
            return None
        parts = [(start, min(end, published), True), (max(start, published), end, False)]
        total, seconds = 0.0, (end - start).total_seconds()
        for first, last, is_published in parts:
            if last <= first:
                continue
            value = _published(series, first, last) if is_published else self._expected(first, last, now)
            if value is None:
                return None
            total += value * (last - first).total_seconds()
        return total / seconds

    def _expected(self, start: datetime, end: datetime, now: datetime) -> float | None:
        forecast = self.forecast(now)
        return None if forecast is None else mean_of(forecast, start, end)[0]


def _published(series: Series, start: datetime, end: datetime) -> float | None:
    try:
        return float(series.window(start, end, (end - start).total_seconds())[0])
    except DataError:
        return None


def mean_of(forecast: Forecast, start: datetime, end: datetime) -> tuple[float, float, float]:
    """Mean value, low and high of a forecast over [start, end); beyond its ends the nearest value stands."""
    count = max(1, round((end - start).total_seconds() / forecast.step_s))
    edges = (start - forecast.start).total_seconds() / forecast.step_s + np.arange(count)
    index = np.clip(np.floor(edges + 1e-9).astype(np.intp), 0, len(forecast.value) - 1)
    value = float(forecast.value[index].mean())
    low = value if forecast.low is None else float(forecast.low[index].mean())
    high = value if forecast.high is None else float(forecast.high[index].mean())
    return value, low, high
