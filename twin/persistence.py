"""24 h persistence: a forecast from nothing but what was public when it was issued.

The value at a time t ahead is the newest one known for the same time of an earlier day. The band holds the 5th to
95th percentile of what that rule missed by at the same time of day over the last 28 known days; with less than 14
days of misses there is no band.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray, Forecast
from twin.signals.series import Series

DAY_S = 86400.0
BAND_DAYS = 28  # long enough for 5-95 % of one time of day, short enough to follow the season
MIN_BAND_DAYS = 14
BAND_QUANTILES = (0.05, 0.95)
MAX_STALE_H = 48.0  # older data is no longer a forecast of tomorrow


def persistence_24h(series: Series, now: datetime, horizon_h: float = 96.0, step_s: float = 900.0) -> Forecast:
    """The forecast of ``series`` issued at ``now`` for [now, now + horizon_h), element i at now + i * step_s.

    Values that are public already (the running hour's, day-ahead prices) are taken as they are. Raises DataError with
    less than 24 h of known past, or where the newest known value is more than 48 h old.
    """
    count = series.known_count(now)
    day = round(DAY_S / series.step_s)
    require_history(series, now, count, day)
    known = series.value[:count]
    steps = round(horizon_h * 3600.0 / step_s)
    ahead = (now - series.start).total_seconds() / series.step_s + np.arange(steps) * (step_s / series.step_s)
    beyond = (ahead if series.instant else np.floor(ahead + 1e-9)) - (count - 1)
    days_back = np.ceil(np.maximum(beyond, 0.0) / day - 1e-9).astype(np.intp)
    position = ahead - days_back * day
    value = _sample(known, position, interpolate=series.instant)
    low, high = _band(series, count, position, days_back, value)
    return Forecast(
        quantity=series.quantity,
        unit=series.unit,
        issued_at=now,
        start=now,
        step_s=step_s,
        value=value,
        low=low,
        high=high,
        source=f"persistence 24 h of {series.source}",
        synthetic=series.synthetic,
    )


def require_history(series: Series, now: datetime, count: int, day: int) -> None:
    """Refuse to forecast from less than a day of known past, or from stale data."""
    if count < day:
        needed = series.start + timedelta(seconds=DAY_S + max(0.0, series.known_lag_s))
        raise DataError(
            f"{count * series.step_s / 3600.0:g} h of {series.quantity} are known at {now:%Y-%m-%d %H:%M} UTC, "
            "and a forecast needs 24 h",
            where=series.source,
            hint=f"begin no earlier than {needed:%Y-%m-%d %H:%M} UTC, or give the file of the time before",
        )
    newest = series.published(now)
    if (now - newest).total_seconds() > MAX_STALE_H * 3600.0:
        raise DataError(
            f"the newest {series.quantity} known at {now:%Y-%m-%d %H:%M} UTC is of {newest:%Y-%m-%d %H:%M} UTC",
            where=series.source,
            hint=f"a forecast needs data no older than {MAX_STALE_H:g} h",
        )


def _sample(known: FloatArray, position: FloatArray, *, interpolate: bool) -> FloatArray:
    """Known values at fractional grid positions: held, or interpolated between stamps."""
    low = np.clip(np.floor(position + 1e-9).astype(np.intp), 0, len(known) - 1)
    if not interpolate:
        return known[low]
    high = np.minimum(low + 1, len(known) - 1)
    weight = np.maximum(position - low, 0.0)
    result: FloatArray = known[low] + weight * (known[high] - known[low])
    return result


def _band(
    series: Series,
    count: int,
    position: FloatArray,
    days_back: np.ndarray[tuple[int], np.dtype[np.intp]],
    value: FloatArray,
) -> tuple[FloatArray | None, FloatArray | None]:
    """Low and high of each element, shape [n] each, or None where too few misses are known."""
    low, high = value.copy(), value.copy()
    day = round(DAY_S / series.step_s)
    time_of_day = np.floor(position + 1e-9).astype(np.intp) % day
    for back in range(1, int(days_back.max(initial=0)) + 1):
        misses = _miss_quantiles(series, count, back)
        if misses is None:
            return None, None
        chosen = days_back == back
        low[chosen] += misses[0, time_of_day[chosen]]
        high[chosen] += misses[1, time_of_day[chosen]]
    return low, high


@lru_cache(maxsize=512)
def _miss_quantiles(series: Series, count: int, days_back: int) -> FloatArray | None:
    """Quantiles of v(t) - v(t - days_back) by time of day over the newest known days, shape [2, steps of a day].

    Cached by the (immutable) series and how much of it is known, so that ticks within one hour share the work.
    """
    day = round(DAY_S / series.step_s)
    days = min(BAND_DAYS, count // day - days_back)
    if days < MIN_BAND_DAYS:
        return None
    known = series.value[:count]
    begin = count - days * day
    miss = np.sort(
        (known[begin:] - known[begin - days_back * day : count - days_back * day]).reshape(days, day), axis=0
    )
    # Rank q (n + 1) of n misses is exceeded by the next one with probability 1 - q; the plain quantile is too narrow.
    rank = np.clip(np.array(BAND_QUANTILES) * (days + 1) - 1.0, 0.0, days - 1.0)
    low = np.floor(rank).astype(np.intp)
    high = np.minimum(low + 1, days - 1)
    quantiles = miss[low] + (rank - low)[:, None] * (miss[high] - miss[low])
    result: FloatArray = np.roll(quantiles, begin % day, axis=1)  # column 0 becomes the series' own time of day 0
    return result
