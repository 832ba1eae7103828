"""All forecasts of a moment, each with the time at which it was issued; none sees a value that was not public then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from facility.errors import DataError
from facility.records import Forecast, Forecasts
from twin.daily_profile import daily_profile
from twin.persistence import persistence_24h
from twin.signals.record import wetbulb_series
from twin.signals.series import Signals

__all__ = ["daily_profile", "issue_each", "issue_forecasts", "persistence_24h"]

HORIZON_H = 96.0
STEP_S = 900.0


def issue_forecasts(signals: Signals, now: datetime, horizon_h: float = HORIZON_H, step_s: float = STEP_S) -> Forecasts:
    """Forecasts by quantity, issued at ``now``: carbon by daily profile, weather and price by 24 h persistence.

    Raises DataError with less than 24 h of known past of any of them.
    """
    forecasts, problems = issue_each(signals, now, horizon_h, step_s)
    if problems:
        raise problems[0]
    return forecasts


def issue_each(
    signals: Signals, now: datetime, horizon_h: float = HORIZON_H, step_s: float = STEP_S
) -> tuple[Forecasts, list[DataError]]:
    """The forecasts that can be issued, and why the others cannot: a price that has ended leaves carbon and weather."""
    issued: dict[str, Forecast] = {}
    problems: list[DataError] = []
    for issue in _issuers(signals, now, horizon_h, step_s):
        try:
            forecast = issue()
        except DataError as error:
            problems.append(error)
        else:
            issued[forecast.quantity] = forecast
    return issued, problems


def _issuers(signals: Signals, now: datetime, horizon_h: float, step_s: float) -> list[Callable[[], Forecast]]:
    issuers: list[Callable[[], Forecast]] = [
        lambda: daily_profile(signals.carbon, now, horizon_h, step_s),
        lambda: persistence_24h(signals.drybulb, now, horizon_h, step_s),
        lambda: persistence_24h(wetbulb_series(signals), now, horizon_h, step_s),
    ]
    price = signals.price
    if price is not None:
        issuers.append(lambda: persistence_24h(price, now, horizon_h, step_s))
    return issuers
