"""Halls that might be the one that stands there: what is not known of a site, as a batch.

A calibration's posterior comes in as draws of the configured hall. Without one, those of the site file are spread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from facility.site import Hall
from twin.hall import HallParams
from twin.halls import batch, edited, figure
from twin.identification.calibrated import CalibratedHall

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
        return batch(self.halls)


def spread_ensemble(hall: Hall, size: int = SIZE, spread: float = SPREAD, seed: int = SEED) -> Ensemble:
    """``hall`` itself, then draws with each figure of ``UNCERTAIN`` moved by up to ``spread``, uniform, independent."""
    factors = np.random.default_rng(seed).uniform(1.0 - spread, 1.0 + spread, (size, len(UNCERTAIN)))
    factors[0] = 1.0
    halls = tuple(_moved(hall, dict(zip(UNCERTAIN, row.tolist(), strict=True))) for row in factors)
    source = f"site file, {len(UNCERTAIN)} figures assumed known to {spread:.0%} ({size} draws, seed {seed})"
    return Ensemble(halls, source)


def posterior_ensemble(
    calibrated: CalibratedHall, day: date, window: str, size: int = SIZE, seed: int = SEED
) -> Ensemble:
    """Draws of a calibration's posterior; ``day`` and ``window`` say what it stems from."""
    told = sum(one.is_told for one in calibrated.figures)
    source = f"calibrated on {window}: {told} of {len(calibrated.figures)} figures told ({size} draws, seed {seed})"
    return Ensemble(calibrated.draws(size, seed), source, day)


def _moved(hall: Hall, factors: dict[str, float]) -> Hall:
    for path, factor in factors.items():
        top = 1.0 if path == "economizer.effectiveness" else np.inf
        hall = edited(hall, path, min(figure(hall, path) * factor, top))
    return hall
