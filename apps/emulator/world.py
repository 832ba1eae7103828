"""Weather and jobs of the emulated building: from ``world.json``, or a simple climate of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from facility.errors import DataError
from facility.records import Job
from scheduler.cluster.codec import job_from_json


class Weather(Protocol):
    """Outdoor air at a time."""

    def at(self, when: datetime) -> tuple[float, float]:
        """Dry bulb in degrees Celsius and relative humidity in percent."""
        ...


@dataclass(frozen=True, slots=True)
class WeatherSeries:
    """A series on a regular grid, linear in between; after its end the last day repeats."""

    start: datetime
    step_s: float
    drybulb_c: Sequence[float]
    rh_pct: Sequence[float]

    def at(self, when: datetime) -> tuple[float, float]:
        """Dry bulb and relative humidity; the first value before the start."""
        place = max((when - self.start).total_seconds() / self.step_s, 0.0)
        last, day = len(self.drybulb_c) - 1, 86_400.0 / self.step_s
        if place > last:
            place = place - math.ceil((place - last) / day) * day if last >= day else float(last)
        left = min(int(place), last)
        right, share = min(left + 1, last), place - left
        return (
            self.drybulb_c[left] + share * (self.drybulb_c[right] - self.drybulb_c[left]),
            self.rh_pct[left] + share * (self.rh_pct[right] - self.rh_pct[left]),
        )


@dataclass(frozen=True, slots=True)
class SyntheticClimate:
    """Mild and dry, like San Jose: a cosine over the year and one over the day. Not a record of any place."""

    mean_c: float = 15.5
    season_k: float = 5.0
    day_k: float = 5.5
    warmest_day: float = 210.0
    warmest_utc_h: float = 23.0

    def at(self, when: datetime) -> tuple[float, float]:
        """Dry bulb and relative humidity at ``when`` (UTC)."""
        hour = when.hour + when.minute / 60.0 + when.second / 3_600.0
        day = when.timetuple().tm_yday + hour / 24.0
        season = math.cos(2.0 * math.pi * (day - self.warmest_day) / 365.25)
        daily = math.cos(2.0 * math.pi * (hour - self.warmest_utc_h) / 24.0)
        drybulb_c = self.mean_c + self.season_k * season + self.day_k * daily
        return drybulb_c, 66.0 - 4.0 * season - 18.0 * daily


@dataclass(frozen=True, slots=True)
class World:
    """What happens to the building."""

    weather: Weather
    jobs: tuple[Job, ...]  # in order of submission


def read_world(data: Any, more_jobs: Sequence[Any] = ()) -> World:
    """``world.json`` (None: absent) and further jobs as JSON; raises DataError where a part cannot be read."""
    weather: Weather = SyntheticClimate()
    items = list(more_jobs)
    if data is not None:
        weather = _series(data) if data.get("drybulb_c") else weather
        items = [*data.get("jobs", ()), *items]
    jobs = sorted((job_from_json(item) for item in items), key=lambda job: (job.submitted_at, job.name))
    return World(weather, tuple(jobs))


def _series(data: Any) -> WeatherSeries:
    try:
        start = datetime.fromisoformat(data["start"])
        drybulb, rh = [float(v) for v in data["drybulb_c"]], [float(v) for v in data["rh_pct"]]
        step_s = float(data.get("step_s", 3_600.0))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"not a weather series: {error}", where="world.json") from error
    if len(drybulb) != len(rh) or start.utcoffset() != timedelta(0) or not all(map(math.isfinite, drybulb + rh)):
        raise DataError(
            "the weather needs as many humidities as temperatures, all finite, and a start in UTC", where="world.json"
        )
    return WeatherSeries(start, step_s, drybulb, rh)
