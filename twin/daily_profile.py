"""The daily-profile forecast: persistence over several days instead of one.

The value ahead is the weighted mean of the same time on the last 14 known days (the newest weighs most), shifted to the
level measured last; the shift fades within a day. One day of history makes it plain 24 h persistence. Yesterday alone
repeats yesterday's wind; the mean keeps what returns each day. The three figures were chosen on 2022 data of two grids
(docs/signals.md).
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

import numpy as np

from facility.records import FloatArray, Forecast
from twin.persistence import BAND_DAYS, BAND_QUANTILES, DAY_S, MIN_BAND_DAYS, require_history
from twin.signals.series import Series

DAYS = 14
DECAY_D = 7.0  # a day this much older weighs 1/e
FADE_H = 24.0  # of the shift to the newest level
LEVEL_H = 3.0  # the newest level is the mean miss of these last hours


def daily_profile(series: Series, now: datetime, horizon_h: float = 96.0, step_s: float = 900.0) -> Forecast:
    """The forecast of a held ``series`` issued at ``now`` for [now, now + horizon_h), element i at now + i * step_s.

    Values that are public already are taken as they are. The band holds the 5th to 95th percentile of what the profile
    (without the shift) missed by on the last 28 days; with less than 14 days of misses there is none. Raises DataError
    with less than 24 h of known past, or where the newest known value is more than 48 h old.
    """
    count = series.known_count(now)
    day = round(DAY_S / series.step_s)
    require_history(series, now, count, day)
    steps = round(horizon_h * 3600.0 / step_s)
    offset = (now - series.start).total_seconds() / series.step_s
    index = np.floor(offset + np.arange(steps) * (step_s / series.step_s) + 1e-9).astype(np.intp)
    beyond = index - count
    is_known = beyond < 0
    profile, shift = _profile(series, count)
    fade = np.exp(-(beyond + 1) * series.step_s / 3600.0 / FADE_H)
    value = np.where(is_known, series.value[np.minimum(index, count - 1)], profile[beyond % day] + shift * fade)
    low, high = _band(series, count, beyond, value)
    return Forecast(
        quantity=series.quantity,
        unit=series.unit,
        issued_at=now,
        start=now,
        step_s=step_s,
        value=value,
        low=low,
        high=high,
        source=f"daily profile of {series.source}",
        synthetic=series.synthetic,
    )


def _weights(days: int) -> FloatArray:
    """Weights of ``days`` days, the newest last; they sum to one."""
    weight = np.exp(-np.arange(days - 1, -1, -1) / DECAY_D)
    return np.asarray(weight / weight.sum())


def _days_of(series: Series, count: int, most: int) -> FloatArray:
    """The newest whole days before ``count``, shape [days, steps of a day], the newest last."""
    day = round(DAY_S / series.step_s)
    days = min(most, count // day)
    return series.value[count - days * day : count].reshape(days, day)


@lru_cache(maxsize=512)
def _profile(series: Series, count: int) -> tuple[FloatArray, float]:
    """The profile of the day from ``count`` on, and by how much the newest hours lie above what it would have said."""
    days = _days_of(series, count, DAYS + 1)
    newest = days[-DAYS:]
    profile = np.asarray(_weights(len(newest)) @ newest)
    if len(days) == 1:
        return profile, 0.0
    before = days[:-1]
    recent = max(round(LEVEL_H * 3600.0 / series.step_s), 1)
    miss = days[-1] - _weights(len(before)) @ before
    return profile, float(miss[-recent:].mean())


def _band(
    series: Series, count: int, beyond: np.ndarray[tuple[int], np.dtype[np.intp]], value: FloatArray
) -> tuple[FloatArray | None, FloatArray | None]:
    day = round(DAY_S / series.step_s)
    low, high = value.copy(), value.copy()
    for ahead in range(int(beyond.max(initial=-1)) // day + 1):
        misses = _miss_quantiles(series, count, ahead + 1)
        if misses is None:
            return None, None
        chosen = beyond // day == ahead
        low[chosen] += misses[0, beyond[chosen] % day]
        high[chosen] += misses[1, beyond[chosen] % day]
    return low, high


@lru_cache(maxsize=512)
def _miss_quantiles(series: Series, count: int, days_ahead: int) -> FloatArray | None:
    """Quantiles of the misses ``days_ahead`` days ahead, by step of the day, shape [2, steps of a day]."""
    days = _days_of(series, count, BAND_DAYS + DAYS + days_ahead)
    judged = min(BAND_DAYS, len(days) - days_ahead)
    if judged < MIN_BAND_DAYS:
        return None
    misses = np.empty((judged, days.shape[1]))
    for row in range(judged):
        end = len(days) - judged + row - days_ahead + 1  # days before this one were known when the forecast was issued
        known = days[max(end - DAYS, 0) : end]
        misses[row] = days[len(days) - judged + row] - _weights(len(known)) @ known
    misses.sort(axis=0)
    # Rank q (n + 1) of n misses is exceeded by the next one with probability 1 - q; the plain quantile is too narrow.
    rank = np.clip(np.array(BAND_QUANTILES) * (judged + 1) - 1.0, 0.0, judged - 1.0)
    below = np.floor(rank).astype(np.intp)
    above = np.minimum(below + 1, judged - 1)
    return np.asarray(misses[below] + (rank - below)[:, None] * (misses[above] - misses[below]))
