"""What stands between the plant and whoever reads or steers it: sensors, valves, ramps and PI loops."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass


@dataclass(slots=True)
class Sensor:
    """First-order lag, Gaussian noise and the resolution of the converter; ``value`` is what the device reports."""

    tau_s: float
    noise: float  # standard deviation, in the quantity's unit
    resolution: float
    lagged: float = math.nan
    value: float = math.nan

    def update(self, true: float, dt_s: float, rng: random.Random) -> None:
        """Take in the true value over ``dt_s``; the first call starts without lag."""
        if math.isnan(self.lagged):
            self.lagged = true
        self.lagged += (true - self.lagged) * (1.0 - math.exp(-dt_s / self.tau_s))
        self.value = round((self.lagged + rng.gauss(0.0, self.noise)) / self.resolution) * self.resolution


@dataclass(slots=True)
class Ramp:
    """A setpoint in force: follows its target no faster than ``rate_s``, so that a hand-over makes no bump."""

    rate_s: float  # units a second
    value: float

    def follow(self, target: float, dt_s: float) -> float:
        """Move towards ``target`` and return where it is."""
        limit = self.rate_s * dt_s
        self.value += min(max(target - self.value, -limit), limit)
        return self.value


@dataclass(slots=True)
class Valve:
    """A motor valve: it ignores small moves (stiction), then travels at its own speed. Positions are 0..1."""

    position: float
    dead_band: float = 0.012
    travel_s: float = 90.0  # from shut to open
    moving: bool = False

    def drive(self, wanted: float, dt_s: float) -> float:
        """Move towards ``wanted``; returns the position."""
        error = wanted - self.position
        if not self.moving and abs(error) < self.dead_band:
            return self.position
        limit = dt_s / self.travel_s
        self.position += min(max(error, -limit), limit)
        self.moving = abs(wanted - self.position) > 0.002
        return self.position


@dataclass(slots=True)
class PiLoop:
    """A local PI controller with output 0..1; the integral stops at the limits (no wind-up)."""

    gain: float  # output for each unit of error
    reset_s: float
    output: float
    integral: float = math.nan

    def update(self, error: float, dt_s: float, low: float = 0.0, high: float = 1.0) -> float:
        """Advance by ``dt_s``; a positive error asks for more output."""
        if math.isnan(self.integral):
            self.integral = self.output
        self.integral = min(max(self.integral + self.gain * error * dt_s / self.reset_s, low), high)
        self.output = min(max(self.integral + self.gain * error, low), high)
        return self.output
