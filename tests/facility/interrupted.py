"""A controlling process that dies on the way: ``python -m tests.facility.interrupted``.

Its words are SETTINGS (a [[device]] as JSON), POINT, VALUE, JOURNAL and WHEN. It reads the device, and writes one
command through the guard. WHEN says where it is killed (-9): ``journalled`` (on disk, not sent), ``sent`` (the device
has it, not read back) or ``done``.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from facility.checks import GuardLimits
from facility.clock import WallClock
from facility.devices import open_device
from facility.guard import Guard, Written
from facility.journal import Journal
from facility.records import Actuator, Command, Mode, Point, PointState, Reading, State, Verdict
from facility.site import Device

SITE = "hall"
DEADLINE_S = 6.0
Hook = Callable[[], None]


def nothing() -> None:
    """No accident."""


class Interrupted:
    """A device with an accident before it is written to, or after."""

    def __init__(self, device: Actuator, before: Hook = nothing, after: Hook = nothing) -> None:
        self._device, self._before, self._after = device, before, after
        self.name = device.name
        self.restores = bool(getattr(device, "restores", False))

    @property
    def points(self) -> Mapping[str, Point]:
        return self._device.points

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        return await self._device.read(points)

    def check(self, command: Command) -> Verdict:
        return self._device.check(command)

    async def write(self, command: Command) -> None:
        self._before()
        await self._device.write(command)
        self._after()

    async def read_back(self, command: Command) -> Reading:
        return await self._device.read_back(command)

    async def release(self, points: Sequence[str] | None = None) -> None:
        await self._device.release(points)

    async def left_over(self) -> Mapping[str, float]:
        """What the device itself knows to be in command; nothing where its protocol has no way to tell."""
        found: Mapping[str, float] = await self._device.left_over() if hasattr(self._device, "left_over") else {}
        return found

    async def close(self) -> None:
        await self._device.close()


def guard_of(device: Actuator, journal: Path, mode: Mode = Mode.ACTIVE) -> Guard:
    """A guard as a run has it, with what earlier runs left in the journal."""
    return Guard([device], GuardLimits(write_deadline_s=DEADLINE_S), Journal(journal, SITE), mode)


async def apply(guard: Guard, device: Actuator, point: str, value: float) -> Written:
    """Read the device, then write one command through the guard."""
    readings = await device.read()
    now = datetime.now(UTC)
    seen = {each.point: PointState(each.value, each.unit, each.measured_at, 0.0, each.quality) for each in readings}
    (written,) = await guard.apply([Command(point, value, device.points[point].unit, "test")], State(now, seen))
    return written


def die() -> None:
    """As a power cut would have it: nothing is closed, nothing is said."""
    os.kill(os.getpid(), signal.SIGKILL)


async def main(settings: str, point: str, value: str, journal: str, when: str) -> None:
    """One guarded write, cut short."""
    real = open_device(Device.model_validate(json.loads(settings)), WallClock())
    device = Interrupted(real, die if when == "journalled" else nothing, die if when == "sent" else nothing)
    written = await apply(guard_of(device, Path(journal)), device, point, float(value))
    if written.error or written.read_back is None:
        raise SystemExit(f"not written: {written}")
    die()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:6]))
