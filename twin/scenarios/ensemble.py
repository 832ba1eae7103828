"""Halls that might be the one that stands there: what is not known of a site, as a batch.

A calibration's posterior comes in as draws of the configured hall. Without one, those of the site file are spread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date
from typing import Any, TypeVar

import numpy as np

from facility.site import Hall, StrictModel
from twin.hall import HallParams

SIZE = 32
SPREAD = 0.05
SEED = 2024

# What differs between two buildings of one design: losses, efficiencies, conductances, leaks. Sizes are known.
UNCERTAIN = (
    "node.gpu.idle_w",
    "node.fans.rated_w",
    "node.fans.rated_airflow_m3_s",
    "node.leakage_per_k",
    "pdu.no_load",
    "pdu.square",
    "ups.no_load",
    "ups.proportional",
    "ups.square",
    "room.thermal_mass_j_k",
    "room.envelope_ua_w_k",
    "room.bypass",
    "room.recirculation_worst",
    "crah.rated_fan_w",
    "crah.coil_ua_w_k",
    "chilled_water.pump_rated_w",
    "economizer.effectiveness",
    "chiller.rated_capacity_w",
    "chiller.rated_cop",
    "chiller.no_load_share",
    "tower.design_approach_k",
    "tower.fan_rated_w",
    "tower.pump_rated_w",
)
_RACK_PARTS = ("node", "pdu")  # quantities of racks vary along the first of two axes
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Draws of one hall, the most likely first; ``calibrated`` is the day of the calibration they stem from."""

    halls: tuple[Hall, ...]
    source: str
    calibrated: date | None = None

    @property
    def size(self) -> int:
        """Number of draws."""
        return len(self.halls)

    def map(self, edit: Callable[[Hall], Hall]) -> Ensemble:
        """The same draws with a change made to each: pairs stay pairs."""
        return replace(self, halls=tuple(edit(hall) for hall in self.halls))

    def params(self) -> HallParams:
        """All draws as one batch of the twin."""
        return _stack([HallParams.from_site(hall) for hall in self.halls], is_rack=False)


def spread_ensemble(hall: Hall, size: int = SIZE, spread: float = SPREAD, seed: int = SEED) -> Ensemble:
    """``hall`` itself, then draws with each figure of ``UNCERTAIN`` moved by up to ``spread``, uniform, independent."""
    factors = np.random.default_rng(seed).uniform(1.0 - spread, 1.0 + spread, (size, len(UNCERTAIN)))
    factors[0] = 1.0
    halls = tuple(_moved(hall, dict(zip(UNCERTAIN, row.tolist(), strict=True))) for row in factors)
    source = f"site file, {len(UNCERTAIN)} figures assumed known to {spread:.0%} ({size} draws, seed {seed})"
    return Ensemble(halls, source)


def edited(model: T, path: str, value: Any) -> T:
    """A copy of a configuration with the value at a dotted path replaced; it was checked when it was read."""
    assert isinstance(model, StrictModel)  # noqa: S101 - keeps the walk typed
    name, _, rest = path.partition(".")
    inner = edited(getattr(model, name), rest, value) if rest else value
    return model.model_copy(update={name: inner})


def _moved(hall: Hall, factors: dict[str, float]) -> Hall:
    for path, factor in factors.items():
        value: Any = hall
        for name in path.split("."):
            value = getattr(value, name)
        top = 1.0 if path == "economizer.effectiveness" else np.inf
        hall = edited(hall, path, min(float(value) * factor, top))
    return hall


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
