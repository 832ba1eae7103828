"""A battery on site, run by a plain daily schedule from forecasts: charge in the best hours ahead, empty in the worst.

At each local midnight the carbon intensity (or price) of the next 24 h is forecast from what was public by then. Hours
are taken for charging and discharging as long as the forecast gain pays for the round-trip loss. A surplus of
photovoltaics charges at any hour. Nothing is ever exported from the battery, which begins empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np

from facility.errors import ConfigError
from facility.records import FloatArray
from twin.daily_profile import daily_profile
from twin.persistence import persistence_24h
from twin.scenarios.case import Case
from twin.scenarios.surroundings import Surroundings

_DAY_H = 24.0


@dataclass(frozen=True, slots=True)
class BatteryFlows:
    """Each (T, B): charging and discharging power at the terminals, loss, and what is stored at the end of a step."""

    charge_w: FloatArray
    discharge_w: FloatArray
    loss_w: FloatArray
    stored_kwh: FloatArray


def schedule(case: Case, around: Surroundings) -> FloatArray:
    """+1 to charge, -1 to discharge, 0 to rest, for each step (T,); each day is decided at its local midnight.

    Raises ConfigError for a schedule by price without prices, DataError without a day of known past.
    """
    plan = np.zeros(around.steps)
    if not case.battery_kw or not case.battery_kwh:
        return plan
    hours = case.battery_kwh / case.battery_kw
    for issued, first, last in _days(around):
        ahead = _forecast(case, around, issued, around.times[first], last - first)
        plan[first:last] = _day_plan(ahead, hours, case.battery_efficiency, around.step_s)
    return plan


def run_battery(case: Case, plan: FloatArray, net_w: FloatArray, step_s: float) -> BatteryFlows:
    """Follows ``plan`` within power and energy; ``net_w`` (T, B) is load less photovoltaics, negative for a surplus.

    Half of the round-trip loss falls on each way. Energy closes: charge - discharge - loss is what the store gains.
    """
    way = float(np.sqrt(case.battery_efficiency))
    power_w, room_wh, hours = case.battery_kw * 1e3, case.battery_kwh * 1e3, step_s / 3600.0
    parts = [np.zeros_like(net_w) for _ in range(4)]
    charge, discharge, loss, stored = parts
    held_wh = np.zeros(net_w.shape[1])
    for index in range(len(net_w)):
        surplus = np.maximum(-net_w[index], 0.0)
        wanted = np.full_like(surplus, power_w) if plan[index] > 0 else np.minimum(surplus, power_w)
        charge[index] = np.minimum(wanted, (room_wh - held_wh) / (way * hours))
        if plan[index] < 0:
            need = np.clip(net_w[index], 0.0, power_w)
            discharge[index] = np.minimum(need, held_wh * way / hours)
        loss[index] = charge[index] * (1.0 - way) + discharge[index] * (1.0 / way - 1.0)
        held_wh = held_wh + (charge[index] - discharge[index] - loss[index]) * hours
        stored[index] = held_wh / 1e3
    return BatteryFlows(*parts)


def _days(around: Surroundings) -> list[tuple[datetime, int, int]]:
    """Local days: when each is decided, and its first and last step; the first begins with the span."""
    clock = ZoneInfo(around.timezone)
    dates = [when.astimezone(clock).date() for when in around.times]
    edges = [0, *(i for i in range(1, len(dates)) if dates[i] != dates[i - 1]), len(dates)]
    return [(around.times[first], first, last) for first, last in pairwise(edges)]


def _forecast(case: Case, around: Surroundings, issued: datetime, first: datetime, steps: int) -> FloatArray:
    horizon_h = max((first - issued + timedelta(seconds=steps * around.step_s)).total_seconds() / 3600.0, _DAY_H)
    if case.battery_drive == "carbon":
        return daily_profile(around.signals.carbon, issued, horizon_h, around.step_s).value[:steps]
    if around.signals.price is None:
        raise ConfigError(
            "a battery driven by price needs prices", where="battery_drive", hint="give --price, or drive it by carbon"
        )
    return persistence_24h(around.signals.price, issued, horizon_h, around.step_s).value[:steps]


def _day_plan(ahead: FloatArray, hours: float, efficiency: float, step_s: float) -> FloatArray:
    """The lowest steps charge, the highest discharge, as many as fill the battery, where each pair is worth it."""
    way = float(np.sqrt(efficiency))
    filling = round(hours / way * 3600.0 / step_s)
    emptying = round(hours * way * 3600.0 / step_s)
    order = np.argsort(ahead, kind="stable")
    low, high = order[: min(filling, len(ahead) // 2)], order[::-1][: min(emptying, len(ahead) // 2)]
    plan = np.zeros(len(ahead))
    paired = ahead[high][np.minimum(np.arange(len(low)), len(high) - 1)] if len(high) else np.full(len(low), -np.inf)
    is_worth = paired * efficiency > ahead[low]
    plan[low[is_worth]] = 1.0
    plan[high[ahead[high] * efficiency > ahead[low].min(initial=np.inf)]] = -1.0
    return plan
