"""The weather of one place, and what both readers of it share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray
from twin.air import STANDARD_PRESSURE_PA, wetbulb_c
from twin.signals.grid import Grid
from twin.signals.plausible import require_afternoon
from twin.signals.series import DRYBULB, RH, WETBULB, Series, Signals

DRYBULB_RANGE_C = (-60.0, 60.0)  # beyond every record on land
RH_RANGE_PCT = (0.0, 105.0)  # instruments overshoot a little; above 100 is clipped
RH_UNIT = "%"


@dataclass(frozen=True, slots=True, eq=False)
class WeatherRecord:
    """Hourly dry bulb and relative humidity of one place, UTC."""

    drybulb: Series
    rh: Series
    latitude_deg: float
    longitude_deg: float
    altitude_m: float


def make_record(
    grid: Grid,
    source: str,
    place: tuple[float, float, float],
    zone: str = "",
    notes: tuple[str, ...] = (),
    *,
    synthetic: bool = False,
) -> WeatherRecord:
    """Two series from a grid of drybulb_c and rh_pct at (latitude, longitude, altitude); raises DataError where the
    day is shifted.
    """

    def series(quantity: str, unit: str, value: FloatArray) -> Series:
        return Series(
            quantity=quantity,
            unit=unit,
            zone=zone,
            start=grid.start,
            step_s=grid.step_s,
            value=value,
            known_lag_s=0.0,
            source=source,
            instant=True,
            synthetic=synthetic,
            gaps=grid.gaps,
            notes=notes,
        )

    drybulb = series(DRYBULB, "degC", grid.values[DRYBULB])
    require_afternoon(drybulb, place[1])
    return WeatherRecord(drybulb, series(RH, RH_UNIT, np.minimum(grid.values[RH], 100.0)), *place)


def require_range(value: FloatArray, limits: tuple[float, float], unit: str, stamps: Sequence[str], where: str) -> None:
    """Raise DataError naming the first value outside ``limits`` and its stamp."""
    wrong = np.flatnonzero((value < limits[0]) | (value > limits[1]))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{value[row]:g} {unit} at {stamps[row]} cannot be"
            + (f", nor can {len(wrong) - 1} more" if len(wrong) > 1 else ""),
            where=where,
            hint=f"expected {limits[0]:g} to {limits[1]:g} {unit}; check the units of the file",
        )


def pressure_pa(altitude_m: float) -> float:
    """Standard pressure at an altitude (ASHRAE Fundamentals 2017, ch. 1, eq. 3)."""
    return float(STANDARD_PRESSURE_PA * (1.0 - 2.25577e-5 * altitude_m) ** 5.2559)


@lru_cache(maxsize=16)
def wetbulb_series(signals: Signals) -> Series:
    """Wet bulb on the grid of the weather, element by element, so that it is public whenever the observation is."""
    drybulb, rh = signals.drybulb, signals.rh
    if (drybulb.start, drybulb.step_s, len(drybulb.value)) != (rh.start, rh.step_s, len(rh.value)):
        raise DataError(
            "dry bulb and humidity are on different grids", where=drybulb.source, hint="take both from one file"
        )
    with np.errstate(
        all="ignore"
    ):  # readers refuse absurd weather; what a test puts into the future is not judged here
        wetbulb = wetbulb_c(drybulb.value, rh.value, pressure_pa(signals.altitude_m))
    return Series(
        quantity=WETBULB,
        unit="degC",
        zone=drybulb.zone,
        start=drybulb.start,
        step_s=drybulb.step_s,
        value=wetbulb,
        known_lag_s=drybulb.known_lag_s,
        source=drybulb.source,
        synthetic=drybulb.synthetic or rh.synthetic,
        instant=True,
    )
