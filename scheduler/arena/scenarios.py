"""Worlds for the arena from signals and jobs: windows of any starts side by side, forecasts as they were issued."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray, Forecast, Job
from facility.site import Hall
from scheduler.arena.arena import World
from scheduler.arena.arrays import IntArray
from scheduler.arena.build import surroundings
from scheduler.arena.jobs import JobTable
from scheduler.arena.settings import STEP_S, ArenaSettings
from scheduler.arena.surroundings import STEPS_H, ForecastTable, Surroundings
from twin.daily_profile import daily_profile
from twin.hall import HallParams
from twin.persistence import persistence_24h
from twin.plant import PlantControl
from twin.signals import Series, Signals

HOUR_S = 3600.0
LEADS_H = 72  # of every forecast that a policy sees
Issuer = Callable[[Series, datetime], Forecast]  # hourly values from a moment on, from what was public then
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Window:
    """Jobs from ``start`` (a full hour) on, and the signals around them."""

    signals: Signals
    start: datetime
    jobs: tuple[Job, ...]


def profile_issuer(series: Series, now: datetime) -> Forecast:
    """The daily-profile forecast of ``twin.daily_profile``, hourly."""
    return daily_profile(series, now, LEADS_H, HOUR_S)


def persistence_issuer(series: Series, now: datetime) -> Forecast:
    """24 h persistence, hourly; day-ahead prices that are public are taken as they are."""
    return persistence_24h(series, now, LEADS_H, HOUR_S)


def world_of(
    hall: Hall,
    windows: Sequence[Window],
    control: PlantControl,
    *,
    steps: int,
    settings: ArenaSettings | None = None,
    params: HallParams | None = None,
    carbon: Issuer = profile_issuer,
) -> World:
    """A world of one hall for each window, whose signals reach over ``steps`` (drain included).

    ``params`` are the true plants, one for each window; without them every plant is the hall's own. Raises DataError
    where a window begins off the hour, or its signals do not cover the steps and the day before them.
    """
    around = surroundings_of(windows, steps, carbon)
    jobs = JobTable.of([window.jobs for window in windows], [window.start for window in windows])
    return World(hall, jobs, around, control, settings or ArenaSettings(), params)


def surroundings_of(windows: Sequence[Window], steps: int, carbon: Issuer = profile_issuer) -> Surroundings:
    """Intensity, price, weather and forecasts of each window over ``steps``, a column for each."""
    for window in windows:
        _require_cover(window, steps)
    hours = -(-steps // STEPS_H) + 1
    is_priced = all(window.signals.price is not None for window in windows)
    prices = [(_price(window.signals), window.start) for window in windows] if is_priced else []
    return surroundings(
        [window.signals for window in windows],
        [window.start for window in windows],
        steps,
        carbon=forecast_table([(window.signals.carbon, window.start) for window in windows], hours, carbon),
        price=forecast_table(prices, hours, persistence_issuer) if is_priced else None,
    )


def _price(signals: Signals) -> Series:
    assert signals.price is not None  # noqa: S101 - asked only where every window has one
    return signals.price


def forecast_table(wanted: Sequence[tuple[Series, datetime]], hours: int, issue: Issuer) -> ForecastTable:
    """Forecasts at every hour of every window; windows that share hours of a series share their forecasts."""
    stretches: dict[int, tuple[Series, set[datetime]]] = {}
    for series, start in wanted:
        issues = stretches.setdefault(id(series), (series, set()))[1]
        issues.update(start + timedelta(hours=index) for index in range(hours))
    rows: list[FloatArray] = []
    place: dict[tuple[int, datetime], int] = {}
    for key, (series, issues) in stretches.items():
        for now in sorted(issues):
            place[key, now] = len(rows)
            rows.append(issue(series, now).value)
    first = np.array([place[id(series), start] for series, start in wanted], dtype=np.int64)
    return ForecastTable(np.array(rows, dtype=np.float32), first)


def _require_cover(window: Window, steps: int) -> None:
    signals, start = window.signals, window.start
    end, form = start + timedelta(seconds=STEP_S * steps), "%Y-%m-%d %H:%M"
    if start.timestamp() % HOUR_S:
        raise DataError("a window begins on a full hour", where=f"{start:{form}}", hint="give a full hour, UTC")
    if signals.start > start or signals.end < end or signals.carbon.start > start - timedelta(days=1, hours=1):
        raise DataError(
            f"a window needs every signal from {start:{form}} to {end:{form}} UTC and carbon from 25 h before",
            where=f"carbon from {signals.carbon.start:{form}}, all from {signals.start:{form}} to {signals.end:{form}}",
            hint="give the neighbouring years' files too, or begin elsewhere",
        )


def plant_rows(params: T, index: IntArray, *, is_rack: bool = False) -> T:
    """Some halls of a batch of plants (``twin.halls.batch``), repeats allowed; values that are alike stay numbers."""
    changes: dict[str, Any] = {}
    for part in fields(params):  # type: ignore[arg-type]  # a frozen dataclass of the twin
        value = getattr(params, part.name)
        if is_dataclass(value):
            changes[part.name] = plant_rows(value, index)
        elif isinstance(value, np.ndarray) and value.ndim and not (part.name == "recirculation" and value.ndim == 1):
            changes[part.name] = value[index]
    return replace(params, **changes)  # type: ignore[type-var]
