"""Sun and photovoltaics: position, irradiance on a tilted plane, AC power. Angles in degrees, irradiance in W/m2.

Irradiance is that of a weather file where it has one, else a clear sky dimmed by the file's cloud cover, else a clear
sky: each says which (``Irradiance.source``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from facility.records import FloatArray
from twin.signals.series import IRRADIANCE, Series

SOLAR_CONSTANT_W_M2 = 1361.0  # total solar irradiance, Kopp and Lean (2011)
ALBEDO = 0.2  # grass and soil, the common default
SYSTEM_LOSS = 0.14  # soiling, wiring, mismatch, ageing: default of NREL PVWatts version 5
INVERTER_EFFICIENCY = 0.96  # ibid.
POWER_PER_K = -0.0037  # of a standard module after PVWatts' version 8 default
NOCT_RISE_K_M2_W = 25.0 / 800.0  # nominal operating cell temperature of 45 C at 800 W/m2 and 20 C air


@dataclass(frozen=True, slots=True)
class Irradiance:
    """A series of horizontal irradiance or of cloud cover from a weather file."""

    series: Series

    @property
    def source(self) -> str:
        """What the irradiance rests on, in words."""
        if self.series.quantity == IRRADIANCE:
            return f"global horizontal irradiance of {self.series.source}"
        return f"clear sky dimmed by the cloud cover of {self.series.source} (Haurwitz; Kasten and Czeplak): modelled"

    def horizontal_w_m2(self, start: datetime, end: datetime, step_s: float, clear_w_m2: FloatArray) -> FloatArray:
        """Global horizontal irradiance of each step."""
        value = self.series.window(start, end, step_s)
        return value if self.series.quantity == IRRADIANCE else clear_w_m2 * cloud_transmission(value / 100.0)


@dataclass(frozen=True, slots=True)
class Sun:
    """Where the sun stands, arrays of one shape."""

    cos_zenith: FloatArray  # negative below the horizon
    azimuth_deg: FloatArray  # clockwise from north
    extraterrestrial_w_m2: FloatArray  # on a plane towards the sun


def sun(start: datetime, count: int, step_s: float, latitude_deg: float, longitude_deg: float) -> Sun:
    """At the middle of each step (Spencer 1971, Fourier series of declination and equation of time; +-0.1 degrees)."""
    middle = start.astimezone(UTC) + timedelta(seconds=step_s / 2.0)
    seconds = np.arange(count) * step_s + (middle - datetime(middle.year, 1, 1, tzinfo=UTC)).total_seconds()
    day, hour_utc = seconds / 86_400.0, seconds / 3600.0 % 24.0
    g = 2.0 * np.pi * np.floor(day) / 365.0
    sin, cos = np.sin, np.cos
    declination = (
        0.006918 - 0.399912 * cos(g) + 0.070257 * sin(g) - 0.006758 * cos(2 * g)
        + 0.000907 * sin(2 * g) - 0.002697 * cos(3 * g) + 0.00148 * sin(3 * g)
    )  # fmt: skip
    equation_min = 229.18 * (
        0.000075 + 0.001868 * cos(g) - 0.032077 * sin(g) - 0.014615 * cos(2 * g) - 0.040849 * sin(2 * g)
    )
    angle = np.radians(15.0 * (hour_utc + equation_min / 60.0 + longitude_deg / 15.0 - 12.0))
    latitude = np.radians(latitude_deg)
    cos_zenith = sin(latitude) * sin(declination) + cos(latitude) * cos(declination) * cos(angle)
    south = cos(angle) * sin(latitude) - np.tan(declination) * cos(latitude)
    azimuth = np.degrees(np.arctan2(sin(angle), south)) + 180.0
    return Sun(cos_zenith, azimuth % 360.0, SOLAR_CONSTANT_W_M2 * (1.0 + 0.033 * cos(g)))


def clear_sky_w_m2(cos_zenith: FloatArray) -> FloatArray:
    """Global horizontal irradiance without clouds (Haurwitz 1945): 1098 cos z exp(-0.057 / cos z)."""
    up = np.maximum(cos_zenith, 1e-3)
    return np.where(cos_zenith > 1e-3, 1098.0 * up * np.exp(-0.057 / up), 0.0)


def cloud_transmission(cover: FloatArray) -> FloatArray:
    """Share of the clear sky's irradiance under a cloud cover of 0 to 1 (Kasten and Czeplak 1980): 1 - 0.75 N^3.4."""
    return np.asarray(1.0 - 0.75 * np.clip(cover, 0.0, 1.0) ** 3.4)


def diffuse_share(horizontal_w_m2: FloatArray, sky: Sun) -> FloatArray:
    """Diffuse over global irradiance from the clearness index (Erbs, Klein and Duffie 1982)."""
    outside = np.maximum(sky.extraterrestrial_w_m2 * sky.cos_zenith, 1.0)
    k = np.clip(horizontal_w_m2 / outside, 0.0, 1.0)
    cloudy = 1.0 - 0.09 * k
    mixed = 0.9511 - 0.1604 * k + 4.388 * k**2 - 16.638 * k**3 + 12.336 * k**4
    return np.where(k <= 0.22, cloudy, np.where(k <= 0.8, mixed, 0.165))


def tilted_w_m2(horizontal_w_m2: FloatArray, sky: Sun, tilt_deg: float, azimuth_deg: float) -> FloatArray:
    """Irradiance on a plane under an isotropic sky (Liu and Jordan 1963); none with the sun below 3 degrees."""
    tilt = np.radians(tilt_deg)
    sin_zenith = np.sqrt(np.maximum(1.0 - sky.cos_zenith**2, 0.0))
    cos_incidence = sky.cos_zenith * np.cos(tilt) + sin_zenith * np.sin(tilt) * np.cos(
        np.radians(sky.azimuth_deg - azimuth_deg)
    )
    diffuse = horizontal_w_m2 * diffuse_share(horizontal_w_m2, sky)
    beam = (horizontal_w_m2 - diffuse) / np.maximum(sky.cos_zenith, 0.05) * np.maximum(cos_incidence, 0.0)
    sky_part = diffuse * (1.0 + np.cos(tilt)) / 2.0
    ground = ALBEDO * horizontal_w_m2 * (1.0 - np.cos(tilt)) / 2.0
    return np.asarray(np.where(sky.cos_zenith > 0.05, beam, 0.0) + sky_part + ground)


def pv_power_w(kwp: float, plane_w_m2: FloatArray, drybulb_c: FloatArray) -> FloatArray:
    """AC power of modules rated ``kwp`` at 1000 W/m2 and 25 C cells; the inverter is sized for the modules."""
    cell_c = drybulb_c + NOCT_RISE_K_M2_W * plane_w_m2
    dc_w = kwp * plane_w_m2 * (1.0 + POWER_PER_K * (cell_c - 25.0)) * (1.0 - SYSTEM_LOSS)
    return np.clip(dc_w * INVERTER_EFFICIENCY, 0.0, kwp * 1e3)
