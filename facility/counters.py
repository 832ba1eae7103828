"""Counters made to count up for ever: roll-over, reboot, repeated and late samples told apart.

A meter's counter falls for two reasons. At its roll-over it goes on from 0 and nothing is lost; after a reboot or an
exchange it begins anew and what happened in between is not known. Which of the two it was is judged by plausibility.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from facility.records import Point, Quality, Reading

UNWRAPPED = "unwrapped"
NEAR_SHARE = 1.0 / 16.0  # without a known rate, a roll-over is a rise by at most this share of the counter's range
RATE_MARGIN = 2.0  # a rise faster than this times the fastest rate is none: stamps of samples are not exact
UPTIME_KIND = "uptime"  # kind of a point that tells since when a device runs, in seconds


@dataclass(frozen=True, slots=True)
class Range:
    """How far a counter counts before it begins again at 0, and how fast it can rise; both in the point's unit."""

    rollover: float
    max_rate_per_s: float | None = None  # per second

    def could_rise(self, rise: float, over_s: float | None) -> bool:
        """Whether a rise within ``over_s`` seconds (None: unknown) is plausible."""
        if self.max_rate_per_s is None or over_s is None:
            return rise <= NEAR_SHARE * self.rollover
        return rise <= RATE_MARGIN * self.max_rate_per_s * max(over_s, 1.0)


class Event(StrEnum):
    """What one more sample of a counter was."""

    FIRST = "first"
    COUNTED = "counted"
    ROLLED_OVER = "rolled_over"
    RESTARTED = "restarted"  # counts from anew: what came before is kept, what was lost is not made up
    JUMPED = "jumped"  # rose faster than it can: taken for a new beginning, too
    IGNORED = "ignored"  # the same sample again, or an older one


@dataclass(slots=True)
class Unwrapper:
    """One counter. ``total`` begins at the first sample and never falls."""

    range: Range
    raw: float | None = None
    at: datetime | None = None
    total: float = 0.0

    def feed(self, raw: float, at: datetime, *, now: datetime | None = None, uptime_s: float | None = None) -> Event:
        """Count one more sample, measured ``at``.

        ``now`` tells a clock that was set back (the sample known is from the future) from a sample that comes late.
        ``uptime_s``, where the device tells it, makes a reboot certain: it is shorter than the time since the last
        sample.
        """
        if self.raw is None or self.at is None:
            self.raw, self.at, self.total = raw, at, raw
            return Event.FIRST
        over_s: float | None = (at - self.at).total_seconds()
        if over_s is not None and over_s <= 0:
            if now is None or self.at <= now:
                return Event.IGNORED
            over_s = None
        event, rise = self._judge(raw - self.raw, raw, over_s, uptime_s)
        self.raw, self.at = raw, at
        self.total += rise
        return event

    def _judge(self, change: float, raw: float, over_s: float | None, uptime_s: float | None) -> tuple[Event, float]:
        """What the change was, and how much was counted in it."""
        has_rebooted = uptime_s is not None and over_s is not None and uptime_s < over_s
        if change >= 0:
            knows_rate = self.range.max_rate_per_s is not None
            if knows_rate and not self.range.could_rise(change, over_s):
                return Event.JUMPED, 0.0
            return Event.COUNTED, change
        if not has_rebooted and self.range.could_rise(change + self.range.rollover, over_s):
            return Event.ROLLED_OVER, change + self.range.rollover
        return Event.RESTARTED, self._since_restart(raw, over_s)

    def _since_restart(self, raw: float, over_s: float | None) -> float:
        """From 0 where the rate allows that: a counter that came back lower, from its own backup, counts nothing."""
        knows_rate = self.range.max_rate_per_s is not None and over_s is not None
        return raw if knows_rate and self.range.could_rise(raw, over_s) else 0.0


def unwrap(samples: Iterable[tuple[datetime, float]], limits: Range) -> list[float]:
    """The unwrapped value at each sample of a stored series, which is in order of time."""
    counter = Unwrapper(limits)
    totals = []
    for at, raw in samples:
        counter.feed(raw, at)
        totals.append(counter.total)
    return totals


def unwrapped_name(point: str) -> str:
    """``meter-1/energy_wh`` -> ``meter-1/energy_unwrapped_wh``: the point that carries the unwrapped counter."""
    stem, _, unit = point.rpartition("_")
    return f"{stem}_{UNWRAPPED}_{unit}"


class Counters:
    """The counters among the points of all devices; a point has a range where its profile says so."""

    def __init__(self) -> None:
        self._by_point: dict[str, Unwrapper] = {}
        self._known: dict[str, tuple[float, datetime, float]] = {}
        self.restarts = 0  # reboots and jumps seen, since the start

    def resume(self, stored: Iterable[Reading]) -> None:
        """Go on from the newest stored readings, so that the unwrapped counters do not begin anew with the service.

        A counter goes on where both its readings are there: the raw one and the unwrapped one, of the same time.
        """
        newest = {reading.point: reading for reading in stored if reading.value is not None}
        for name, raw in newest.items():
            total = newest.get(unwrapped_name(name))
            if total is None or total.measured_at != raw.measured_at:
                continue
            if raw.value is not None and total.value is not None:
                self._known[name] = (raw.value, raw.measured_at, total.value)

    def unwrap(self, points: Mapping[str, Point], readings: list[Reading], now: datetime) -> list[Reading]:
        """One more reading for each counter among fresh ``readings`` of one device: its unwrapped value."""
        uptime_s: float | None = None
        found = []
        for reading in readings:
            point = points.get(reading.point)
            if point is None or reading.value is None or reading.quality is Quality.BAD:
                continue
            if point.kind == UPTIME_KIND:
                uptime_s = reading.value
            elif point.rollover is not None:
                found.append((reading, point.rollover, point.max_rate_per_s))
        return [self._count(reading, Range(top, rate), now, uptime_s) for reading, top, rate in found]

    def _count(self, reading: Reading, limits: Range, now: datetime, uptime_s: float | None) -> Reading:
        counter = self._by_point.get(reading.point)
        if counter is None:
            counter = self._by_point[reading.point] = Unwrapper(limits, *self._known.get(reading.point, ()))
        counter.range = limits  # a device may learn its scale with its first answer
        event = counter.feed(reading.value or 0.0, reading.measured_at, now=now, uptime_s=uptime_s)
        self.restarts += event in (Event.RESTARTED, Event.JUMPED)
        return Reading(
            unwrapped_name(reading.point),
            counter.total,
            reading.unit,
            reading.measured_at,
            reading.quality,
            reading.source,
        )
