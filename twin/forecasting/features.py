"""The inputs of the learned forecast: one row for each issue and hour ahead, from what was public at the issue.

Carbon enters as a logarithm and prices by their ratio to their own recent mean, so that a model outlives a change of
the level of either. What is not known is NaN, which the trees take as such.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from twin.forecasting.analog import analog, recent_misses
from twin.forecasting.inputs import LEADS_H, Inputs, Issues
from twin.forecasting.running import Index, Running, at

DAY, WEEK = 24, 168
MONTH = 672  # four weeks
PRICE_FLOOR_USD = 20.0  # added to a mean price that others are divided by
PRICED_H = 36  # day-ahead prices reach no further
SHIFT = 0.5  # share of the last day's misses of the analog that its anchor carries on


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """``columns`` (n, k) by ``names``; ``anchors`` (n, 2) are log intensities that trees correct."""

    names: tuple[str, ...]
    columns: FloatArray
    anchors: FloatArray  # of the same hour of past days, and of the analog
    issue: Index  # number of the issue
    lead: Index
    target: Index


def rows_of(inputs: Inputs, issues: Issues, leads: Index) -> Rows:
    """Rows of every issue and lead, issue by issue; ``leads`` are hours after the origin."""
    number = np.repeat(np.arange(len(issues)), len(leads))
    lead = np.tile(leads, len(issues))
    origin, priced = issues.origin[number], issues.priced[number]
    target = origin + lead
    found: dict[str, FloatArray] = {}
    found |= _calendar(inputs, target, origin, lead)
    found |= _past(inputs, target, origin)
    anchored, anchor = _analog(inputs, issues, target, number)
    found |= anchored
    if inputs.price is not None:
        found |= _price(inputs, target, origin, priced)
        found |= {name: value[number] for name, value in _foretold(inputs, issues).items()}
    found |= _lagged(inputs, target, issues.lagged[number])
    found |= _ahead(inputs, issues, leads)
    columns = np.column_stack([column.astype(np.float64) for column in found.values()])
    profile = 0.5 * (found["same_1"] + found["same_7d"])
    return Rows(tuple(found), columns, np.column_stack([profile, anchor]), number, lead, target)


def _calendar(inputs: Inputs, target: Index, origin: Index, lead: Index) -> dict[str, FloatArray]:
    calendar = inputs.calendar
    angle = calendar.year_angle[target]
    return {
        "lead": np.minimum(lead, LEADS_H - 1).astype(np.float64),
        "hour": calendar.hour[target].astype(np.float64),
        "origin_hour": calendar.hour[origin].astype(np.float64),
        "weekday": calendar.weekday[target].astype(np.float64),
        "is_rest": calendar.is_rest[target].astype(np.float64),
        "year_sin": np.sin(angle),
        "year_cos": np.cos(angle),
    }


def _back(target: Index, known: Index) -> Index:
    """The newest known hour of the same time of day."""
    return target - DAY * ((target - known) // DAY + 1)


def _past(inputs: Inputs, target: Index, origin: Index) -> dict[str, FloatArray]:
    carbon = inputs.log_carbon
    newest = _back(target, origin)
    same = np.stack([at(carbon, newest - DAY * day) for day in range(14)])
    last = at(carbon, origin - 1)
    running = Running(carbon)
    levels = {f"mean_{hours}h": running.mean(origin - hours, origin) for hours in (3, 6, DAY, 72, WEEK, MONTH)}
    return {
        "same_1": same[0],
        "same_2": same[1],
        "same_3d": same[:3].mean(axis=0),
        "same_7d": same[:7].mean(axis=0),
        "same_14d": same.mean(axis=0),
        "same_14d_sd": same.std(axis=0),
        "week_ago": at(carbon, target - WEEK),
        "last": last,
        "rise_1d": last - at(carbon, origin - 1 - DAY),
        "rise_7d": last - np.mean([at(carbon, origin - 1 - DAY * day) for day in range(1, 8)], axis=0),
        **levels,
    }


def _analog(inputs: Inputs, issues: Issues, target: Index, number: Index) -> tuple[dict[str, FloatArray], FloatArray]:
    origin = issues.origin[number]
    found = analog(inputs, target, origin, issues.priced[number])
    misses = recent_misses(inputs, int(issues.origin.min(initial=0)) - WEEK - DAY, int(issues.origin.max(initial=0)))
    recent = {hours: misses.mean(origin - hours, origin) for hours in (6, DAY, WEEK)}
    newest = _back(target, origin)
    columns = {
        "analog": found.log_carbon,
        "analog_sd": found.spread,
        "analog_miss_same": misses.mean(newest, newest + 1),
        **{f"analog_miss_{hours}h": value for hours, value in recent.items()},
    }
    return columns, found.log_carbon + SHIFT * np.nan_to_num(recent[DAY])


def _price(inputs: Inputs, target: Index, origin: Index, priced: Index) -> dict[str, FloatArray]:
    price, running = inputs.prices, Running(inputs.prices)
    week, month = running.mean(origin - WEEK, origin), running.mean(origin - MONTH, origin)
    scale = np.maximum(week, 0.0) + PRICE_FLOOR_USD

    def public(hour: Index) -> FloatArray:
        return np.where(hour < priced, at(price, hour), np.nan)

    now, newest = public(target), _back(target, origin)
    before = np.stack([at(price, newest - DAY * day) for day in range(14)])
    return {
        "price": now,
        "price_mean_24h": running.mean(origin - DAY, origin),
        "price_mean_168h": week,
        "price_mean_672h": month,
        "price_to_week": (now - week) / scale,
        "price_to_month": (now - month) / (np.maximum(month, 0.0) + PRICE_FLOOR_USD),
        "price_rise_1d": now - before[0],
        "price_to_1d": now / np.maximum(before[0], 5.0),
        "price_to_14d": now / (np.maximum(before.mean(axis=0), 0.0) + PRICE_FLOOR_USD),
        "price_last": at(price, origin - 1) / scale,
        "price_known_mean": running.mean(origin, priced) / scale,
        "price_known_last": at(price, priced - 1) / scale,
        "price_known_last_day": running.mean(priced - DAY, priced) / scale,
        "price_known_same": at(price, _back(target, priced)) / scale,
        "price_known_h": (target - priced).astype(np.float64),
        "price_2h_before": public(target - 2) / scale,
        "price_2h_after": public(target + 2) / scale,
    }


def _foretold(inputs: Inputs, issues: Issues) -> dict[str, FloatArray]:
    """How far the published prices say that the hours ahead will lie off what is usual, of each issue, log intensity.

    Where those prices end, the wind of that hour is the best guess of the wind after it.
    """
    ahead = np.arange(PRICED_H)
    hour = (issues.origin[:, None] + ahead).ravel()
    origin, priced = (np.repeat(known, PRICED_H) for known in (issues.origin, issues.priced))
    with_price = analog(inputs, hour, origin, priced).log_carbon
    usual = analog(inputs, hour, origin, np.zeros_like(priced)).log_carbon
    off = np.where(hour < priced, with_price - usual, np.nan).reshape(-1, PRICED_H)
    left = (issues.priced - issues.origin)[:, None] - ahead  # hours to the end of the prices, this one included

    def mean(chosen: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> FloatArray:
        inside = chosen & np.isfinite(off)
        count = inside.sum(axis=1)
        return np.where(count > 0, np.where(inside, off, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)

    return {
        "foretold": mean(left >= 1),
        "foretold_last_12h": mean((left >= 1) & (left <= 12)),
        "foretold_last_4h": mean((left >= 1) & (left <= 4)),
    }


def _lagged(inputs: Inputs, target: Index, known: Index) -> dict[str, FloatArray]:
    """Observed weather and shares of the mix: what they were, never what they will be."""
    found: dict[str, FloatArray] = {}
    for series, value in zip(inputs.lagged, inputs.others, strict=True):
        name, running = series.quantity, Running(value)
        found[f"{name}_same"] = at(value, _back(target, known))
        found[f"{name}_last"] = at(value, known - 1)
        found[f"{name}_24h"] = running.mean(known - DAY, known)
        found[f"{name}_168h"] = running.mean(known - WEEK, known)
    return found


def _ahead(inputs: Inputs, issues: Issues, leads: Index) -> dict[str, FloatArray]:
    """Weather forecasts for the hour itself, from the newest run out at the issue."""
    ahead = inputs.ahead
    if ahead is None:
        return {}
    start_s = int(inputs.carbon.start.timestamp())
    first, hours = int(leads[0]), int(leads[-1] - leads[0]) + 1
    parts = [
        ahead.newest(now, start_s + 3600 * (int(origin) + first), hours)[leads - first]
        for now, origin in zip(issues.at, issues.origin, strict=True)
    ]
    stacked = np.concatenate(parts) if parts else np.empty((0, len(ahead.names)))
    return {f"{name}_ahead": stacked[:, number] for number, name in enumerate(ahead.names)}
