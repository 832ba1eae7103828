"""What is said when no new forecast can be issued: the last good one, less and less sure, and then what is usual.

Every step down is told in words, which travel in the forecast's source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from facility.errors import EcoError
from facility.records import FloatArray, Forecast
from twin.forecasting.climatology import climatology
from twin.signals.series import Series

GROWTH_H = 24.0  # the half-width grows as sqrt(1 + age / 24 h): misses add up like a random walk's steps
LAST_GOOD_H = 72.0  # beyond this age the last good forecast says less than the season does


class Footing(StrEnum):
    """What a forecast stands on."""

    FRESH = "fresh"
    LAST_GOOD = "last good"
    CLIMATOLOGY = "climatology"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A forecast, what it stands on, and why it is not better, in words (empty where it is fresh)."""

    forecast: Forecast
    footing: Footing
    words: str = ""


def issue_or_fall_back(
    attempt: Callable[[], Forecast],
    last: Forecast | None,
    history: Series,
    now: datetime,
    horizon_h: float = 96.0,
    step_s: float = 3600.0,
) -> Outcome:
    """The forecast of ``attempt``; where it raises an EcoError, the best that is left.

    ``last`` is the last good forecast, ``history`` carbon of any age, on which climatology stands. Raises DataError
    where not even that can be made.
    """
    try:
        return Outcome(attempt(), Footing.FRESH)
    except EcoError as error:
        why = str(error)
    usual = climatology(history, now, horizon_h, step_s)
    age_h = (now - last.issued_at).total_seconds() / 3600.0 if last is not None else LAST_GOOD_H
    if last is None or not 0.0 <= age_h < LAST_GOOD_H:
        words = f"climatology, because no forecast could be issued: {why}"
        return Outcome(replace(usual, source=words), Footing.CLIMATOLOGY, words)
    words = f"the forecast of {last.issued_at:%Y-%m-%d %H:%M} UTC, {age_h:.0f} h old, with a wider band: {why}"
    return Outcome(_aged(last, usual, age_h, words), Footing.LAST_GOOD, words)


def _aged(last: Forecast, usual: Forecast, age_h: float, words: str) -> Forecast:
    """``last`` on the grid of ``usual``, its band grown; climatology beyond its end."""
    index = _positions(last, usual)
    inside = (index >= 0) & (index < len(last.value))
    place = np.clip(index, 0, len(last.value) - 1)
    growth = float(np.sqrt(1.0 + age_h / GROWTH_H))
    value = np.where(inside, last.value[place], usual.value)

    def edge(of_last: FloatArray | None, of_usual: FloatArray | None) -> FloatArray | None:
        if of_usual is None:
            return None
        grown = of_usual if of_last is None else last.value[place] + growth * (of_last[place] - last.value[place])
        return np.where(inside, np.maximum(grown, 0.0), of_usual)

    return Forecast(
        quantity=last.quantity,
        unit=last.unit,
        issued_at=last.issued_at,
        start=usual.start,
        step_s=usual.step_s,
        value=value,
        low=edge(last.low, usual.low),
        high=edge(last.high, usual.high),
        source=words,
        synthetic=last.synthetic,
    )


def _positions(last: Forecast, usual: Forecast) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    offset_s = (usual.start - last.start) / timedelta(seconds=1)
    seconds = offset_s + np.arange(len(usual.value)) * usual.step_s
    return np.asarray(np.floor(seconds / last.step_s + 1e-9), np.int64)
