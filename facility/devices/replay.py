"""A recording served as a device: the newest row at or before the injected clock, with its own time and quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from facility.clock import Clock
from facility.devices.base import check_limits
from facility.errors import DeviceError
from facility.recording import Recording
from facility.records import Command, Point, Quality, Reading, Verdict


class ReplayDevice:
    """Reads like a device; the past cannot be written, but is checked, so that verdicts are those of a live run."""

    def __init__(self, name: str, recording: Recording, clock: Clock) -> None:
        self.name = name
        self._recording = recording
        self._clock = clock

    @property
    def points(self) -> Mapping[str, Point]:
        """Every recorded point, under its own name."""
        return self._recording.points

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        """The newest row of each point; before its first row a point has no value and bad quality."""
        return [self._at_now(name) for name in (self._recording.points if points is None else points)]

    def _at_now(self, name: str) -> Reading:
        if name not in self._recording.points:
            raise DeviceError("the recording has no such point", where=f"{self.name}: {name}")
        now, unit = self._clock.now(), self._recording.points[name].unit
        track = self._recording.tracks.get(name)
        row = None if track is None else track.at(now)
        if row is None:
            return Reading(name, None, unit, now, Quality.BAD, self.name)
        measured_at, value, quality = row
        return Reading(name, value, unit, measured_at, quality if value is not None else Quality.BAD, self.name)

    def check(self, command: Command) -> Verdict:
        """What the recorded point's limits allow."""
        return check_limits(self.points, command)

    async def write(self, command: Command) -> None:
        """Always raises DeviceError."""
        raise DeviceError("a recording cannot be written", where=command.point, hint="run the loop in shadow mode")

    async def read_back(self, command: Command) -> Reading:
        """What was recorded."""
        return self._at_now(command.point)

    async def release(self, points: Sequence[str] | None = None) -> None:
        """Nothing was taken, so nothing is given back."""

    async def close(self) -> None:
        """Nothing is open."""
