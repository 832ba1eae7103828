"""Moist air as arrays: psychrolib's equations (ASHRAE Handbook - Fundamentals 2017, ch. 1, SI), and inlet envelopes.

psychrolib is scalar; these functions take arrays of any shape, in degrees Celsius, percent and pascal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray

STANDARD_PRESSURE_PA = 101_325.0
DRY_AIR_CP_J_KG_K = 1_006.0  # ASHRAE Fundamentals 2017, ch. 1
VAPOUR_CP_J_KG_K = 1_860.0  # ibid., eq. 30
LATENT_HEAT_J_KG = 2_501_000.0  # of vaporisation at 0 C, ibid., eq. 30
WATER_CP_J_KG_K = 4_186.0
AIR_DENSITY_KG_M3 = 1.2  # standard air, by which fans are rated
AIR_HEAT_J_M3_K = AIR_DENSITY_KG_M3 * DRY_AIR_CP_J_KG_K

_TRIPLE_POINT_C = 0.01
_ICE = (-5.6745359e3, 6.3925247, -9.677843e-3, 6.2215701e-7, 2.0747825e-9, -9.484024e-13, 4.1635019)
_WATER = (-5.8002206e3, 1.3914993, -4.8640239e-2, 4.1764768e-5, -1.4452093e-8, 0.0, 6.5459673)
_MAX_DEPRESSION_K = 60.0  # wet bulb is never further below dry bulb up to 70 C


@dataclass(frozen=True, slots=True)
class Weather:
    """Outdoor air, arrays of shape (B,)."""

    drybulb_c: FloatArray
    wetbulb_c: FloatArray
    pressure_pa: FloatArray

    @classmethod
    def of(
        cls, drybulb_c: FloatArray, rh_pct: FloatArray, pressure_pa: FloatArray | float = STANDARD_PRESSURE_PA
    ) -> Weather:
        """From relative humidity: computes the wet bulb once; do it for a whole year ahead of a loop."""
        drybulb = np.asarray(drybulb_c, dtype=np.float64)
        pressure = np.broadcast_to(np.asarray(pressure_pa, dtype=np.float64), drybulb.shape)
        return cls(drybulb, wetbulb_c(drybulb, np.asarray(rh_pct, dtype=np.float64), pressure), pressure)

    def at(self, index: int | slice | FloatArray, batch: int | None = None) -> Weather:
        """The weather at ``index`` of a series; with ``batch`` a single hour is repeated for every hall."""
        parts = [np.asarray(part[index]) for part in (self.drybulb_c, self.wetbulb_c, self.pressure_pa)]
        return Weather(*(part if batch is None else np.broadcast_to(part, (batch,)) for part in parts))


def saturation_pressure_pa(t_c: FloatArray) -> FloatArray:
    """Saturation vapour pressure over ice or water, -100..200 C (eq. 5 and 6, Hyland and Wexler)."""
    kelvin = np.asarray(t_c, dtype=np.float64) + 273.15
    return np.exp(
        np.where(kelvin <= _TRIPLE_POINT_C + 273.15, _log_pressure(kelvin, _ICE), _log_pressure(kelvin, _WATER))
    )


def _log_pressure(kelvin: FloatArray, c: tuple[float, ...]) -> FloatArray:
    series = c[1] + kelvin * (c[2] + kelvin * (c[3] + kelvin * (c[4] + kelvin * c[5])))
    return c[0] / kelvin + series + c[6] * np.log(kelvin)


def saturation_humidity_ratio(t_c: FloatArray, pressure_pa: FloatArray | float) -> FloatArray:
    """Kilograms of vapour for each kilogram of dry air at saturation (eq. 20 at saturation)."""
    vapour = saturation_pressure_pa(t_c)
    return 0.621945 * vapour / (pressure_pa - vapour)


def humidity_ratio(drybulb_c: FloatArray, rh_pct: FloatArray, pressure_pa: FloatArray | float) -> FloatArray:
    """Kilograms of vapour for each kilogram of dry air (eq. 12 and 20)."""
    vapour = rh_pct / 100.0 * saturation_pressure_pa(drybulb_c)
    return 0.621945 * vapour / (pressure_pa - vapour)


def enthalpy_j_kg(drybulb_c: FloatArray, ratio: FloatArray) -> FloatArray:
    """Enthalpy of moist air for each kilogram of dry air (eq. 30)."""
    return DRY_AIR_CP_J_KG_K * drybulb_c + ratio * (LATENT_HEAT_J_KG + VAPOUR_CP_J_KG_K * drybulb_c)


def wetbulb_c(
    drybulb_c: FloatArray, rh_pct: FloatArray, pressure_pa: FloatArray | float = STANDARD_PRESSURE_PA
) -> FloatArray:
    """Thermodynamic wet bulb by bisection of eq. 33 and 35, to 1e-6 K; never above the dry bulb."""
    drybulb = np.asarray(drybulb_c, dtype=np.float64)
    ratio = humidity_ratio(drybulb, np.asarray(rh_pct, dtype=np.float64), pressure_pa)
    low, high = drybulb - _MAX_DEPRESSION_K, drybulb.copy()
    for _ in range(26):
        middle = 0.5 * (low + high)
        too_wet = _ratio_at_wetbulb(drybulb, middle, pressure_pa) > ratio
        high = np.where(too_wet, middle, high)
        low = np.where(too_wet, low, middle)
    return np.asarray(0.5 * (low + high))


def _ratio_at_wetbulb(drybulb_c: FloatArray, wet_c: FloatArray, pressure_pa: FloatArray | float) -> FloatArray:
    saturated = saturation_humidity_ratio(wet_c, pressure_pa)
    depression = drybulb_c - wet_c
    over_water = ((2501.0 - 2.326 * wet_c) * saturated - 1.006 * depression) / (
        2501.0 + 1.86 * drybulb_c - 4.186 * wet_c
    )
    over_ice = ((2830.0 - 0.24 * wet_c) * saturated - 1.006 * depression) / (2830.0 + 1.86 * drybulb_c - 2.1 * wet_c)
    return np.where(wet_c >= 0.0, over_water, over_ice)


def saturation_specific_heat_j_kg_k(t_c: FloatArray, pressure_pa: FloatArray | float) -> FloatArray:
    """dh/dT of air saturated over liquid water: what a tower's air takes for each kelvin (difference over 0.1 K)."""
    warm = _enthalpy_over_water(np.asarray(t_c + 0.05), pressure_pa)
    return (warm - _enthalpy_over_water(np.asarray(t_c - 0.05), pressure_pa)) / 0.1


def _enthalpy_over_water(t_c: FloatArray, pressure_pa: FloatArray | float) -> FloatArray:
    vapour = np.exp(_log_pressure(t_c + 273.15, _WATER))  # without the kink at freezing: the tower's water is liquid
    return enthalpy_j_kg(t_c, 0.621945 * vapour / (pressure_pa - vapour))


@dataclass(frozen=True, slots=True)
class Envelope:
    """Inlet temperature limits of one equipment class, degrees Celsius."""

    name: str
    low_c: float
    high_c: float

    def excess_k(self, inlet_c: FloatArray) -> FloatArray:
        """How far each inlet lies outside, above or below; zero inside."""
        return np.maximum(0.0, np.maximum(inlet_c - self.high_c, self.low_c - inlet_c))


# ASHRAE TC 9.9, Thermal Guidelines for Data Processing Environments, 5th edition (2021), dry bulb at the IT inlet.
ENVELOPES = {
    envelope.name: envelope
    for envelope in (
        Envelope("recommended", 18.0, 27.0),
        Envelope("A1", 15.0, 32.0),
        Envelope("A2", 10.0, 35.0),
        Envelope("A3", 5.0, 40.0),
        Envelope("A4", 5.0, 45.0),
    )
}
