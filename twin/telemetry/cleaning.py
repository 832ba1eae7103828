"""Cleans the rows of a point one after the other: a verdict on a row depends on no younger row.

What is typical of a point (`Habits`) is learned from the training window once. Bad quality, sentinels, values out of
range, spikes and frozen values become missing; a value in another unit than the one declared is converted back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from facility.records import FloatArray, Point
from twin.telemetry.reading import MINUTE_US, BoolArray, IntArray, Rows, Telemetry

_SENTINELS = (-1.0, -99.0, -999.0, -9999.0, 999.0, 9999.0, 32767.0, -32768.0, 65535.0)  # registers' words for "none"
_ANALOGUE = ("temperature", "humidity", "pressure", "flow", "power")
_NEIGHBOURS = 5  # rows whose median a row is held against
_SPIKE_MARGIN = 2.5  # over the largest ordinary departure from that median
_STUCK_MARGIN = 4.0  # over the longest ordinary run of equal values
_STUCK_MIN_US = 60 * MINUTE_US
_UNIT_ROWS = 15  # rows that must agree before another unit is believed
_FAR, _NEAR = 10.0, 6.0  # median absolute deviations


class Verdict(IntEnum):
    """What cleaning made of a row."""

    OK = 0
    MISSING = 1  # no value and no quality
    BAD_QUALITY = 2  # the source said so
    SENTINEL = 3  # a register's word for no value, or out of the declared range
    SPIKE = 4
    STUCK = 5
    WRONG_UNIT = 6  # converted, not dropped


@dataclass(frozen=True, slots=True)
class Habits:
    """What is ordinary for a point, in its own unit."""

    median: float
    spread: float  # median absolute deviation, with a floor
    spike: float  # largest ordinary departure from the median of the rows before
    stuck_us: int  # no ordinary run of equal values lasts as long; 0 where frozen values are ordinary
    interval_us: int  # between rows
    gap_us: int  # rows further apart leave a gap


@dataclass(frozen=True, slots=True, eq=False)
class CleanRows:
    """Rows of a point after cleaning: NaN where masked."""

    ts_us: IntArray
    value: FloatArray
    verdict: IntArray
    repeats_us: IntArray  # times of rows that a later arrival replaced


def learn_habits(telemetry: Telemetry) -> dict[str, Habits]:
    """The habits of every point with rows, from all rows given."""
    return {name: _habits(rows, telemetry.points[name]) for name, rows in telemetry.rows.items()}


def clean(telemetry: Telemetry, habits: Mapping[str, Habits]) -> dict[str, CleanRows]:
    """Every point that has habits; a point that was not there when they were learned is left out."""
    points = telemetry.points
    return {
        name: clean_rows(rows, points[name], habits[name]) for name, rows in telemetry.rows.items() if name in habits
    }


def _habits(rows: Rows, point: Point) -> Habits:
    inside = rows.good & np.isfinite(rows.value) & ~_out_of_range(rows.value, point)
    value, ts = rows.value[inside], rows.ts_us[inside]
    interval = int(np.median(np.diff(rows.ts_us))) if len(rows.ts_us) > 1 else MINUTE_US
    usual = float(np.quantile(np.diff(rows.ts_us), 0.999)) if len(rows.ts_us) > 1 else interval
    gap = int(max(5 * interval, 10 * MINUTE_US, 2.0 * usual))
    if len(value) < 10:
        return Habits(float("nan"), float("nan"), float("inf"), 0, interval, gap)
    median = float(np.median(value))
    spread = max(float(np.median(np.abs(value - median))), 1.0 if point.kind == "temperature" else 0.03 * abs(median))
    return Habits(median, spread, _spike_limit(value), _stuck_limit(ts, value, point), interval, gap)


def _spike_limit(value: FloatArray) -> float:
    away = np.abs(value - _median_before(value))
    away = away[np.isfinite(away)]
    return max(_SPIKE_MARGIN * float(np.quantile(away, 0.998)), 1e-6) if len(away) else float("inf")


def _stuck_limit(ts_us: IntArray, value: FloatArray, point: Point) -> int:
    """From the ordinary lengths of runs of equal values; points that rest at a value for hours have none."""
    if point.kind not in _ANALOGUE:
        return 0
    moving = value != 0.0
    age = _age_of_run(ts_us[moving], value[moving])
    ends = np.append(age[1:] == 0, True)
    if not len(age):
        return 0
    usual = float(np.quantile(age[ends], 0.998))
    limit = max(_STUCK_MARGIN * usual, _STUCK_MIN_US)
    return int(limit) if limit < 12 * 60 * MINUTE_US else 0


def _age_of_run(ts_us: IntArray, value: FloatArray) -> IntArray:
    """Microseconds for which a value has not changed."""
    if not len(value):
        return np.zeros(0, dtype=np.int64)
    begins = np.append(True, value[1:] != value[:-1])
    start = np.maximum.accumulate(np.where(begins, np.arange(len(value)), 0))
    return np.asarray(ts_us - ts_us[start])


def _median_before(value: FloatArray) -> FloatArray:
    """Median of the rows before each one; NaN for the first ones."""
    median = np.full(len(value), np.nan)
    if len(value) > _NEIGHBOURS:
        windows = np.lib.stride_tricks.sliding_window_view(value, _NEIGHBOURS)
        median[_NEIGHBOURS:] = np.median(windows[:-1], axis=1)
    return median


def _out_of_range(value: FloatArray, point: Point) -> BoolArray:
    low = -np.inf if point.min is None else point.min
    high = np.inf if point.max is None else point.max
    margin = 0.02 * (high - low) if np.isfinite(high - low) else 0.0
    with np.errstate(invalid="ignore"):
        return np.asarray((value < low - margin) | (value > high + margin))


def clean_rows(rows: Rows, point: Point, habits: Habits) -> CleanRows:
    """Rows of one point with a verdict each; only rows at or before a row decide about it."""
    value, verdict = rows.value.copy(), np.zeros(len(rows.value), dtype=np.int64)
    verdict[~np.isfinite(value)] = Verdict.MISSING
    verdict[~rows.good] = Verdict.BAD_QUALITY
    if np.isfinite(habits.median):
        _convert(value, verdict, point, habits)
    with np.errstate(invalid="ignore"):
        strange = (np.abs(value - habits.median) > _NEAR * habits.spread) | (value < _lowest(point))
    odd = np.isin(value, _SENTINELS) & strange
    verdict[(verdict == Verdict.OK) & (odd | _out_of_range(value, point))] = Verdict.SENTINEL
    usable = np.flatnonzero((verdict == Verdict.OK) | (verdict == Verdict.WRONG_UNIT))
    if point.kind in _ANALOGUE:
        verdict[usable[_spikes(value[usable], habits.spike)]] = Verdict.SPIKE
    if habits.stuck_us:
        held = _age_of_run(rows.ts_us[usable], value[usable]) > habits.stuck_us
        verdict[usable[held & (value[usable] != 0.0)]] = Verdict.STUCK
    kept = (verdict == Verdict.OK) | (verdict == Verdict.WRONG_UNIT)
    return CleanRows(rows.ts_us, np.where(kept, value, np.nan), verdict, rows.repeats_us)


def _lowest(point: Point) -> float:
    return -np.inf if point.min is None else point.min


def _spikes(value: FloatArray, limit: float) -> BoolArray:
    """Rows far from the median of those before, unless the row just before had gone there too: then it is a step."""
    with np.errstate(invalid="ignore"):
        away = np.abs(value - _median_before(value)) > limit
        stayed = np.append(False, np.abs(np.diff(value)) <= limit)
    return np.asarray(away & ~stayed)


def _convert(value: FloatArray, verdict: IntArray, point: Point, habits: Habits) -> None:
    """Converts, in place, values that are far from usual and usual in another unit, once several in a row agree."""
    if point.kind not in ("temperature", "power"):
        return
    for converted in _other_units(value, point):
        fits = (verdict == Verdict.OK) & ~_is_usual(value, point, habits, _FAR)
        fits &= _is_usual(converted, point, habits, _NEAR)
        agree = np.cumsum(fits)
        recent = agree - np.append(np.zeros(_UNIT_ROWS, dtype=np.int64), agree[:-_UNIT_ROWS])[: len(agree)]
        believed = fits & (recent >= 0.8 * _UNIT_ROWS)
        value[believed] = converted[believed]
        verdict[believed] = Verdict.WRONG_UNIT


def _is_usual(value: FloatArray, point: Point, habits: Habits, spreads: float) -> BoolArray:
    """Near the median: for a temperature in spreads, for a power in ratio, because units of power are factors."""
    with np.errstate(invalid="ignore"):
        if point.kind == "power":
            share = value / habits.median
            return np.asarray((share > 1.0 / (spreads - 2.0)) & (share < spreads - 2.0))
        return np.asarray(np.abs(value - habits.median) < spreads * habits.spread)


def _other_units(value: FloatArray, point: Point) -> tuple[FloatArray, ...]:
    if point.kind == "power":
        return value / 1e3, value * 1e3
    if point.unit.lower() in ("degf", "f"):
        return (value * 1.8 + 32.0,)  # Celsius reported as Fahrenheit
    return (value - 32.0) / 1.8, value - 273.15
