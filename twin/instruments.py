"""Gains and offsets of a building's instruments, from its telemetry: gathers the series that `meters` compares."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from facility.records import FloatArray, Point
from twin.meters import Gain, inlet_offsets, pdu_gain, register_gain
from twin.telemetry.cleaning import CleanRows, Habits
from twin.telemetry.grid import Clock, during
from twin.telemetry.reading import MINUTE_US
from twin.telemetry.topology import Topology, class_of, quantity_of, register_kwh, zone_of

_HOUR_US = 60 * MINUTE_US


def read_instruments(
    clock: Clock,
    rows: Mapping[str, CleanRows],
    habits: Mapping[str, Habits],
    points: Mapping[str, Point],
    topology: Topology,
) -> tuple[tuple[Gain, Gain], dict[str, float]]:
    """Gains of facility and IT power, and offsets of inlet sensors in kelvin; neutral where they cannot be told."""

    def on_grid(name: str) -> FloatArray:
        return topology.to_kw_c(name, during(rows[name], clock, int(habits[name].gap_us // MINUTE_US)))

    it = np.sum([on_grid(name) for name in topology.it], axis=0)
    it_gain = Gain()
    if topology.ups_output:
        it_gain = pdu_gain(np.sum([on_grid(name) for name in topology.ups_output], axis=0), it)
    cooling = [n for n in rows if class_of(points[n]) == "crah" and quantity_of(n) in ("supply_air", "fan")]
    inlets = [name for name in topology.inlets if zone_of(points[name], topology.it)]
    grid = {name: on_grid(name) for name in (*cooling, *inlets, *topology.it)}
    return (_facility_gain(rows, habits, points, topology), it_gain), _offsets(grid, points, topology, inlets)


def _facility_gain(
    rows: Mapping[str, CleanRows], habits: Mapping[str, Habits], points: Mapping[str, Point], topology: Topology
) -> Gain:
    if topology.energy is None or topology.energy not in rows:
        return Gain()
    register, meter = rows[topology.energy], rows[topology.facility]
    counted = np.isfinite(register.value)
    ts_h = register.ts_us[counted] / _HOUR_US
    power = topology.to_kw_c(topology.facility, meter.value)
    longest_h = 3 * habits[topology.facility].interval_us / _HOUR_US
    mean = _mean_between(ts_h, meter.ts_us / _HOUR_US, power, longest_h)
    return register_gain(ts_h, register.value[counted] * register_kwh(points[topology.energy]), mean)


def _mean_between(ts_h: FloatArray, at_h: FloatArray, power_kw: FloatArray, longest_h: float) -> FloatArray:
    """Mean power (trapezoids) of the intervals that end at ``ts_h``; NaN where rows are further apart than allowed."""
    finite = np.isfinite(power_kw)
    at, power = at_h[finite], power_kw[finite]
    steps = np.diff(at)
    energy = np.concatenate([[0.0], np.cumsum(0.5 * (power[1:] + power[:-1]) * steps)])
    holes = np.concatenate([[0.0], np.cumsum(steps > longest_h)])
    whole = np.diff(np.interp(ts_h, at, holes)) == 0.0
    inside = (ts_h[:-1] >= at[0]) & (ts_h[1:] <= at[-1])
    mean = np.diff(np.interp(ts_h, at, energy)) / np.diff(ts_h)
    return np.concatenate([[np.nan], np.where(whole & inside, mean, np.nan)])


def _offsets(
    grid: Mapping[str, FloatArray], points: Mapping[str, Point], topology: Topology, inlets: list[str]
) -> dict[str, float]:
    supply = [v for n, v in grid.items() if class_of(points[n]) == "crah" and quantity_of(n) == "supply_air"]
    fans = [v for n, v in grid.items() if class_of(points[n]) == "crah" and quantity_of(n) == "fan"]
    if not supply or not fans:
        return {}
    supply_c, fan_pct = _middle(supply), np.maximum(_middle(fans), 1.0)
    offsets: dict[str, float] = {}
    for height in sorted({quantity_of(name) for name in inlets}):
        names = [name for name in inlets if quantity_of(name) == height]
        above = np.column_stack([grid[name] - supply_c for name in names])
        meters = [zone_of(points[name], topology.it) for name in names]
        ratio = np.column_stack([grid[meter] / fan_pct for meter in meters if meter])
        offsets |= dict(zip(names, inlet_offsets(above, ratio).tolist(), strict=True))
    return offsets


def _middle(values: list[FloatArray]) -> FloatArray:
    """Median over units; NaN where one is missing."""
    return np.asarray(np.median(np.stack(values), axis=0))
