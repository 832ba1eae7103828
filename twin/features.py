"""What a forecast may look at: the newest state at the time of issue, and what is known ahead up to the target.

All series are per minute. State columns use rows measured at or before the issue; known columns use IT power and
setpoints of the minutes up to and including the target's, and nothing else (`twin.telemetry.grid` has both views).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from facility.records import FloatArray, Point
from twin.air import wetbulb_c
from twin.meters import Gain
from twin.telemetry.cleaning import CleanRows, Habits
from twin.telemetry.grid import Clock, during, hold, newest
from twin.telemetry.reading import MINUTE_US, IntArray
from twin.telemetry.topology import Topology, class_of, zone_of

_DAY = 1440
_SLOW = 26 * 60  # minutes for which setpoints and statuses hold without a row: they are written on change
_STALE = 720  # minutes after which a state is rather missing
_IT_TAUS = (1.0, 5.0, 15.0, 40.0)  # minutes: fans, room air, chilled-water loop, building
_ZONE_TAUS = (2.0, 8.0, 25.0)
_SETPOINT_TAU = 15.0
_CONVERTED = re.compile(r"_(w|mw|f|k)$")
_MAX_UNITS = 8  # more inlets, zones or setpoints than this are told to the model by their mean and extremes


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """A building minute by minute, in kW and degrees Celsius; NaN where not known."""

    clock: Clock
    it_kw: Mapping[str, FloatArray]  # of each minute, by meter
    it_newest_kw: FloatArray  # as known at each minute
    overhead_kw: FloatArray  # facility less IT, of each minute
    overhead_newest_kw: FloatArray
    setpoints: Mapping[str, FloatArray]  # of each minute
    setpoints_newest: Mapping[str, FloatArray]
    inlet_max_c: FloatArray  # of each minute
    inlets_newest_c: Mapping[str, FloatArray]
    zone_meter: Mapping[str, str]  # inlet -> IT meter of its zone
    states: Mapping[str, FloatArray]  # columns of state at each minute

    @property
    def it_total_kw(self) -> FloatArray:
        """IT power of each minute."""
        return np.asarray(np.sum(list(self.it_kw.values()), axis=0))


def smooth(values: FloatArray, tau: float) -> FloatArray:
    """First-order lag with time constant ``tau`` minutes; a missing value is taken as the one before."""
    held = hold(values, len(values))
    known = np.flatnonzero(np.isfinite(held))
    if not len(known):
        return held
    first, keep = int(known[0]), float(np.exp(-1.0 / tau))
    lagged = lfilter([1.0 - keep], [1.0, -keep], held[first:], zi=[keep * held[first]])[0]
    return np.concatenate([np.full(first, np.nan), np.asarray(lagged, dtype=np.float64)])


def trailing_mean(values: FloatArray, minutes: int) -> FloatArray:
    """Mean of the finite values of the last ``minutes``; NaN where there is none."""
    padded = np.concatenate([np.full(minutes - 1, np.nan), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, minutes)
    finite = np.isfinite(windows)
    total, count = np.where(finite, windows, 0.0).sum(axis=1), finite.sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def change(values: FloatArray, minutes: int) -> FloatArray:
    """Value less the value ``minutes`` ago."""
    return np.asarray(values - np.concatenate([np.full(minutes, np.nan), values[:-minutes]]))


def build_series(
    clock: Clock,
    rows: Mapping[str, CleanRows],
    habits: Mapping[str, Habits],
    points: Mapping[str, Point],
    topology: Topology,
    gains: tuple[Gain, Gain],
    offsets: Mapping[str, float],
) -> Series:
    """Puts cleaned rows on the grid; ``gains`` are of facility and IT power, ``offsets`` of inlet sensors."""
    grid = _Grid(clock, rows, habits, topology)
    facility, it_gain = gains[0].value, gains[1].value
    it = {name: it_gain * grid.during(name) for name in topology.it}
    it_newest = it_gain * np.sum([grid.newest(name) for name in topology.it], axis=0)
    inlets = [name for name in topology.inlets if name in rows]
    inlet_now = {name: grid.newest(name) - offsets.get(name, 0.0) for name in inlets}
    meters = {name: zone_of(points[name], topology.it) for name in inlets}
    return Series(
        clock=clock,
        it_kw=it,
        it_newest_kw=it_newest,
        overhead_kw=facility * grid.during(topology.facility) - np.sum(list(it.values()), axis=0),
        overhead_newest_kw=facility * grid.newest(topology.facility) - it_newest,
        setpoints={name: grid.during(name, _SLOW) for name in topology.setpoints if name in rows},
        setpoints_newest={name: grid.newest(name, _SLOW) for name in topology.setpoints if name in rows},
        inlet_max_c=_highest([grid.during(name) - offsets.get(name, 0.0) for name in inlets], clock.count),
        inlets_newest_c=inlet_now,
        zone_meter={name: meter for name, meter in meters.items() if meter},
        states=_states(grid, points, topology, inlet_now),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    clock: Clock
    rows: Mapping[str, CleanRows]
    habits: Mapping[str, Habits]
    topology: Topology

    def newest(self, name: str, minutes: int | None = None) -> FloatArray:
        return self.topology.to_kw_c(name, newest(self.rows[name], self.clock, self._hold(name, minutes)))

    def during(self, name: str, minutes: int | None = None) -> FloatArray:
        return self.topology.to_kw_c(name, during(self.rows[name], self.clock, self._hold(name, minutes)))

    def _hold(self, name: str, minutes: int | None) -> int:
        return int(self.habits[name].gap_us // MINUTE_US) if minutes is None else minutes


def _highest(values: list[FloatArray], count: int) -> FloatArray:
    """The highest of all that are there; NaN where none is."""
    if not values:
        return np.full(count, np.nan)
    stacked = np.stack(values)
    return np.where(np.isfinite(stacked).any(axis=0), np.fmax.reduce(stacked, axis=0), np.nan)


def _states(
    grid: _Grid, points: Mapping[str, Point], topology: Topology, inlets: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    columns: dict[str, FloatArray] = {}
    for name, values in _class_means(grid, points, topology).items():
        columns[name] = trailing_mean(values, 3)
        for minutes in (10, 30):
            columns[f"{name}:change{minutes}"] = change(columns[name], minutes)
    columns |= _status_columns(grid, points, topology)
    columns |= _weather_columns(grid, topology)
    highest = trailing_mean(_highest(list(inlets.values()), grid.clock.count), 3)
    columns |= {"inlet_max": highest, "inlet_max:change8": change(highest, 8)}
    if len(inlets) <= 2 * _MAX_UNITS:
        columns |= {f"{name}:now": trailing_mean(values, 3) for name, values in inlets.items()}
    minute = (grid.clock.start_us // MINUTE_US + np.arange(grid.clock.count)) % _DAY
    columns["day_sin"], columns["day_cos"] = np.sin(2 * np.pi * minute / _DAY), np.cos(2 * np.pi * minute / _DAY)
    return columns


def _class_means(grid: _Grid, points: Mapping[str, Point], topology: Topology) -> dict[str, FloatArray]:
    """Mean over the units of a class, and each unit where they are few: lead and lag machines differ."""
    groups: dict[str, list[FloatArray]] = {}
    units: dict[str, FloatArray] = {}
    for name in topology.states:
        if name in grid.rows:
            values = hold(grid.newest(name), _STALE)
            groups.setdefault(class_key(points[name], topology), []).append(values)
            units[name] = values
    columns = {key: _mean(values) for key, values in groups.items()}
    several = {key for key, values in groups.items() if 1 < len(values) <= _MAX_UNITS}
    for name, values in units.items():
        if class_key(points[name], topology) in several and points[name].kind in ("power", "temperature"):
            columns[name] = values
    return columns


def class_key(point: Point, topology: Topology) -> str:
    """`crah-2/fan_pct` counts for `crah/fan_pct`; the unit stays, because a fan has a speed and a power."""
    quantity = point.name.split("/", 1)[1]
    if _unit_changes(point, topology):
        quantity = _CONVERTED.sub(lambda unit: "_kw" if "w" in unit.group() else "_c", quantity)
    return f"{class_of(point)}/{quantity}"


def _unit_changes(point: Point, topology: Topology) -> bool:
    return topology.scale.get(point.name, (1.0, 0.0)) != (1.0, 0.0)


def _mean(values: list[FloatArray]) -> FloatArray:
    stacked = np.stack(values)
    finite = np.isfinite(stacked)
    count = finite.sum(axis=0)
    return np.where(count > 0, np.where(finite, stacked, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _status_columns(grid: _Grid, points: Mapping[str, Point], topology: Topology) -> dict[str, FloatArray]:
    running: dict[str, FloatArray] = {}
    for name in topology.statuses:
        if name in grid.rows:
            key = f"{class_of(points[name])}:running"
            running[key] = running.get(key, np.zeros(grid.clock.count)) + grid.newest(name, _SLOW)
    return running | {f"{key}:age": _age(values) for key, values in running.items()}


def _age(values: FloatArray) -> FloatArray:
    """Minutes since the value changed, at most 240."""
    index = np.arange(len(values))
    begins = np.append(True, ~((values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))))
    return np.minimum(index - np.maximum.accumulate(np.where(begins, index, 0)), 240).astype(np.float64)


def _weather_columns(grid: _Grid, topology: Topology) -> dict[str, FloatArray]:
    if topology.drybulb is None or topology.drybulb not in grid.rows:
        return {}
    dry = smooth(hold(grid.newest(topology.drybulb), _STALE), 5.0)
    wet = dry
    if topology.wetbulb is not None and topology.wetbulb in grid.rows:
        wet = smooth(hold(grid.newest(topology.wetbulb), _STALE), 15.0)
    elif topology.rh is not None and topology.rh in grid.rows:
        rh = smooth(hold(grid.newest(topology.rh), _STALE), 15.0)
        wet = np.full(len(dry), np.nan)
        both = np.isfinite(dry) & np.isfinite(rh)
        wet[both] = wetbulb_c(smooth(dry, 10.0)[both], np.clip(rh[both], 1.0, 100.0))
    return {"drybulb": dry, "wetbulb": wet, "wetbulb:change60": change(wet, 60)}


@dataclass(frozen=True, slots=True, eq=False)
class Ahead:
    """What is known ahead, as columns: at the target, and how far that is from now."""

    target: Mapping[str, FloatArray]
    now: Mapping[str, FloatArray]
    it_kw: FloatArray  # at the target


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """Which minutes a forecast is issued at and for, and what is known up to the target."""

    issues: IntArray  # minutes of the clock
    horizon: int
    known: frozenset[str]
    clock_ahead: int = 0  # minutes by which the clock of the IT meters is ahead

    def later(self, values: FloatArray, tau: float, raw: FloatArray, given: bool, shift: int = 0) -> FloatArray:
        """``values``, which are ``raw`` lagged by ``tau``, at the target; held at the newest where not ``given``."""
        if given:
            return np.asarray(values[np.clip(self.issues + self.horizon + shift, 0, len(values) - 1)])
        newest_raw, newest_lagged = raw[self.issues - 1], values[self.issues - 1]
        if not tau:
            return np.asarray(newest_raw)
        return np.asarray(newest_raw + (newest_lagged - newest_raw) * np.exp(-(self.horizon + 1) / tau))


def known_ahead(series: Series, outlook: Outlook) -> Ahead:
    """Columns for each issue of ``outlook``; what is not known ahead is held at its newest value."""
    now: dict[str, FloatArray] = {}
    target: dict[str, FloatArray] = {}
    taus_of_meter = _ZONE_TAUS if len(series.it_kw) <= _MAX_UNITS else ()
    for name, values in [*series.it_kw.items(), ("it", series.it_total_kw)]:
        held = hold(values, _STALE)
        for tau in (0.0, *(_IT_TAUS if name == "it" else taus_of_meter)):
            lagged = smooth(held, tau) if tau else held
            now[f"{name}:{tau:g}"] = lagged[outlook.issues - 1]
            given = "it" in outlook.known
            target[f"{name}:{tau:g}"] = outlook.later(lagged, tau, held, given, outlook.clock_ahead)
    target["it:highest"] = _highest_it(series, outlook)
    for name, values in series.setpoints.items():
        for tau in (0.0, _SETPOINT_TAU):
            lagged = smooth(values, tau) if tau else values
            now[f"{name}:{tau:g}"] = lagged[outlook.issues - 1]
            target[f"{name}:{tau:g}"] = outlook.later(lagged, tau, values, "setpoints" in outlook.known)
    return Ahead(target, now, target["it:0"])


def _highest_it(series: Series, outlook: Outlook) -> FloatArray:
    """Highest IT power between issue and target: what may start another chiller."""
    lagged = smooth(series.it_total_kw, 3.0)
    if "it" not in outlook.known:
        return np.asarray(lagged[outlook.issues - 1])
    padded = np.concatenate([np.full(outlook.horizon, -np.inf), np.nan_to_num(lagged, nan=-np.inf)])
    highest = np.lib.stride_tricks.sliding_window_view(padded, outlook.horizon + 1).max(axis=1)
    at = np.clip(outlook.issues + outlook.horizon + outlook.clock_ahead, 0, len(highest) - 1)
    return np.where(np.isfinite(highest[at]), highest[at], np.nan)
