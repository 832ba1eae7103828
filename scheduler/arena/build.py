"""From signals, jobs and windows to the arrays of the arena."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from facility.errors import DataError
from scheduler.arena.arrays import FloatArray
from scheduler.arena.settings import STEP_S
from scheduler.arena.surroundings import ForecastTable, Surroundings
from twin.air import Weather
from twin.signals import Signals, pressure_pa


def surroundings(
    signals: Sequence[Signals],
    start: Sequence[datetime],
    steps: int,
    carbon: ForecastTable | None = None,
    price: ForecastTable | None = None,
) -> Surroundings:
    """What surrounds each hall, whose window begins at its ``start`` amid its ``signals``.

    Raises DataError where a signal does not cover the ``steps``. The price is left out where any hall has none.
    """
    ends = [first + timedelta(seconds=STEP_S * steps) for first in start]
    spans = list(zip(signals, start, ends, strict=True))
    drybulb, rh, intensity = (
        np.stack([getattr(one, name).window(first, end, STEP_S) for one, first, end in spans], axis=1)
        for name in ("drybulb", "rh", "carbon")
    )
    pressure: FloatArray = np.array([pressure_pa(one.altitude_m) for one in signals])
    return Surroundings(
        intensity_g_kwh=intensity,
        weather=Weather.of(drybulb, rh, np.broadcast_to(pressure, drybulb.shape)),
        hour_utc=np.array([first.hour + first.minute / 60.0 for first in start]),
        price_usd_mwh=_prices(spans),
        carbon=carbon,
        price=price,
    )


def _prices(spans: Sequence[tuple[Signals, datetime, datetime]]) -> FloatArray | None:
    windows = [one.price.window(first, end, STEP_S) for one, first, end in spans if one.price is not None]
    return np.stack(windows, axis=1) if len(windows) == len(spans) else None


def steps_covered(signals: Signals, start: datetime) -> int:
    """Whole steps from ``start`` that every signal covers; raises DataError where ``start`` is not covered."""
    if start < signals.start or start >= signals.end:
        raise DataError(
            f"no signals at {start:%Y-%m-%d %H:%M} UTC",
            where=f"all signals {signals.start:%Y-%m-%d %H:%M} to {signals.end:%Y-%m-%d %H:%M}",
            hint="give the neighbouring years' files too, or begin elsewhere",
        )
    return int((signals.end - start).total_seconds() // STEP_S)
