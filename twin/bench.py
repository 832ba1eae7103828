"""How fast the twin is: many halls in one batch, one hall in steps of 15 s, and whether it slows down."""

from __future__ import annotations

import time

import numpy as np

from facility.site import Hall
from twin.air import STANDARD_PRESSURE_PA, Weather
from twin.hall import HallInputs, HallParams, HallState, PlantAction, step
from twin.part_load import uniform_inputs
from twin.plant import PlantControl, plant_control

REALTIME_STEP_S = 15.0
SLICES = 10  # of the measured time: the last against the first tells whether it slows down
_STEPS_OF_WEATHER = 96  # the benchmark's day, 15 minutes each


def bench(
    hall: Hall, *, batch: int = 2048, seconds: float = 2.0, dt_s: float = 900.0, least_steps: int = 0
) -> dict[str, float]:
    """Steps ``batch`` halls for ``seconds``, and at least ``least_steps`` hall steps, on one core.

    Weather, load and setpoints change at every step and are prepared before the clock starts.
    ``env_steps_per_s`` counts hall steps; ``slower_pct`` is by how much the last tenth of the time was slower than the
    first; ``realtime_factor`` is simulated over elapsed time of one hall alone in steps of 15 s.
    """
    one, _ = _rates(hall, 1, min(seconds, 2.0), REALTIME_STEP_S, 0)
    many, taken = _rates(hall, batch, seconds, dt_s, least_steps)
    return {
        "env_steps_per_s": sum(many) / SLICES * batch,
        "slower_pct": 100.0 * (1.0 - many[-1] / many[0]),
        "hall_steps": float(taken * batch),
        "batch": float(batch),
        "dt_s": dt_s,
        "realtime_factor": sum(one) / SLICES * REALTIME_STEP_S,
        "realtime_dt_s": REALTIME_STEP_S,
        "racks": float(hall.racks),
        "threads": 1.0,
    }


def _rates(hall: Hall, batch: int, seconds: float, dt_s: float, least_steps: int) -> tuple[list[float], int]:
    """Steps of the batch a second in each of ``SLICES`` slices of the time, and how many there were in all."""
    params = HallParams.from_site(hall)
    days = _days(params, plant_control("rule", hall), batch)
    state = HallState.initial(params, batch)
    for inputs, action in days:  # warm caches, and let the halls settle
        state, _ = step(params, state, inputs, action, dt_s)
    rates, taken = [], 0
    for _ in range(SLICES):
        steps, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds / SLICES or steps * batch * SLICES < least_steps:
            inputs, action = days[steps % len(days)]
            state, _ = step(params, state, inputs, action, dt_s)
            steps += 1
        rates.append(steps / elapsed)
        taken += steps
    return rates, taken


def _days(params: HallParams, control: PlantControl, batch: int) -> list[tuple[HallInputs, PlantAction]]:
    """A day of inputs for every hall: each its own mean temperature and load."""
    rng = np.random.default_rng(0)
    mean_c, load = rng.uniform(0.0, 25.0, batch), rng.uniform(0.1, 1.0, batch)
    days = []
    for index in range(_STEPS_OF_WEATHER):
        wet = mean_c + 4.0 * np.sin(2.0 * np.pi * index / _STEPS_OF_WEATHER)
        weather = Weather(wet + 4.0, wet, np.full(batch, STANDARD_PRESSURE_PA))
        inputs = uniform_inputs(params, weather, np.clip(load + rng.normal(0.0, 0.05, batch), 0.0, 1.0))
        days.append((inputs, control.action(inputs.rack_it_w.sum(axis=1), weather)))
    return days
