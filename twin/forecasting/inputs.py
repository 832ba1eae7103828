"""What a forecast may look at, and how far each of it reaches at a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from facility.errors import DataError
from facility.records import FloatArray
from twin.forecasting.calendar import Calendar, calendar_of
from twin.forecasting.kinds import CarbonKind, kind_of
from twin.forecasting.weather_ahead import WeatherAhead
from twin.signals.series import Series

HOUR_S = 3600.0
LEADS_H = 96
LATEST_H = 48  # carbon older than this is no base of a forecast
SPARE_H = LEADS_H + LATEST_H + 48  # hours of calendar beyond the last value
LEAST_G_KWH = 1.0  # logarithms are taken; an hour without any emission counts as this


@dataclass(frozen=True, eq=False)
class Inputs:
    """Carbon, and whatever else is given: hourly, on the grid of the carbon series.

    ``lagged`` series (observed weather, shares of the mix) are used up to the hour at which the newest known carbon
    ends, never beyond; ``price`` as far as it is published; ``ahead`` is weather forecast, each with its time of issue.
    """

    carbon: Series
    price: Series | None = None
    lagged: tuple[Series, ...] = ()
    ahead: WeatherAhead | None = None

    def __post_init__(self) -> None:
        for series in (self.carbon, *self.lagged, *([self.price] if self.price else [])):
            if series.step_s != HOUR_S or (series.start - self.carbon.start).total_seconds() % HOUR_S:
                raise DataError(
                    f"{series.quantity} in steps of {series.step_s / 60:g} min from {series.start:%H:%M}",
                    where=series.source,
                    hint="the learned forecast takes full hours; resample the series",
                )
            if series.known_lag_s < 0 and not series.day_ahead_tz:
                raise DataError(
                    f"{series.quantity} is public before its hour, and no market clock says when",
                    where=series.source,
                    hint="weather forecasts are given with their times of issue",
                )

    @property
    def kind(self) -> CarbonKind:
        """Which of the four carbon quantities this is."""
        return kind_of(self.carbon)

    @property
    def names(self) -> tuple[str, ...]:
        """What is given, in order: a model fits inputs of the same names only."""
        price = ("price",) if self.price is not None else ()
        ahead = tuple(f"{name} ahead" for name in self.ahead.names) if self.ahead is not None else ()
        return ("carbon", *price, *(series.quantity for series in self.lagged), *ahead)

    @cached_property
    def hours(self) -> int:
        """Hours of carbon that the series holds, known yet or not."""
        return len(self.carbon.value)

    @cached_property
    def log_carbon(self) -> FloatArray:
        """Natural logarithm of g/kWh, shape [hours]."""
        return np.log(np.maximum(self.carbon.value, LEAST_G_KWH))

    @cached_property
    def calendar(self) -> Calendar:
        """Local time of every hour, and of those beyond that a forecast can reach."""
        return calendar_of(self.carbon.zone, self.carbon.start, self.hours + SPARE_H)

    @cached_property
    def prices(self) -> FloatArray:
        """USD/MWh on the carbon grid, NaN where none, shape [hours + SPARE_H]."""
        return self._aligned(self.price) if self.price is not None else np.full(self.hours + SPARE_H, np.nan)

    @cached_property
    def others(self) -> tuple[FloatArray, ...]:
        """The lagged series on the carbon grid, NaN where none."""
        return tuple(self._aligned(series) for series in self.lagged)

    def known(self, series: Series, now: datetime) -> int:
        """Up to which hour of the carbon grid ``series`` is public at ``now``: an index, that hour excluded."""
        return series.known_count(now) + self._offset_h(series)

    def origin(self, now: datetime) -> int:
        """The first hour of carbon that is not public at ``now``."""
        return self.carbon.known_count(now)

    def until(self, now: datetime) -> Inputs:
        """The same, without anything that was not public at ``now``."""
        return Inputs(
            self.carbon.known_at(now),
            self.price.known_at(now) if self.price is not None else None,
            tuple(series.known_at(now) for series in self.lagged),
            self.ahead.known_at(now) if self.ahead is not None else None,
        )

    def only(self, names: Sequence[str]) -> Inputs:
        """The inputs of these ``names`` alone; raises DataError where one is not at hand."""
        absent = [name for name in names if name not in self.names]
        if absent:
            raise DataError(
                f"{', '.join(absent)}: not among {', '.join(self.names)}",
                where=self.carbon.source,
                hint="give the same signals as at the fit, or fit again with those at hand",
            )
        return Inputs(
            self.carbon,
            self.price if "price" in names else None,
            tuple(series for series in self.lagged if series.quantity in names),
            self.ahead if self.ahead is not None and f"{self.ahead.names[0]} ahead" in names else None,
        )

    def _offset_h(self, series: Series) -> int:
        return round((series.start - self.carbon.start).total_seconds() / HOUR_S)

    def _aligned(self, series: Series) -> FloatArray:
        grid = np.full(self.hours + SPARE_H, np.nan)
        offset = self._offset_h(series)
        first, last = max(offset, 0), min(offset + len(series.value), len(grid))
        if last > first:
            grid[first:last] = series.value[first - offset : last - offset]
        return grid


@dataclass(frozen=True, slots=True, eq=False)
class Issues:
    """Moments at which forecasts are issued, and what was public then, as indices on the carbon grid, shape [n]."""

    at: tuple[datetime, ...]
    origin: NDArray[np.int64]  # first hour of carbon not known
    priced: NDArray[np.int64]  # first hour without a known price
    lagged: NDArray[np.int64]  # first hour not known of every lagged series, or later than the origin

    def __len__(self) -> int:
        return len(self.at)

    def pick(self, chosen: NDArray[np.bool_]) -> Issues:
        """Those that are ``chosen``."""
        at = tuple(when for when, keep in zip(self.at, chosen, strict=True) if keep)
        return replace(self, at=at, origin=self.origin[chosen], priced=self.priced[chosen], lagged=self.lagged[chosen])


def issues_at(inputs: Inputs, moments: Sequence[datetime]) -> Issues:
    """What is public at each of ``moments``."""
    origin = np.array([inputs.origin(now) for now in moments], np.int64)
    price = inputs.price
    priced = origin if price is None else np.array([inputs.known(price, now) for now in moments], np.int64)
    lagged = origin
    for series in inputs.lagged:
        lagged = np.minimum(lagged, [inputs.known(series, now) for now in moments])
    return Issues(tuple(moments), origin, priced, lagged)
