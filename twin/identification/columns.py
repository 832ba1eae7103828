"""Where a recording holds what the hall's physics speaks of: by class of equipment, quantity and unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray, Point
from twin.features import Series, class_key
from twin.telemetry.topology import Topology, class_of

CLASSES: Mapping[str, tuple[str, ...]] = {
    "crah": ("crah", "crac", "ahu", "fanwall"),
    "chiller": ("ch", "chiller"),
    "chw": ("chw", "chwp"),
    "cw": ("cw", "cwp"),
    "tower": ("tower", "ct"),
    "economizer": ("wse", "economizer", "econ", "hx"),
    "ups": ("ups",),
    "mech": ("mech", "mechanical", "hvac"),
    "zone": ("zone",),
}
"""Names of equipment, without number, by what it is."""

BLOCK_MIN = 15  # one step of the twin


def blocks(values: FloatArray) -> FloatArray:
    """Mean of every quarter of an hour, shape (T,), of a value a minute; NaN where less than half of it is known."""
    count = len(values) // BLOCK_MIN
    table = values[: count * BLOCK_MIN].reshape(count, BLOCK_MIN)
    known = np.isfinite(table)
    enough = known.sum(axis=1) * 2 >= BLOCK_MIN
    total = np.where(known, table, 0.0).sum(axis=1)
    return np.where(enough, total / np.maximum(known.sum(axis=1), 1), np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The recording's columns of state, asked by what they mean."""

    series: Series
    topology: Topology
    points: Mapping[str, Point]

    def mean(self, kind: str, words: tuple[str, ...], unit: str) -> FloatArray | None:
        """Mean over the units of ``kind`` of the first quantity with one of ``words`` in its name, a value a step."""
        key = self._key(kind, words, unit)
        return None if key is None else blocks(self.series.states[key])

    def total(self, kind: str, words: tuple[str, ...], unit: str) -> FloatArray | None:
        """The same, summed over the units."""
        key = self._key(kind, words, unit)
        return None if key is None else blocks(self.series.states[key]) * self._units(key)

    def running(self, kind: str) -> FloatArray | None:
        """How many units of ``kind`` run, a value a step."""
        keys = [f"{name}:running" for name in CLASSES[kind] if f"{name}:running" in self.series.states]
        return blocks(self.series.states[keys[0]]) if keys else None

    def units(self, kind: str) -> int | None:
        """How many units of ``kind`` there are, as far as points tell."""
        names = {point.equipment for point in self.points.values() if class_of(point) in CLASSES[kind]}
        numbered = {name for name in names if name not in CLASSES[kind]}
        return len(numbered) or len(names) or None

    def setpoint(self, words: tuple[str, ...], unit: str) -> FloatArray | None:
        """The first setpoint with all of ``words`` in its name."""
        for name, values in self.series.setpoints.items():
            if name.endswith(unit) and all(word in name for word in words):
                return blocks(values)
        return None

    def state(self, name: str) -> FloatArray | None:
        """A column of state by its name."""
        return blocks(self.series.states[name]) if name in self.series.states else None

    def _key(self, kind: str, words: tuple[str, ...], unit: str) -> str | None:
        for name in self.series.states:
            equipment, _, quantity = name.partition("/")
            if equipment not in CLASSES[kind] or ":" in quantity or not quantity.endswith(f"_{unit}"):
                continue
            if any(word in quantity for word in words):
                return name
        return None

    def _units(self, key: str) -> int:
        alike = [name for name in self.topology.states if class_key(self.points[name], self.topology) == key]
        return max(len(alike), 1)
