"""What is usual at this hour and season: quantiles of the past, which need no recent value."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from facility.errors import DataError
from facility.records import Forecast
from twin.forecasting.calendar import calendar_of
from twin.forecasting.inputs import HOUR_S, SPARE_H
from twin.signals.series import Series

SEASON_D = 30.0  # days of the year on either side that count as the same season
QUANTILES = (0.05, 0.5, 0.95)
LEAST_D = 14


def climatology(history: Series, now: datetime, horizon_h: float = 96.0, step_s: float = 3600.0) -> Forecast:
    """Median and 90 % band of the known past at the same local hour, within 30 days of the season where there is any.

    Raises DataError with less than 14 days of known hourly past.
    """
    known = history.known_count(now)
    if history.step_s != HOUR_S or known < LEAST_D * 24:
        raise DataError(
            f"{known * history.step_s / HOUR_S:g} h of {history.quantity} are known at {now:%Y-%m-%d %H:%M} UTC",
            where=history.source,
            hint=f"what is usual is said from {LEAST_D} days of hourly values on",
        )
    first = (now - history.start).total_seconds() / HOUR_S
    hour = np.floor(first + 1e-9 + np.arange(round(horizon_h * HOUR_S / step_s)) * (step_s / HOUR_S)).astype(np.int64)
    past = calendar_of(history.zone, history.start, known)
    ahead = calendar_of(history.zone, history.start + timedelta(hours=int(hour[0])), int(horizon_h) + SPARE_H)
    apart = np.abs(np.angle(np.exp(1j * (past.year_angle - ahead.year_angle[0]))))
    in_season = apart <= SEASON_D * 2.0 * np.pi / 365.25
    value = history.value[:known]
    table = np.empty((len(QUANTILES), 24))
    for local in range(24):
        chosen = past.hour == local
        of_season = chosen & in_season
        table[:, local] = np.quantile(value[of_season if of_season.sum() >= LEAST_D else chosen], QUANTILES)
    low, middle, high = table[:, ahead.hour[hour - hour[0]]]
    return Forecast(
        quantity=history.quantity,
        unit=history.unit,
        issued_at=now,
        start=now,
        step_s=step_s,
        value=middle,
        low=low,
        high=high,
        source=f"climatology of {history.source}",
        synthetic=history.synthetic,
    )
