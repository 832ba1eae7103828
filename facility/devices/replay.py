"""A recording served as a device: the newest row at or before the injected clock, with its own time and quality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import numpy as np

from facility.clock import Clock
from facility.devices.base import check_limits
from facility.errors import DeviceError
from facility.recording import EPOCH, QUALITIES, Recording
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
            return Reading(name, None, unit, now, Quality.BAD, "")  # nobody said so: a copy leaves it out
        measured_at, value, quality = row
        return Reading(name, value, unit, measured_at, quality if value is not None else Quality.BAD, self.name)

    def history(self) -> Iterator[Reading]:
        """Every row as recorded and in its order, whatever the clock says: late, doubled and missing ones too."""
        names = list(self._recording.tracks)
        tracks = [self._recording.tracks[name] for name in names]
        owner = np.repeat(np.arange(len(tracks)), [len(track.row) for track in tracks])
        order = np.argsort(np.concatenate([track.row for track in tracks]))
        ts_us, value, quality = (
            np.concatenate([getattr(track, key) for track in tracks])[order] for key in ("ts_us", "value", "quality")
        )
        for which, us, number, code in zip(owner[order], ts_us, value, quality, strict=True):
            name = names[which]
            measured = None if np.isnan(number) else float(number)
            at = EPOCH + timedelta(microseconds=int(us))
            yield Reading(name, measured, self._recording.points[name].unit, at, QUALITIES[code], self.name)

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
