"""An actuator in memory: the smallest thing that serves the port, to test what stands in front of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from facility.errors import DeviceError, ReleaseUnknown
from facility.records import Command, Point, Quality, Reading, Verdict, VerdictKind


class MemoryActuator:
    """Holds values; ``broken`` refuses every write, ``stubborn`` acknowledges writes and keeps its value.

    ``failure`` is raised by a release.
    """

    def __init__(self, points: Sequence[Point], values: Mapping[str, float]) -> None:
        self.name = points[0].equipment
        self.points: Mapping[str, Point] = {point.name: point for point in points}
        self.values = dict(values)
        self.writes: list[Command] = []
        self.released: list[str] = []
        self.broken = False
        self.stubborn = False
        self.knows_release = True
        self.restores = False
        self.failure: Exception | None = None

    def _reading(self, point: str) -> Reading:
        return Reading(point, self.values[point], self.points[point].unit, datetime.now(UTC), Quality.GOOD, self.name)

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        return [self._reading(point) for point in points or self.values]

    def check(self, command: Command) -> Verdict:
        return Verdict(command, VerdictKind.ACCEPTED, command.value)

    async def write(self, command: Command) -> None:
        if self.broken:
            raise DeviceError("refused", where=command.point)
        self.writes.append(command)
        if command.value is not None and not self.stubborn:
            self.values[command.point] = command.value

    async def read_back(self, command: Command) -> Reading:
        return self._reading(command.point)

    async def release(self, points: Sequence[str] | None = None) -> None:
        if self.failure is not None:
            raise self.failure
        if not self.knows_release:
            raise ReleaseUnknown("knows no way back", where=self.name)
        self.released += points or list(self.points)

    async def close(self) -> None:
        return None
