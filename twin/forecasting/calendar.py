"""What the clock on the wall says: local hour, weekday, season and public holidays of a zone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from facility.records import FloatArray
from twin.signals.zones import find_zone

DAYS_YEAR = 365.2425
_MONDAY, _THURSDAY = 0, 3


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """Local time of each hour of a grid, shape [n] each."""

    hour: NDArray[np.int64]  # 0..23, local
    weekday: NDArray[np.int64]  # Monday 0
    is_rest: NDArray[np.bool_]  # Saturday, Sunday or public holiday
    year_angle: FloatArray  # radians since 1 January


@lru_cache(maxsize=8)
def calendar_of(zone: str, start: datetime, hours: int) -> Calendar:
    """The calendar of ``hours`` hours from ``start`` on; a zone that is not listed goes by UTC, without holidays."""
    listed = find_zone(zone)
    clock = ZoneInfo(listed.timezone if listed is not None else "UTC")
    holidays = _HOLIDAYS.get(_country(zone), _none)
    local = [(start + timedelta(hours=hour)).astimezone(clock) for hour in range(hours)]
    weekday = np.array([when.weekday() for when in local])
    is_off = np.array([when.date() in holidays(when.year) for when in local])
    return Calendar(
        hour=np.array([when.hour for when in local]),
        weekday=weekday,
        is_rest=(weekday >= 5) | is_off,
        year_angle=np.array([when.timetuple().tm_yday for when in local]) * (2.0 * np.pi / DAYS_YEAR),
    )


def _country(zone: str) -> str:
    listed = find_zone(zone)
    return (listed.name if listed is not None else zone).split("-")[0]


def _none(year: int) -> frozenset[date]:
    return frozenset()


@lru_cache(maxsize=32)
def german_holidays(year: int) -> frozenset[date]:
    """The nine days that are public holidays in every German state."""
    easter = easter_sunday(year)
    moving = {easter + timedelta(days=days) for days in (-2, 1, 39, 50)}  # Good Friday .. Whit Monday
    return frozenset(moving | {date(year, m, d) for m, d in ((1, 1), (5, 1), (10, 3), (12, 25), (12, 26))})


@lru_cache(maxsize=32)
def us_holidays(year: int) -> frozenset[date]:
    """The six days that NERC counts as off-peak; one that falls on a Sunday is kept on Monday."""
    fixed = [date(year, m, d) for m, d in ((1, 1), (7, 4), (12, 25))]
    kept = {day + timedelta(days=1) if day.weekday() == 6 else day for day in fixed}
    memorial = date(year, 5, 31)
    memorial -= timedelta(days=(memorial.weekday() - _MONDAY) % 7)
    return frozenset(kept | {memorial, _nth(year, 9, _MONDAY, 1), _nth(year, 11, _THURSDAY, 4)})


def easter_sunday(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (Meeus, Astronomical Algorithms, chapter 8)."""
    golden, (century, rest) = year % 19, divmod(year, 100)
    leap, quarter = divmod(century, 4)
    shift = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + century - leap - shift + 15) % 30
    leaps, years = divmod(rest, 4)
    weekday = (32 + 2 * quarter + 2 * leaps - epact - years) % 7
    late = (golden + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * late + 114, 31)
    return date(year, month, day + 1)


def _nth(year: int, month: int, weekday: int, number: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (number - 1))


_HOLIDAYS: dict[str, Callable[[int], frozenset[date]]] = {"DE": german_holidays, "US": us_holidays}
