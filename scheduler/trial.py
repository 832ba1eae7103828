"""Halls through real weeks: signals on a grid of 15 minutes, a random load, and a batch of halls under one control.

Numpy alone: the training environment and the score of a trained policy both stand on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from facility.errors import DataError
from facility.records import FloatArray
from facility.site import Hall
from scheduler.carl import RESIDUALS, Seen, corrected, observation
from twin.air import Weather
from twin.hall import HallFlows, HallInputs, HallParams, HallState, PlantAction, steady, step
from twin.part_load import uniform_inputs
from twin.plant import PlantControl, ramped
from twin.signals import Series, Signals, pressure_pa

STEP_S = 900.0
STEPS_WEEK = 672
HISTORY = timedelta(days=7)  # of public carbon behind every observation
TRAIN_SHARE = 2.0 / 3.0  # the first two of three years; everything after is unseen
Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """What surrounds a hall in each step of the signals, arrays (T,); ``intensity_g_kwh`` is for accounts alone."""

    start: datetime
    weather: Weather
    hour_utc: FloatArray
    intensity_g_kwh: FloatArray
    public_g_kwh: FloatArray  # newest intensity that is public at the step's start
    public_mean_g_kwh: FloatArray  # mean of the public week before it

    @classmethod
    def of(cls, signals: Signals) -> World:
        """All that carbon and weather cover together, from a week after their start.

        Raises DataError where that is less than four weeks, two to learn from and two to be judged on.
        """
        series = (signals.carbon, signals.drybulb, signals.rh)
        first, end = max(one.start for one in series), min(one.end for one in series)
        start = first + HISTORY
        steps = int((end - start).total_seconds() // STEP_S)
        if steps < 4 * STEPS_WEEK:
            raise DataError(
                f"carbon and weather have {max(0.0, (end - first).total_seconds()) / 86400.0:.0f} days in common",
                where=", ".join(sorted({one.source for one in series})),
                hint="training needs 35 days or more; a year at least to have seen every season",
            )
        end = start + timedelta(seconds=steps * STEP_S)
        drybulb, rh = (one.window(start, end, STEP_S) for one in (signals.drybulb, signals.rh))
        seconds = start.hour * 3600 + start.minute * 60 + STEP_S * np.arange(steps)
        return cls(
            start=start,
            weather=Weather.of(drybulb, rh, pressure_pa(signals.altitude_m)),
            hour_utc=np.asarray(seconds / 3600.0 % 24.0, dtype=np.float64),
            intensity_g_kwh=signals.carbon.window(start, end, STEP_S),
            **_public(signals.carbon, start, steps),
        )

    @property
    def split(self) -> int:
        """The first step that training never sees."""
        return int(len(self.hour_utc) * TRAIN_SHARE)

    def when(self, index: int) -> datetime:
        """The start of a step."""
        return self.start + timedelta(seconds=STEP_S * index)

    def training_starts(self, count: int, rng: np.random.Generator) -> Index:
        """First steps of ``count`` random weeks that end before the split."""
        return rng.integers(0, self.split - STEPS_WEEK + 1, count)

    def unseen_weeks(self, most: int = 52) -> Index:
        """First steps of the whole weeks after the split, at most so many, evenly spread."""
        weeks = np.arange(self.split, len(self.hour_utc) - STEPS_WEEK + 1, STEPS_WEEK, dtype=np.intp)
        chosen = np.unique(np.linspace(0, len(weeks) - 1, min(most, len(weeks))).round().astype(np.intp))
        return weeks[chosen]


def _public(carbon: Series, start: datetime, steps: int) -> dict[str, FloatArray]:
    counts = np.array([carbon.known_count(start + timedelta(seconds=STEP_S * i)) for i in range(steps)])
    past = np.maximum(0, counts - round(HISTORY.total_seconds() / carbon.step_s))
    total = np.concatenate([[0.0], np.cumsum(carbon.value)])
    mean = (total[counts] - total[past]) / (counts - past)
    return {"public_g_kwh": carbon.value[counts - 1], "public_mean_g_kwh": mean}


def utilisations(count: int, rng: np.random.Generator, steps: int = STEPS_WEEK) -> FloatArray:
    """Share of busy GPUs (count, steps): a level, a daily swing, and a random walk that returns within hours.

    Assumed: levels 20-90 %, swings up to 15 %, a walk of 10 % standard deviation that forgets in 6 hours.
    """
    level, swing = rng.uniform(0.2, 0.9, (count, 1)), rng.uniform(0.0, 0.15, (count, 1))
    phase = rng.uniform(0.0, 2.0 * np.pi, (count, 1))
    daily = swing * np.sin(2.0 * np.pi * np.arange(steps) * STEP_S / 86400.0 + phase)
    keep = np.exp(-STEP_S / (6.0 * 3600.0))
    kicks = 0.1 * np.sqrt(1.0 - keep**2) * rng.standard_normal((count, steps))
    walk, last = np.empty((count, steps)), 0.1 * rng.standard_normal(count)
    for index in range(steps):
        last = keep * last + kicks[:, index]
        walk[:, index] = last
    return np.clip(level + daily + walk, 0.05, 1.0)


class Halls:
    """B halls under one plant control with residuals; every hall has its own week and load."""

    def __init__(self, hall: Hall, world: World, control: PlantControl) -> None:
        """``control`` is what the residuals are added to."""
        self.params = HallParams.from_site(hall)
        self.world = world
        self.rated_w = float(self.params.node.rated_dc_w) * hall.nodes
        self._control = control

    def start(self, first: Index, utilisation: FloatArray) -> None:
        """Put the halls at steps ``first`` (B,) with loads (B, T), in the steady state of the base control."""
        self._first, self._utilisation, self.taken = first, utilisation, 0
        self._last = np.zeros((len(first), len(RESIDUALS)))
        inputs = self._inputs()
        self._load_w = inputs.rack_it_w.sum(axis=1)
        self._plant: PlantAction = self._control.action(self._load_w, inputs.weather)
        self._state: HallState
        self._state, flows = steady(self.params, inputs, self._plant)
        self._load_w = flows.it_w

    @property
    def at(self) -> Index:
        """The current step of each hall in the world."""
        return self._first + self.taken

    def observe(self) -> NDArray[np.float32]:
        """What the agent sees now, (B, 10)."""
        world, at = self.world, self.at
        return observation(
            Seen(
                load_share=self._load_w / self.rated_w,
                wetbulb_c=world.weather.wetbulb_c[at],
                drybulb_c=world.weather.drybulb_c[at],
                hour_utc=world.hour_utc[at],
                carbon_ratio=world.public_g_kwh[at] / world.public_mean_g_kwh[at],
                max_inlet_c=self._state.inlet_c.max(axis=1),
                last=self._last,
            )
        )

    def step(self, action: FloatArray) -> HallFlows:
        """15 minutes with the residuals (B, 3); the plant answers to the last IT load and keeps to its ramps."""
        inputs = self._inputs()
        wanted = corrected(self.params, self._control.action(self._load_w, inputs.weather), action)
        self._plant = ramped(self._plant, wanted, STEP_S)
        self._state, flows = step(self.params, self._state, inputs, self._plant, STEP_S)
        self._last, self._load_w = np.clip(action, -1.0, 1.0), flows.it_w
        self.taken += 1
        return flows

    def carbon_kg(self, flows: HallFlows) -> FloatArray:
        """Emissions of the step just taken, (B,)."""
        return flows.facility_w * STEP_S / 3.6e6 * self.world.intensity_g_kwh[self.at - 1] / 1e3

    def _inputs(self) -> HallInputs:
        weather = self.world.weather
        at = self.at
        now = Weather(weather.drybulb_c[at], weather.wetbulb_c[at], weather.pressure_pa[at])
        return uniform_inputs(self.params, now, self._utilisation[:, self.taken])
