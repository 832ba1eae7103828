"""Does the day have the right shape? The sun gives away stamps that are local time instead of UTC."""

from __future__ import annotations

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray
from twin.signals.series import Series
from twin.signals.zones import find_zone

MIN_DAYS = 14  # fewer days do not show the mean day
LONG_DAYS = 180  # half a year shows it to within a fraction of an hour
DIP_DEPTH = 0.35  # of the mean: with a shallower dip, windy weeks can outweigh the sun
LONG_DIP_DEPTH = 0.15  # over half a year the wind averages out
DIP_SHARPNESS = 0.7  # resultant length of the dip on the 24 h circle: less is two dips, or none
DIP_LEVEL = 0.4  # the part of the mean day's range that counts as the dip
SHORT_SPAN_FACTOR = 1.5  # on a zone's own tolerance, which is for half a year and more
DIP_TOLERANCE_H = 3.0  # any zone; Germany and California of 2021-23 stay within 1.5 h in every 14 days
WARMEST_SOLAR_H = (11.5, 18.5)  # when the mean day is warmest, in local solar time
MIN_SWING_K = 2.0


def mean_day(series: Series) -> FloatArray:
    """The mean by time of day UTC, shape [steps of a day]; empty with less than 14 days."""
    day = round(86400.0 / series.step_s)
    days = len(series.value) // day
    if days < MIN_DAYS:
        return np.empty(0)
    first = round((series.start.hour * 3600 + series.start.minute * 60) / series.step_s)
    mean: FloatArray = series.value[: days * day].reshape(days, day).mean(axis=0)
    return np.roll(mean, first)


def dip_offset_h(series: Series) -> float | None:
    """Hours by which the midday dip of carbon intensity trails solar noon; None where there is no such dip or no
    known zone.
    """
    zone = find_zone(series.zone)
    mean = mean_day(series)
    least = LONG_DIP_DEPTH if _is_long(series) else DIP_DEPTH
    if zone is None or not len(mean) or np.ptp(mean) < least * mean.mean():
        return None
    depth = np.clip(mean.min() + DIP_LEVEL * np.ptp(mean) - mean, 0.0, None)
    hours = (np.arange(len(mean)) + 0.5) * 24.0 / len(mean)
    resultant = complex(np.sum(depth * np.exp(2j * np.pi * hours / 24.0)) / depth.sum())
    if abs(resultant) < DIP_SHARPNESS:
        return None
    centre = float(np.angle(resultant)) / (2.0 * np.pi) * 24.0
    return _wrap(centre - zone.solar_noon_utc_h)


def require_sun(series: Series) -> None:
    """Raise DataError where the midday dip of carbon intensity does not fall at midday: local time given as UTC."""
    offset = dip_offset_h(series)
    zone = find_zone(series.zone)
    if offset is None or zone is None:
        return
    tolerance = DIP_TOLERANCE_H
    if zone.dip_tolerance_h is not None:
        tolerance = zone.dip_tolerance_h * (1.0 if _is_long(series) else SHORT_SPAN_FACTOR)
    if abs(offset) > tolerance:
        side = "after" if offset > 0 else "before"
        raise DataError(
            f"the midday dip is {abs(offset):.1f} h {side} solar noon of {series.zone}",
            where=series.source,
            hint=f"the stamps look like local time given as UTC (or not of {series.zone}): convert them to UTC",
        )


def require_afternoon(series: Series, longitude_deg: float) -> None:
    """Raise DataError where the mean day's warmest hour does not fall in the local afternoon."""
    mean = mean_day(series)
    if not len(mean) or np.ptp(mean) < MIN_SWING_K:
        return
    warmest = float(np.argmax(mean)) * 24.0 / len(mean)
    solar = (warmest + longitude_deg / 15.0) % 24.0
    if not WARMEST_SOLAR_H[0] <= solar <= WARMEST_SOLAR_H[1]:
        raise DataError(
            f"the mean day is warmest at {warmest:g} h UTC, {solar:.1f} h solar time at {longitude_deg:g} degrees east",
            where=series.source,
            hint="the file's offset from UTC or its longitude is wrong: correct them, or give another file",
        )


def _is_long(series: Series) -> bool:
    return len(series.value) * series.step_s >= LONG_DAYS * 86400.0


def _wrap(hours: float) -> float:
    return (hours + 12.0) % 24.0 - 12.0
