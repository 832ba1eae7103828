"""All forecasts of a moment, each with the time at which it was issued; none sees a value that was not public then."""

from __future__ import annotations

from datetime import datetime

from facility.records import Forecasts
from twin.daily_profile import daily_profile
from twin.persistence import persistence_24h
from twin.signals.record import wetbulb_series
from twin.signals.series import Signals

__all__ = ["daily_profile", "issue_forecasts", "persistence_24h"]


def issue_forecasts(signals: Signals, now: datetime, horizon_h: float = 96.0, step_s: float = 900.0) -> Forecasts:
    """Forecasts by quantity, issued at ``now``: carbon by daily profile, weather and price by 24 h persistence.

    Raises DataError with less than 24 h of known past of any of them.
    """
    ahead = [signals.drybulb, wetbulb_series(signals)]
    if signals.price is not None:
        ahead.append(signals.price)
    issued = [daily_profile(signals.carbon, now, horizon_h, step_s)]
    issued += [persistence_24h(series, now, horizon_h, step_s) for series in ahead]
    return {forecast.quantity: forecast for forecast in issued}
