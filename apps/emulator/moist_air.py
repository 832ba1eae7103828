"""The little moist-air physics that a cooling tower needs, scalar, by Magnus' formula (Alduchov and Eskridge, 1996)."""

from __future__ import annotations

import math

_PRESSURE_PA = 101_325.0


def saturation_pa(t_c: float) -> float:
    """Saturation vapour pressure over water in Pa."""
    return 610.94 * math.exp(17.625 * t_c / (t_c + 243.04))


def saturated_enthalpy_j_kg(t_c: float) -> float:
    """Enthalpy of saturated air for each kilogram of dry air."""
    vapour = saturation_pa(t_c)
    ratio = 0.622 * vapour / (_PRESSURE_PA - vapour)
    return 1_006.0 * t_c + ratio * (2_501_000.0 + 1_860.0 * t_c)


def wetbulb_c(drybulb_c: float, rh_pct: float) -> float:
    """Psychrometric wet bulb by bisection (ventilated psychrometer, 6.62e-4 1/K)."""
    vapour = saturation_pa(drybulb_c) * rh_pct / 100.0
    low, high = drybulb_c - 40.0, drybulb_c
    for _ in range(30):
        middle = 0.5 * (low + high)
        if saturation_pa(middle) - 6.62e-4 * _PRESSURE_PA * (drybulb_c - middle) > vapour:
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)


def relative_humidity_pct(t_c: float, dewpoint_c: float) -> float:
    """Relative humidity of air at ``t_c`` with the given dew point, at most 100."""
    return min(100.0 * saturation_pa(dewpoint_c) / saturation_pa(t_c), 100.0)


def dewpoint_c(drybulb_c: float, rh_pct: float) -> float:
    """Dew point in degrees Celsius."""
    alpha = math.log(max(rh_pct, 1.0) / 100.0) + 17.625 * drybulb_c / (drybulb_c + 243.04)
    return 243.04 * alpha / (17.625 - alpha)
