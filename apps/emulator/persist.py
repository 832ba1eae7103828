"""The plant's state as JSON types and back: every lasting field of its parts, nothing of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from apps.emulator.plant import Plant


def snapshot(plant: Plant) -> dict[str, Any]:
    """Every part's state by name."""
    return {name: asdict(part) for name, part in _parts(plant).items()}


def fill(plant: Plant, data: Mapping[str, Any]) -> None:
    """Put a snapshot into a fresh plant of the same hall; raises KeyError where a part is missing."""
    for name, part in _parts(plant).items():
        restore(part, data[name])


def restore(target: Any, data: Mapping[str, Any]) -> None:
    """Set a dataclass's fields from JSON types, in place and in depth; raises KeyError for a missing one."""
    for field in fields(target):
        current, value = getattr(target, field.name), data[field.name]
        if is_dataclass(current):
            restore(current, value)
        else:
            setattr(target, field.name, value)


def _parts(plant: Plant) -> dict[str, Any]:
    racks = {f"rack-{i + 1}": rack for i, rack in enumerate(plant.air.racks)}
    crahs = {f"crah-{i + 1}": crah for i, crah in enumerate(plant.air.crahs)}
    rest = {
        "room": plant.air.room,
        "chiller": plant.water.chiller,
        "tower": plant.water.tower,
        "plant": plant.state,
    }
    return {**racks, **crahs, **rest}
