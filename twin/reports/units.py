"""Units of points: whether one counts or is a rate, and what it is in kWh or litres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray
from twin.reports.metered import Metered, from_rate, from_register

_HOUR_S = 3600.0
_REGISTERS: Mapping[str, float] = {  # to kWh or litres
    "Wh": 1e-3, "kWh": 1.0, "MWh": 1e3, "J": 1 / 3.6e6, "kJ": 1 / 3.6e3, "MJ": 1 / 3.6, "GJ": 1e3 / 3.6,
    "l": 1.0, "L": 1.0, "m3": 1e3,
}  # fmt: skip
_RATES: Mapping[str, float] = {  # to kWh or litres a second
    "W": 1e-3 / _HOUR_S, "kW": 1.0 / _HOUR_S, "MW": 1e3 / _HOUR_S,
    "l/s": 1.0, "l/min": 1.0 / 60.0, "m3/h": 1e3 / _HOUR_S, "m3/s": 1e3, "kg/s": 1.0,
}  # fmt: skip
_WATER = {"l", "L", "m3", "l/s", "l/min", "m3/h", "m3/s", "kg/s"}


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Readings of one point that are good, by time: seconds since the report's beginning, in ``unit``."""

    point: str
    unit: str
    at_s: FloatArray
    value: FloatArray
    rollover: float | None = None


def is_register(unit: str) -> bool:
    """Whether a point of this unit counts up."""
    return unit in _REGISTERS


def is_water(unit: str) -> bool:
    """Whether it measures water rather than energy."""
    return unit in _WATER


def is_known(unit: str) -> bool:
    """Whether energy or water can be had from it."""
    return unit in _REGISTERS or unit in _RATES


def metered(track: Track, span_s: float, *, water: bool = False) -> Metered:
    """A track as kWh, or litres where ``water``; raises DataError where its unit is another."""
    if not is_known(track.unit) or is_water(track.unit) != water:
        wanted = "litres, m3 or l/s, m3/h" if water else "Wh, kWh, MWh or W, kW, MW"
        raise DataError(f"its unit is {track.unit!r}", where=track.point, hint=f"a meter here has {wanted}")
    if is_register(track.unit):
        return from_register(track.at_s, track.value, span_s, _REGISTERS[track.unit], track.rollover)
    return from_rate(track.at_s, track.value, span_s, _RATES[track.unit])


def flow_kg_s(track: Track) -> FloatArray:
    """A flow of water in kg/s, a litre taken as a kilogram; raises DataError for another unit."""
    if track.unit not in _RATES or track.unit not in _WATER:
        raise DataError(f"its unit is {track.unit!r}", where=track.point, hint="a flow has kg/s, l/s, l/min or m3/h")
    return np.asarray(track.value * _RATES[track.unit])
