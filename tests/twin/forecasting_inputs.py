"""Made-up grids for the tests of the learned forecast."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from twin.forecasting.inputs import Inputs
from twin.forecasting.weather_ahead import Run, WeatherAhead
from twin.signals import Series, synthetic_signals

START = datetime(2022, 1, 1, tzinfo=UTC)


def made_up(days: float = 260, *, ahead: bool = True) -> Inputs:
    """Direct carbon, prices, lagged weather, and weather forecasts issued every twelve hours for four days ahead."""
    signals = synthetic_signals("DE", START, days, 3)
    hours = round(days * 24)
    weather = np.random.default_rng(5).normal(size=hours + 120)
    runs = tuple(
        Run(
            int((START + timedelta(hours=hour)).timestamp()),
            int((START + timedelta(hours=hour)).timestamp()),
            {"wind_m_s": weather[hour : hour + 96]},
        )
        for hour in range(0, hours, 12)
    )
    forecasts = WeatherAhead(("wind_m_s",), runs, "made up") if ahead else None
    return Inputs(replace(signals.carbon, kind="direct"), signals.price, (signals.drybulb, signals.rh), forecasts)


def corrupted(inputs: Inputs, now: datetime) -> Inputs:
    """The same with everything that was not public at ``now`` replaced by nonsense, some of it NaN."""
    ahead = inputs.ahead
    if ahead is not None:
        later = len(ahead.known_at(now).runs)
        spoilt = [replace(run, value={"wind_m_s": np.full(96, 1e9)}) for run in ahead.runs[later:]]
        ahead = replace(ahead, runs=(*ahead.runs[:later], *spoilt))
    price = _spoilt(inputs.price, now) if inputs.price is not None else None
    return Inputs(_spoilt(inputs.carbon, now), price, tuple(_spoilt(one, now) for one in inputs.lagged), ahead)


def _spoilt(series: Series, now: datetime) -> Series:
    value = series.value.copy()
    known = series.known_count(now)
    value[known:] = np.random.default_rng(0).normal(1e6, 1e6, len(value) - known)
    value[known::7] = np.nan
    return replace(series, value=value)
