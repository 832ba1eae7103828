"""A signal on a regular UTC grid, and what of it was public at a given moment."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray

CARBON = "carbon_intensity_g_kwh"
DRYBULB = "drybulb_c"
RH = "rh_pct"
WETBULB = "wetbulb_c"
PRICE = "price_usd_mwh"
CLOUD_COVER = "cloud_cover_pct"
IRRADIANCE = "global_horizontal_w_m2"

DAY_AHEAD_PUBLIC_HOUR = 13  # local, on day D-1: the prices of local day D are out (SDAC and CAISO practice)


@dataclass(frozen=True, slots=True)
class Gap:
    """A run of ``missing`` values from ``start`` on that the source did not have and that interpolation filled."""

    start: datetime
    missing: int


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Values on a regular grid: value i belongs to [start + i step, start + (i+1) step).

    Where ``instant`` is set, value i was observed at the stamp itself and is interpolated linearly between stamps
    (weather); otherwise it is held over its step (carbon, price). A value stamped t is public from t +
    ``known_lag_s`` on; with ``day_ahead_tz`` set, the values of local day D are public at 13:00 local on day D-1
    instead. The array is read-only.
    """

    quantity: str
    unit: str
    zone: str
    start: datetime
    step_s: float
    value: FloatArray
    known_lag_s: float
    source: str
    synthetic: bool = False
    instant: bool = False
    day_ahead_tz: str = ""
    kind: str = ""  # carbon: direct or lifecycle
    estimated: int = 0  # rows that the source says it estimated
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise ValueError("the start of a series is an aware UTC time")
        if self.value.flags.writeable:  # a caller's own array stays writable; caches rely on ours never changing
            frozen = self.value.astype(np.float64, copy=True)
            frozen.setflags(write=False)
            object.__setattr__(self, "value", frozen)

    @property
    def end(self) -> datetime:
        """The end of the last value's step: the series covers [start, end)."""
        return self.start + timedelta(seconds=self.step_s * len(self.value))

    def at(self, when: datetime) -> float:
        """The true value at ``when``; raises DataError outside the span covered."""
        position = (when - self.start).total_seconds() / self.step_s
        self._require(when, when)
        return float(self._take(np.array([position]))[0])

    def window(self, start: datetime, end: datetime, step_s: float) -> FloatArray:
        """The true values over [start, end) in steps of ``step_s``, shape [n].

        Held signals give the time-weighted mean of each step, instants the linear interpolation at the beginning of
        each step. Raises DataError where the span is not covered.
        """
        count = round((end - start).total_seconds() / step_s)
        self._require(start, end)
        first = (start - self.start).total_seconds() / self.step_s
        edges: FloatArray = first + np.arange(count + 1, dtype=np.float64) * (step_s / self.step_s)
        ratio = self.step_s / step_s
        nested = float(ratio).is_integer() and float(first * ratio).is_integer()
        if self.instant or nested:
            return self._take(edges[:-1])
        integral = np.concatenate([[0.0], np.cumsum(self.value)])
        mean: FloatArray = np.diff(np.interp(edges, np.arange(len(integral)), integral)) / (step_s / self.step_s)
        return mean

    def published(self, at: datetime) -> datetime:
        """The moment up to which the series is public at ``at``: every value stamped before it, and none from it on."""
        return self.start + timedelta(seconds=self.step_s * self.known_count(at))

    def known_count(self, at: datetime) -> int:
        """How many values, from the first on, are public at ``at``."""
        if self.day_ahead_tz:
            ends = _day_ahead_end(at, self.day_ahead_tz)
            count = math.ceil((ends - self.start).total_seconds() / self.step_s)
        else:
            count = math.floor(((at - self.start).total_seconds() - self.known_lag_s) / self.step_s) + 1
        return max(0, min(len(self.value), count))

    def known_at(self, now: datetime) -> Series:
        """A truncated copy that holds nothing that was not public at ``now``; possibly empty."""
        return replace(self, value=self.value[: self.known_count(now)])

    def _require(self, start: datetime, end: datetime) -> None:
        if start >= self.start and (end < self.end or (end == self.end and end > start)):
            return
        raise DataError(
            f"no {self.quantity} for {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC",
            where=self.source,
            hint=f"it covers {self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC; give more files",
        )

    def _take(self, position: FloatArray) -> FloatArray:
        """Values at fractional positions on the grid, held or interpolated."""
        low = np.floor(position + 1e-9).astype(np.intp).clip(0, len(self.value) - 1)
        if not self.instant:
            return np.asarray(self.value[low])
        high = np.minimum(low + 1, len(self.value) - 1)
        weight = position - low
        return np.asarray(self.value[low] + weight * (self.value[high] - self.value[low]))


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """What surrounds a site: the grid's carbon intensity, the weather, and the price where it is known."""

    carbon: Series
    drybulb: Series
    rh: Series
    price: Series | None = None
    altitude_m: float = 0.0

    @property
    def series(self) -> tuple[Series, ...]:
        """All that is known: carbon, dry bulb, humidity, and the price where there is one."""
        return tuple(one for one in (self.carbon, self.drybulb, self.rh, self.price) if one is not None)

    @property
    def synthetic(self) -> bool:
        """Whether any part of it was made up rather than measured."""
        return any(one.synthetic for one in self.series)

    @property
    def start(self) -> datetime:
        """The first moment that every signal covers."""
        return max(series.start for series in self.series)

    @property
    def end(self) -> datetime:
        """The end of the span that every signal covers."""
        return min(series.end for series in self.series)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _day_ahead_end(at: datetime, timezone: str) -> datetime:
    """The end (local midnight) of the last local day whose day-ahead prices are public at ``at``."""
    local = at.astimezone(_zone(timezone))
    days = 2 if local.hour >= DAY_AHEAD_PUBLIC_HOUR else 1
    return _midnight(local.date() + timedelta(days=days), timezone)


@lru_cache(maxsize=4096)
def _midnight(day: date, timezone: str) -> datetime:
    return datetime.combine(day, time(), _zone(timezone)).astimezone(UTC)
