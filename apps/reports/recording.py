"""A recording in the long format, with points.csv beside it, as a source of reports."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from apps.reports.source import About, Held, Rows, utc
from facility.recording import EPOCH, QUALITIES, Track, load_recording
from facility.records import Point, Quality
from twin.reports.units import is_register
from twin.signals import Series

_GOOD, _BAD = QUALITIES.index(Quality.GOOD), QUALITIES.index(Quality.BAD)


class RecordingSource:
    """What was recorded; values outside a point's limits are no good readings, whatever their quality says."""

    def __init__(self, path: Path) -> None:
        """Raises DataError where it cannot be read or is no recording."""
        self.name = f"recording {path}"
        self._recording = load_recording(path)
        self._points = {name: _held(self._recording.points[name], t) for name, t in self._recording.tracks.items()}

    def about(self) -> About:
        """A recording says nothing of its site."""
        return About()

    def points(self) -> Mapping[str, Held]:
        """Every point with rows."""
        return self._points

    def rows(self, point: str, start: datetime, end: datetime) -> Rows:
        """Rows of one point in [start, end)."""
        track, limits = self._recording.tracks[point], self._recording.points[point]
        bounds = [(moment - EPOCH) // timedelta(microseconds=1) for moment in (start, end)]
        first, last = np.searchsorted(track.ts_us, bounds)
        value, quality = track.value[first:last], track.quality[first:last]
        low = -np.inf if limits.min is None else limits.min
        high = np.inf if limits.max is None else limits.max
        with np.errstate(invalid="ignore"):
            possible = (value >= low) & (value <= high)
        return Rows(track.ts_us[first:last], value, possible & (quality == _GOOD), possible & (quality != _BAD))

    def carbon(self) -> tuple[Series, ...]:
        """None beside its points."""
        return ()

    def close(self) -> None:
        """Nothing is open."""


def _held(point: Point, track: Track) -> Held:
    """A register goes over at the end of its range, which points.csv states as its maximum."""
    rollover = point.rollover
    if rollover is None and is_register(point.unit) and point.max is not None:
        rollover = point.max + 1.0
    return Held(point.unit, utc(int(track.ts_us[0])), utc(int(track.ts_us[-1])), len(track.ts_us), rollover)
