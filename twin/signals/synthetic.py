"""A made-up grid and climate where the user gives none: smooth shapes, seeded noise, and the word synthetic in every
source.

Carbon is base - sun(t) + evening ramp + weekday + slow wind; weather is a yearly and a daily sine with slow noise;
price follows carbon. The parameters are round numbers chosen to resemble 2021-23 of the two zones and claim no more
than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray
from twin.signals.grid import Grid
from twin.signals.price import LEAST_LEAD_S
from twin.signals.record import WeatherRecord, make_record
from twin.signals.series import CARBON, DRYBULB, PRICE, RH, Series, Signals
from twin.signals.zones import Zone, find_zone

STEP_S = 3600.0
HOURS_YEAR = 8766.0


@dataclass(frozen=True, slots=True)
class _Shape:
    """A grid and climate in a dozen round numbers."""

    base_g_kwh: float
    sun_g_kwh: float  # depth of the midday dip in midsummer
    evening_g_kwh: float
    weekend_g_kwh: float
    wind_g_kwh: float  # standard deviation of the slow part
    wind_hours: float  # its correlation time
    mean_c: float
    year_c: float  # half the swing of the year
    day_c: float  # half the swing of the day
    weather_c: float  # standard deviation of the slow part
    rh_pct: float
    price_usd_mwh: float
    latitude_deg: float
    longitude_deg: float
    altitude_m: float


SHAPES = {
    "US-CAL-CISO": _Shape(300, 140, 25, 10, 18, 36, 15.5, 6.0, 6.5, 2.2, 68, 70, 37.3, -121.9, 25),
    "DE": _Shape(450, 130, 25, 45, 95, 40, 10.5, 9.0, 4.5, 3.5, 72, 95, 50.1, 8.6, 112),
}


def synthetic_carbon(zone_like: str, start: datetime, days: float, seed: int) -> Series:
    """Hourly intensity shaped like US-CAL-CISO or DE; the same seed gives the same values. gCO2eq/kWh."""
    zone, shape = _like(zone_like)
    hours = _hours(start, days)
    rng = np.random.default_rng([seed, 1])
    solar = (hours - zone.solar_noon_utc_h + 12.0) % 24.0
    season = 0.65 + 0.35 * _year_cosine(hours, warmest_day=172.0)
    sun = np.clip(np.cos((solar - 12.0) / 24.0 * 2.0 * np.pi), 0.0, None) ** 0.8 * season
    evening = np.exp(-(((solar - 19.5) / 2.0) ** 2))
    weekend = (np.floor(hours / 24.0) + 3.0) % 7.0 >= 5.0  # 1970-01-01 was a Thursday
    wind = shape.wind_g_kwh * _slow_noise(rng, len(hours), shape.wind_hours)
    value = (
        shape.base_g_kwh - shape.sun_g_kwh * sun + shape.evening_g_kwh * evening - shape.weekend_g_kwh * weekend + wind
    )
    return Series(
        quantity=CARBON,
        unit="gCO2eq/kWh",
        zone=zone.name,
        start=start,
        step_s=STEP_S,
        value=np.maximum(value, 20.0),
        known_lag_s=STEP_S,
        source=f"synthetic grid like {zone.name}, seed {seed}",
        synthetic=True,
        kind="lifecycle",
    )


def synthetic_weather(zone_like: str, start: datetime, days: float, seed: int) -> WeatherRecord:
    """Hourly dry bulb and humidity shaped like San Jose (US-CAL-CISO) or Frankfurt (DE)."""
    zone, shape = _like(zone_like)
    hours = _hours(start, days)
    rng = np.random.default_rng([seed, 2])
    solar = (hours + shape.longitude_deg / 15.0) % 24.0
    daily = np.cos((solar - 14.5) / 24.0 * 2.0 * np.pi)
    slow = _slow_noise(rng, len(hours), 48.0)
    season = _year_cosine(hours, warmest_day=205.0)
    drybulb = shape.mean_c + shape.year_c * season + shape.day_c * daily + shape.weather_c * slow
    rh = np.clip(shape.rh_pct - 18.0 * daily - 6.0 * season + 6.0 * _slow_noise(rng, len(hours), 24.0), 15.0, 100.0)
    grid = Grid(start, STEP_S, {DRYBULB: drybulb, RH: rh}, ())
    place = (shape.latitude_deg, shape.longitude_deg, shape.altitude_m)
    return make_record(grid, f"synthetic climate like {zone.name}, seed {seed}", place, zone.name, synthetic=True)


def synthetic_prices(zone_like: str, start: datetime, days: float, seed: int) -> Series:
    """Hourly day-ahead prices that follow the synthetic intensity of the same seed. USD/MWh."""
    zone, shape = _like(zone_like)
    carbon = synthetic_carbon(zone_like, start, days, seed)
    noise = _slow_noise(np.random.default_rng([seed, 3]), len(carbon.value), 12.0)
    value = shape.price_usd_mwh * (1.0 + 1.6 * (carbon.value / shape.base_g_kwh - 0.85)) + 8.0 * noise
    return Series(
        quantity=PRICE,
        unit="USD/MWh",
        zone=zone.name,
        start=start,
        step_s=STEP_S,
        value=value,
        known_lag_s=-LEAST_LEAD_S,
        source=f"synthetic prices like {zone.name}, seed {seed}",
        synthetic=True,
        day_ahead_tz=zone.timezone,
    )


def synthetic_signals(zone_like: str, start: datetime, days: float, seed: int = 0) -> Signals:
    """Carbon, weather and price of a made-up site over ``days`` from ``start``."""
    weather = synthetic_weather(zone_like, start, days, seed)
    return Signals(
        synthetic_carbon(zone_like, start, days, seed),
        weather.drybulb,
        weather.rh,
        synthetic_prices(zone_like, start, days, seed),
        weather.altitude_m,
    )


def _like(zone_like: str) -> tuple[Zone, _Shape]:
    zone = find_zone(zone_like)
    if zone is None or zone.name not in SHAPES:
        raise DataError(
            f"no synthetic grid like {zone_like!r}",
            where="synthetic signals",
            hint=f"choose one of {', '.join(SHAPES)}",
        )
    return zone, SHAPES[zone.name]


def _hours(start: datetime, days: float) -> FloatArray:
    """Hours since 1970 of each step."""
    return start.timestamp() / 3600.0 + np.arange(round(days * 24.0), dtype=np.float64)


def _year_cosine(hours: FloatArray, warmest_day: float) -> FloatArray:
    return np.cos((hours - warmest_day * 24.0) / HOURS_YEAR * 2.0 * np.pi)


def _slow_noise(rng: np.random.Generator, count: int, correlation_h: float) -> FloatArray:
    """First-order autoregressive noise of unit variance, shape [count]."""
    keep = float(np.exp(-1.0 / correlation_h))
    kicks = rng.standard_normal(count) * np.sqrt(1.0 - keep**2)
    value = np.empty(count)
    last = float(rng.standard_normal())
    for index in range(count):
        last = keep * last + kicks[index]
        value[index] = last
    return value
