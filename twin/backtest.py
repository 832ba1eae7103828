"""Forecasts issued over the past, each with what was public at its time, against what came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray, Forecast
from twin.daily_profile import daily_profile
from twin.persistence import BAND_DAYS, persistence_24h
from twin.signals.series import Series

DAYS_AHEAD = 4
STEP_S = 3600.0
HISTORY_D = 2 * BAND_DAYS  # every issue has the past that bands of four days ahead need

Forecaster = Callable[[Series, datetime, float, float], Forecast]
FORECASTERS: dict[str, Forecaster] = {"daily-profile": daily_profile, "persistence-24h": persistence_24h}


@dataclass(frozen=True, slots=True)
class Score:
    """How one forecaster did over all issues, by days ahead."""

    forecaster: str
    zone: str
    issues: int
    first: datetime
    last: datetime
    mape_pct: tuple[float, ...]  # mean absolute error as a share of the true value
    inside_band_pct: tuple[float, ...]  # of a band meant to hold 90 %


def backtest(series: Series, *, hour_utc: int = 8, every_days: int = 3) -> list[Score]:
    """Scores of every forecaster on ``series``, issued at ``hour_utc`` every few days; DataError where too short."""
    issues = _issues(series, hour_utc, every_days)
    if not issues:
        raise DataError(
            f"{(series.end - series.start).days} days are too few to judge a forecast",
            where=series.source,
            hint=f"give at least {HISTORY_D + DAYS_AHEAD + 1} days",
        )
    return [_score(name, forecaster, series, issues) for name, forecaster in FORECASTERS.items()]


def _issues(series: Series, hour_utc: int, every_days: int) -> list[datetime]:
    first = (series.start + timedelta(days=HISTORY_D + 1)).replace(hour=hour_utc, minute=0)
    last = series.end - timedelta(days=DAYS_AHEAD)
    count = max(0, (last - first).days // every_days + 1) if last >= first else 0
    return [first + timedelta(days=every_days * number) for number in range(count)]


def _score(name: str, forecaster: Forecaster, series: Series, issues: Sequence[datetime]) -> Score:
    errors, inside = zip(*(_judge(forecaster, series, now) for now in issues), strict=True)
    return Score(
        forecaster=name,
        zone=series.zone,
        issues=len(issues),
        first=issues[0],
        last=issues[-1],
        mape_pct=_by_day(errors),
        inside_band_pct=_by_day(inside),
    )


def _judge(forecaster: Forecaster, series: Series, now: datetime) -> tuple[FloatArray, FloatArray]:
    """Relative miss and whether the truth lay in the band, hour by hour ahead."""
    truth = series.window(now, now + timedelta(days=DAYS_AHEAD), STEP_S)
    forecast = forecaster(series, now, 24.0 * DAYS_AHEAD, STEP_S)
    miss = np.abs(forecast.value - truth) / np.maximum(truth, 1.0)  # a grid at 0 g/kWh has no relative error
    if forecast.low is None or forecast.high is None:
        return miss, np.full(len(truth), np.nan)
    return miss, ((forecast.low <= truth) & (truth <= forecast.high)).astype(np.float64)


def _by_day(hours: Sequence[FloatArray]) -> tuple[float, ...]:
    mean = 100.0 * np.mean(np.array(hours), axis=0).reshape(DAYS_AHEAD, -1).mean(axis=1)
    return tuple(round(float(value), 1) for value in mean)
