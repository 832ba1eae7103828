"""How a recorded building was run, step by step, as the twin takes it: load, weather, setpoints, machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from facility.records import FloatArray
from facility.site import Hall
from twin.air import STANDARD_PRESSURE_PA, Weather
from twin.hall import PlantAction
from twin.identification.columns import BLOCK_MIN, Columns, blocks
from twin.plant import plant_control
from twin.telemetry.grid import hold
from twin.telemetry.reading import BoolArray

STEP_S = 60.0 * BLOCK_MIN
_HOLD_STEPS = 16  # a setting holds for four hours without a row; beyond that the step does not count


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """T steps of a building's life; ``known`` are those whose load, weather and settings are all at hand."""

    it_w: FloatArray  # (T, R) at the IT inlet
    weather: Weather  # (T,)
    action: PlantAction  # (T,)
    known: BoolArray  # (T,)
    assumed: tuple[str, ...] = ()  # what no point tells, and what stands in for it

    def __len__(self) -> int:
        return len(self.known)

    def part(self, first: int, last: int) -> Operation:
        """Steps [first, last)."""
        cut = slice(first, last)
        return Operation(
            self.it_w[cut], self.weather.at(cut), self.action.row(cut), self.known[cut], assumed=self.assumed
        )


def operation(columns: Columns, hall: Hall) -> Operation:
    """The operation that a recording shows of ``hall``; where no point tells a setting, the fixed rule stands in."""
    it_w = _it_w(columns, hall)
    dry, wet = columns.state("drybulb"), columns.state("wetbulb")
    if dry is None or wet is None:
        dry = wet = np.full(len(it_w), np.nan)
    known = np.isfinite(it_w).all(axis=1) & np.isfinite(dry) & np.isfinite(wet)
    it_w, dry, wet = _held(it_w), _held(dry), _held(wet)
    weather = Weather(dry, wet, np.full(len(dry), STANDARD_PRESSURE_PA))
    usual = plant_control("rule", hall).action(it_w.sum(axis=1), weather)
    settings, assumed = {}, []
    for name, recorded in _recorded(columns, hall).items():
        if recorded is None or not np.isfinite(recorded).any():
            settings[name] = getattr(usual, name)
            assumed.append(f"{name}: not recorded, the fixed rule stands in")
            continue
        held = hold(recorded, _HOLD_STEPS)
        known &= np.isfinite(held)
        settings[name] = _held(held)
    action: dict[str, Any] = settings
    return Operation(it_w, weather, PlantAction(**action), known, tuple(assumed))


def _it_w(columns: Columns, hall: Hall) -> FloatArray:
    """(T, R): each meter spread evenly over as many racks, in order, where they come out even; else their sum is."""
    meters = np.stack([1e3 * blocks(values) for values in columns.series.it_kw.values()], axis=1)
    racks = hall.racks // meters.shape[1]
    if racks * meters.shape[1] == hall.racks:
        return np.asarray(np.repeat(meters / racks, racks, axis=1))
    return np.asarray(np.repeat(meters.sum(axis=1, keepdims=True) / hall.racks, hall.racks, axis=1))


def _recorded(columns: Columns, hall: Hall) -> dict[str, FloatArray | None]:
    """Each setting of the plant as recorded: what was achieved goes before what was asked."""
    crahs, chillers = columns.running("crah"), columns.running("chiller")
    units = columns.units("crah") or hall.crah.count
    flow, pump = columns.mean("chw", ("flow",), "lps"), columns.mean("chw", ("pump",), "pct")
    economizer = columns.running("economizer")
    return {
        "supply_air_c": _first(columns.mean("crah", ("supply",), "c"), columns.setpoint(("supply",), "_c")),
        "fan_speed": _scaled(_first(columns.mean("crah", ("fan",), "pct"), columns.setpoint(("fan",), "_pct")), 0.01),
        "crahs_on": _scaled(crahs, hall.crah.count / units),
        "chw_supply_c": _first(columns.mean("chw", ("supply",), "c"), columns.setpoint(("chw",), "_c")),
        "chw_flow": _first(_scaled(flow, 1.0 / hall.chilled_water.design_flow_kg_s), _scaled(pump, 0.01)),
        "economizer": None if economizer is None else np.clip(economizer, 0.0, 1.0),
        "chillers_on": chillers,
        "tower_c": _first(columns.mean("tower", ("supply", "basin"), "c"), columns.setpoint(("tower",), "_c")),
    }


def _first(*choices: FloatArray | None) -> FloatArray | None:
    return next((choice for choice in choices if choice is not None), None)


def _scaled(values: FloatArray | None, factor: float) -> FloatArray | None:
    return None if values is None else values * factor


def _held(values: FloatArray) -> FloatArray:
    """Without gaps, so that the twin can run through: the value before, or the first one; such steps do not count."""
    table = values.reshape(len(values), -1)
    filled = np.empty_like(table)
    for column in range(table.shape[1]):
        part = hold(table[:, column], len(table))
        known = np.flatnonzero(np.isfinite(part))
        filled[:, column] = np.where(np.isfinite(part), part, part[known[0]] if len(known) else 0.0)
    return filled.reshape(values.shape)
