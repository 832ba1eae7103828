"""What is held at the devices: what was written to each point, and when it was last decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from facility.records import State
from facility.written import is_close


class Held:
    """Points under control, by name."""

    def __init__(self) -> None:
        self._decided_at: dict[str, datetime] = {}  # when it was last written by a decision
        self._known_since: dict[str, datetime] = {}  # that an earlier run left: when this one first saw it
        self._written: dict[str, tuple[float, datetime]] = {}

    def decided(self, point: str, value: float, at: datetime) -> None:
        """``value`` was written to ``point`` and read back."""
        self._decided_at[point] = at
        self._written[point] = (value, at)

    def found(self, points: Iterable[str], at: datetime) -> None:
        """An earlier run left these; the first sight counts."""
        for point in set(points) - set(self._decided_at):
            self._known_since.setdefault(point, at)

    def forget(self, points: Iterable[str]) -> None:
        """These are nobody's any more."""
        for point in points:
            for known in (self._decided_at, self._known_since, self._written):
                known.pop(point, None)

    def all_decided(self, points: Iterable[str]) -> bool:
        """Whether this run decided all of them."""
        return all(point in self._decided_at for point in points)

    def age_s(self, points: Sequence[str], at: datetime) -> float:
        """How long ago the oldest of them was decided, or first seen."""
        times = [self._decided_at.get(point) or self._known_since.get(point, at) for point in points]
        return max(((at - time).total_seconds() for time in times), default=0.0)

    def written_at(self, point: str) -> datetime | None:
        """When a value was written last; None where none is held."""
        found = self._written.get(point)
        return None if found is None else found[1]

    def departed(self, state: State, max_age_s: float, tolerance: float) -> dict[str, tuple[float, float]]:
        """By point that no longer reports what was written: what was written, and what it reports."""
        found = {}
        for point, (wanted, at) in sorted(self._written.items()):
            reading = state.points.get(point)
            if reading is None or reading.measured_at <= at or not reading.is_usable(max_age_s):
                continue
            if reading.value is not None and not is_close(wanted, reading.value, tolerance):
                found[point] = (wanted, reading.value)
        return found
