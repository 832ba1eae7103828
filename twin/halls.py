"""Many halls of one structure as one batch: copies of a configured hall with figures changed, stacked for the twin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np

from facility.site import Hall, StrictModel
from twin.hall import HallParams

_RACK_PARTS = ("node", "pdu")  # quantities of racks vary along the first of two axes
T = TypeVar("T")


def figure(hall: Hall, path: str) -> float:
    """The figure at a dotted path of the hall's configuration, such as ``crah.rated_fan_w``."""
    value: Any = hall
    for name in path.split("."):
        value = getattr(value, name)
    return float(value)


def edited(model: T, path: str, value: Any) -> T:
    """A copy of a configuration with the value at a dotted path replaced; it was checked when it was read."""
    assert isinstance(model, StrictModel)  # noqa: S101 - keeps the walk typed
    name, _, rest = path.partition(".")
    inner = edited(getattr(model, name), rest, value) if rest else value
    return model.model_copy(update={name: inner})


def batch(halls: Sequence[Hall]) -> HallParams:
    """All halls as one batch of the twin, in order; they have the same numbers of racks and nodes."""
    return _stack([HallParams.from_site(hall) for hall in halls], is_rack=False)


def _stack(parts: Sequence[T], *, is_rack: bool) -> T:
    """Equal values stay numbers, others become arrays: (B,), (B, 1) for racks, (B, R) for what is one for each rack."""
    changes: dict[str, Any] = {}
    first: Any = parts[0]
    for field in fields(first):
        values: list[Any] = [getattr(part, field.name) for part in parts]
        if is_dataclass(values[0]):
            changes[field.name] = _stack(values, is_rack=is_rack or field.name in _RACK_PARTS)
        elif isinstance(values[0], np.ndarray):
            changes[field.name] = np.stack(values)
        elif any(value != values[0] for value in values):
            column = np.array(values, dtype=np.float64)
            changes[field.name] = column[:, None] if is_rack else column
    stacked: T = replace(first, **changes)
    return stacked
