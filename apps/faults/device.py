"""An air handler that exists in memory: setpoints with a time-out, readings that can go wrong, and a witness of writes.

The witness judges each write by what this device itself delivered and bears; it shares no code with the guard.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from apps.emulator.remote import ACTIVE, ENABLE, HEARTBEAT, TIMEOUT, RemoteControl
from facility.clock import Clock
from facility.devices.base import check_limits
from facility.errors import DeviceTimeout
from facility.records import Command, Point, Quality, Reading, Verdict

RATE_S = 900.0  # a setpoint may change by its step in so long
EARLY = 0.9  # share of it after which a new step may begin: ticks come a little early
TOLERANCE = 1e-6


@dataclass(slots=True)
class Sensor:
    """How one point is read now; what is None works as it should."""

    stuck_at: float | None = None
    drift_per_s: float = 0.0
    drift_since: datetime | None = None
    spike: float = 0.0
    is_gone: bool = False

    def show(self, true: float, at: datetime) -> float | None:
        """What the sensor says of a true value; None where it says nothing."""
        if self.is_gone:
            return None
        if self.stuck_at is not None:
            return self.stuck_at
        drifted = 0.0 if self.drift_since is None else self.drift_per_s * (at - self.drift_since).total_seconds()
        return true + drifted + self.spike


@dataclass(slots=True)
class Witness:
    """What the controller did that it should not have done."""

    violations: list[str] = field(default_factory=list)  # of range and rate
    stale_writes: list[str] = field(default_factory=list)
    writes: int = 0


class FaultyDevice:
    """Serves the actuator port; ``is_dead`` answers nothing, neither reads nor writes."""

    def __init__(self, name: str, points: Sequence[Point], local: Mapping[str, float], max_age_s: float) -> None:
        """``local`` are the device's own setpoints by quantity; all other ``points`` are measured."""
        self.name = name
        self.points: Mapping[str, Point] = {point.name: point for point in points}
        self.remote = RemoteControl(dict(local))
        self.true: dict[str, float] = {}  # measured quantities, by point
        self.sensors: dict[str, Sensor] = {}
        self.is_dead = False
        self.witness = Witness()
        self.clock: Clock
        self._max_age_s = max_age_s
        self._delivered: dict[str, datetime] = {}  # when each point last gave a value to the controller
        self._moves: dict[str, list[tuple[datetime, float]]] = {}  # value before each write of the last RATE_S

    @property
    def is_remote(self) -> bool:
        """Whether the controller's setpoints are in force."""
        self.remote.tick(self.clock.now().timestamp())
        return self.remote.active

    def delivered_at(self, point: str) -> datetime | None:
        """When the point last gave a value."""
        return self._delivered.get(point)

    def set_locally(self, quantity: str, value: float) -> None:
        """Somebody at the panel sets a setpoint, in place of the controller's."""
        self.remote.written[quantity] = value
        self._moves.pop(f"{self.name}/{quantity}", None)

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        """Registers and sensors; raises DeviceTimeout while dead."""
        self._answer()
        now = self.clock.now()
        self.remote.tick(now.timestamp())
        readings = []
        registers = {f"{self.name}/{name}": value for name, value in self.remote.registers().items()}
        for name in self.points if points is None else points:
            value = self.sensors.get(name, Sensor()).show(registers.get(name, self.true.get(name, 0.0)), now)
            if value is not None:
                self._delivered[name] = now
            quality = Quality.BAD if value is None else Quality.GOOD
            readings.append(Reading(name, value, self.points[name].unit, now, quality, self.name))
        return readings

    def check(self, command: Command) -> Verdict:
        """What the points' limits allow."""
        return check_limits(self.points, command)

    async def write(self, command: Command) -> None:
        """Take a value; raises DeviceTimeout while dead."""
        self._answer()
        if command.value is None:
            return
        quantity, now = command.point.partition("/")[2], self.clock.now()
        self.remote.tick(now.timestamp())
        if quantity not in (ENABLE, HEARTBEAT, TIMEOUT):
            self._judge(command.point, quantity, command.value, now)
        self.remote.write(quantity, command.value, now.timestamp())

    async def read_back(self, command: Command) -> Reading:
        """The register as it stands."""
        self._answer()
        value = self.remote.registers()[command.point.partition("/")[2]]
        return Reading(command.point, value, command.unit, self.clock.now(), Quality.GOOD, self.name)

    async def release(self, points: Sequence[str] | None = None) -> None:
        """Back to the device's own setpoints; raises DeviceTimeout while dead."""
        self._answer()
        self.remote.write(ENABLE, 0.0, self.clock.now().timestamp())

    async def close(self) -> None:
        """Nothing is open."""

    def _answer(self) -> None:
        if self.is_dead:
            raise DeviceTimeout("no answer", where=self.name)

    def _judge(self, name: str, quantity: str, value: float, now: datetime) -> None:
        point, before = self.points[name], self.remote.registers()[quantity]
        self.witness.writes += 1
        if (point.min is not None and value < point.min) or (point.max is not None and value > point.max):
            self.witness.violations.append(f"{now.isoformat()} {name} {value:g} outside its range")
        recent = [move for move in self._moves.get(name, []) if (now - move[0]).total_seconds() < EARLY * RATE_S]
        self._moves[name] = [*recent, (now, before)]
        origin = self._moves[name][0][1]
        if point.max_step is not None and abs(value - origin) > point.max_step + TOLERANCE:
            self.witness.violations.append(f"{now.isoformat()} {name} from {origin:g} to {value:g} in one step")
        seen = self._delivered.get(name)
        if seen is None or (now - seen).total_seconds() > self._max_age_s:
            self.witness.stale_writes.append(f"{now.isoformat()} {name}")


def air_handler(name: str, inlets: Sequence[str], max_age_s: float, rng: random.Random) -> FaultyDevice:
    """One with two setpoints, its registers, and the rack inlets that it measures."""

    def point(
        quantity: str, unit: str, low: float | None = None, high: float | None = None, step: float = 0.0
    ) -> Point:
        is_own = low is not None
        return Point(f"{name}/{quantity}", "value", unit, name, "", is_own, low, high, step or None)

    points = [
        point("supply_air_setpoint_c", "degC", 15.0, 27.0, 2.0),
        point("fan_speed_setpoint_pct", "%", 30.0, 100.0, 15.0),
        point(ENABLE, "1", 0.0, 1.0),
        point(HEARTBEAT, "1", 0.0, 65535.0),
        point(TIMEOUT, "min", 1.0, 240.0),
        Point(f"{name}/{ACTIVE}", "flag", "1", name),
        *(Point(inlet, "temperature", "degC", name) for inlet in inlets),
    ]
    local = {"supply_air_setpoint_c": 18.0 + rng.random(), "fan_speed_setpoint_pct": 90.0 + 10.0 * rng.random()}
    return FaultyDevice(name, points, local, max_age_s)
