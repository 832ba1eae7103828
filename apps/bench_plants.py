"""Legacy, a fixed rule and the physical optimum of one plant, in several climates, at part and at full load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from facility.site import Hall
from twin.air import Weather
from twin.part_load import part_load
from twin.plant import PLANTS
from twin.signals import read_weather, synthetic_signals
from twin.signals.record import pressure_pa

_CLIMATES = ("US-CAL-CISO", "DE")
_YEAR = datetime(2024, 1, 1, tzinfo=UTC)


def bench_plants(hall: Hall, weather: Sequence[Path], loads: Sequence[float]) -> list[dict[str, Any]]:
    """One row for each place, plant and load; without files two synthetic climates, which are named so."""
    made_up = {} if weather else {f"synthetic {name}": _made_up(name) for name in _CLIMATES}
    places = {path.name: _recorded(path) for path in weather} | made_up
    return [
        {"weather": place, **asdict(row)}
        for place, outdoors in places.items()
        for plant in PLANTS
        for row in part_load(hall, outdoors, plant, loads)
    ]


def _recorded(path: Path) -> Weather:
    record = read_weather([path])
    return Weather.of(record.drybulb.value, record.rh.value, pressure_pa(record.altitude_m))


def _made_up(zone: str) -> Weather:
    signals = synthetic_signals(zone, _YEAR, 366, 2024)
    return Weather.of(signals.drybulb.value, signals.rh.value)
