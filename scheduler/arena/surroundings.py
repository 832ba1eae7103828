"""What surrounds B halls: intensity, price and weather of every step, and forecasts as they were issued."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.arena.arrays import FloatArray, IntArray
from twin.air import Weather

STEPS_H = 4  # steps of 15 minutes in an hour


@dataclass(frozen=True, slots=True, eq=False)
class ForecastTable:
    """Forecasts of one quantity issued at every full hour of some stretches: value (issues, leads), hourly.

    Lead 0 is the hour of the issue itself. ``first`` (B,) is each hall's issue at its step 0.
    """

    value: NDArray[np.float32]
    first: IntArray

    def at(self, step: int) -> FloatArray:
        """The newest forecast at ``step``, (B, leads): element i is for i hours after the running hour's start."""
        return self.value[self.first + step // STEPS_H].astype(np.float64)

    def rows(self, index: IntArray) -> ForecastTable:
        """Of some halls, repeats allowed; the values are shared."""
        return ForecastTable(self.value, self.first[index])


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """Arrays (T, B), a step a row, as they are read. ``intensity`` and ``price`` are the truth, for accounts."""

    intensity_g_kwh: FloatArray
    weather: Weather  # (T, B)
    hour_utc: FloatArray  # (B,) of step 0, 0..24
    price_usd_mwh: FloatArray | None = None
    carbon: ForecastTable | None = None
    price: ForecastTable | None = None

    @property
    def steps(self) -> int:
        """Steps that are covered."""
        return len(self.intensity_g_kwh)

    def weather_at(self, step: int) -> Weather:
        """Weather of all halls in one step, (B,)."""
        weather = self.weather
        return Weather(weather.drybulb_c[step], weather.wetbulb_c[step], weather.pressure_pa[step])

    def rows(self, index: IntArray) -> Surroundings:
        """Of some halls, repeats allowed."""
        weather = self.weather
        return Surroundings(
            self.intensity_g_kwh[:, index],
            Weather(weather.drybulb_c[:, index], weather.wetbulb_c[:, index], weather.pressure_pa[:, index]),
            self.hour_utc[index],
            None if self.price_usd_mwh is None else self.price_usd_mwh[:, index],
            None if self.carbon is None else self.carbon.rows(index),
            None if self.price is None else self.price.rows(index),
        )
