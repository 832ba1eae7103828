"""What surrounds a case: weather, grid and price over its hours, moved as the case asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import numpy as np

from facility.records import FloatArray
from facility.site import Place
from twin.air import Weather, saturation_pressure_pa
from twin.scenarios.case import Case
from twin.signals import Signals, pressure_pa
from twin.signals.zones import find_zone
from twin.solar import Irradiance

_TABLE_C = np.arange(-80.0, 70.0, 0.01)
_TABLE_LOG_PA = np.log(saturation_pressure_pa(_TABLE_C))


@dataclass(frozen=True)
class Surroundings:
    """Arrays of shape (T,) over the steps from ``start``; instants of the weather are those at the start of a step."""

    start: datetime
    step_s: float
    weather: Weather
    dewpoint_c: FloatArray
    intensity_g_kwh: FloatArray
    price_usd_mwh: FloatArray | None
    latitude_deg: float
    longitude_deg: float
    timezone: str
    signals: Signals
    irradiance: Irradiance | None

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.intensity_g_kwh)

    @cached_property
    def times(self) -> list[datetime]:
        """Start of each step, UTC."""
        return [self.start + timedelta(seconds=self.step_s * index) for index in range(self.steps)]

    @cached_property
    def local_hour(self) -> FloatArray:
        """Local time of day at the middle of each step, hours."""
        half, clock = timedelta(seconds=self.step_s / 2.0), ZoneInfo(self.timezone)
        local = [(when + half).astimezone(clock) for when in self.times]
        return np.array([one.hour + one.minute / 60.0 + one.second / 3600.0 for one in local])


@dataclass(frozen=True, slots=True)
class World:
    """Signals of one place, and its sun where that is known."""

    signals: Signals
    place: Place
    irradiance: Irradiance | None = None


def surroundings(world: World, case: Case, start: datetime, days: int, step_s: float) -> Surroundings:
    """The hours of a case; raises DataError where a signal does not cover them."""
    end = start + timedelta(days=days)
    signals = world.signals
    weather, dewpoint_c = _weather(signals, case, start, end, step_s)
    latitude, longitude, timezone = _position(world)
    return Surroundings(
        start=start,
        step_s=step_s,
        weather=weather,
        dewpoint_c=dewpoint_c,
        intensity_g_kwh=signals.carbon.window(start, end, step_s),
        price_usd_mwh=None if signals.price is None else signals.price.window(start, end, step_s),
        latitude_deg=latitude,
        longitude_deg=longitude,
        timezone=timezone,
        signals=signals,
        irradiance=world.irradiance,
    )


def dew_point_c(drybulb_c: FloatArray, rh_pct: FloatArray) -> FloatArray:
    """Dew point over water or ice, by inverting the saturation pressure (ASHRAE Fundamentals 2017, ch. 1)."""
    vapour_pa = np.maximum(rh_pct, 0.1) / 100.0 * saturation_pressure_pa(drybulb_c)
    return np.asarray(np.interp(np.log(vapour_pa), _TABLE_LOG_PA, _TABLE_C))


def _weather(signals: Signals, case: Case, start: datetime, end: datetime, step_s: float) -> tuple[Weather, FloatArray]:
    """Dry bulb and dew point moved apart from each other; air cannot hold more than saturation."""
    dry = signals.drybulb.window(start, end, step_s)
    dew = dew_point_c(dry, signals.rh.window(start, end, step_s))
    dry = dry + case.drybulb_offset_k
    dew = np.minimum(dew + case.dewpoint_offset_k, dry)
    rh_pct = 100.0 * saturation_pressure_pa(dew) / saturation_pressure_pa(dry)
    return Weather.of(dry, np.minimum(rh_pct, 100.0), pressure_pa(signals.altitude_m)), dew


def _position(world: World) -> tuple[float, float, str]:
    """Where the sun is seen from: the site, or the middle of another zone."""
    place, zone = world.place, find_zone(world.signals.carbon.zone)
    if zone is None or zone == find_zone(place.zone):
        return place.latitude_deg, place.longitude_deg, place.timezone
    middle = ((zone.south_deg + zone.north_deg) / 2.0, (zone.west_deg + zone.east_deg) / 2.0)
    return *middle, zone.timezone
