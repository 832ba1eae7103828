"""Polls every device at its own pace: a slow or dead one never delays another.

Each device is due on a grid of its own (facility.pace). A poll that is still under way when the next is due lets that
one go by, and it is counted as missed. What was read goes through a bounded queue (facility.outbox) to the sink.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime

from facility.clock import Clock
from facility.counters import Counters
from facility.errors import EcoError
from facility.outbox import CAPACITY, Outbox, Sink
from facility.pace import Grid, back_off_s, start_s
from facility.records import Actuator, PointState, Quality, Reading

__all__ = ["UP_FLAG", "Collector", "Health", "Polled", "Sink"]

log = logging.getLogger("eco.collector")

# Points of every device's health, after its name.
UP_FLAG = "collector_up_flag"  # 1 the last poll answered, 0 it did not
LATENCY_S = "collector_poll_s"  # how long the last poll took, on the wall; waiting for a turn not counted
FAILURES = "collector_failures_count"  # polls that failed, since the start
MISSED = "collector_missed_count"  # periods that went by without a poll, since the start; back-off not counted
# Points of the collector itself.
QUEUED = "collector/queued_count"  # readings that wait for the sink
DROPPED = "collector/dropped_count"  # readings lost to a full queue, since the start
RESTARTS = "collector/counter_restarts_count"  # counters that began anew, since the start

REPORT_S = 60.0  # between two readings of the collector's own health
IN_FLIGHT = 256  # polls under way at a time: sockets and memory are bounded
SLOW_IN_FLIGHT = 256  # the same for devices that failed last time or took long: they take no place from the others
SLOW_S = 1.0
SKEW_S = 60.0  # a device's clock may be so far ahead of ours


@dataclass(frozen=True, slots=True)
class Polled:
    """One device: how often it is read (seconds of the clock) and how long it may take (wall seconds).

    A device with an attribute ``line`` that is not empty takes turns with all others of the same line, and its time
    runs from its turn.
    """

    device: Actuator
    poll_s: float
    deadline_s: float


@dataclass(slots=True)
class Health:
    """How the polling of one device has gone so far."""

    is_up: bool | None = None  # None: not yet polled
    polls: int = 0
    failures: int = 0
    failures_in_a_row: int = 0
    missed: int = 0
    repeats: int = 0  # readings that were already known, or older than what is known
    took_s: float = 0.0  # the last poll, on the wall
    last_error: str = ""  # empty while it is up


class Collector:
    """Reads devices for ever, hands readings to a sink, and knows the newest of each point."""

    def __init__(self, polled: Sequence[Polled], clock: Clock, sink: Sink, *, capacity: int = CAPACITY) -> None:
        """``capacity``: readings that may wait for the sink before the oldest are dropped."""
        self._polled = tuple(polled)
        self._clock = clock
        self._outbox = Outbox(sink, capacity)
        self._counters = Counters()
        self._health: dict[str, Health] = {}
        self._lines: dict[str, asyncio.Lock] = {}
        self._quick, self._slow = asyncio.Semaphore(IN_FLIGHT), asyncio.Semaphore(SLOW_IN_FLIGHT)
        self._is_stopping = False
        self.latest: dict[str, Reading] = {}

    def snapshot(self, at: datetime) -> dict[str, PointState]:
        """Every point that was ever read, with its age at ``at``; a point never read is not there."""
        return {
            name: PointState(
                reading.value,
                reading.unit,
                reading.measured_at,
                max((at - reading.measured_at).total_seconds(), 0.0),
                _judged(reading, at),
            )
            for name, reading in self.latest.items()
        }

    def health(self, device: str) -> Health:
        """How the polling of a device goes; of one never polled, an empty record."""
        return self._health.setdefault(device, Health())

    @property
    def dropped(self) -> int:
        """Readings lost because the sink was too slow for too long."""
        return self._outbox.dropped

    def resume(self, stored: Iterable[Reading]) -> None:
        """Let unwrapped counters go on from the newest stored readings; to be called before polling begins."""
        self._counters.resume(stored)

    def stop(self) -> None:
        """Begin no further poll; a client library may swallow a cancellation, so that alone may not end it."""
        self._is_stopping = True

    async def run(self) -> None:
        """Poll until stopped or cancelled; what was read by then goes to the sink."""
        helpers = [asyncio.create_task(self._outbox.run()), asyncio.create_task(self._report_for_ever())]
        start = self._clock.now()
        try:
            async with asyncio.TaskGroup() as group:
                for number, polled in enumerate(self._polled):
                    grid = Grid(start, polled.poll_s, number)
                    group.create_task(self._poll_for_ever(polled, grid, start_s(number, len(self._polled))))
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await self._outbox.close()

    async def poll(self, polled: Polled) -> bool:
        """Read one device once; whether it answered. A failure leaves the old readings as they are: they age."""
        answered = await self._poll(polled)
        await self._outbox.flush()
        return answered

    async def _poll_for_ever(self, polled: Polled, grid: Grid, start_after_s: float) -> None:
        """Poll soon after the start, and then on the grid."""
        health, is_on_grid = self.health(polled.device.name), False
        await self._clock.sleep(start_after_s)
        while not self._is_stopping:
            if not await self._poll(polled):
                await self._clock.sleep(back_off_s(grid.period_s, health.failures_in_a_row))
                is_on_grid = False
                continue
            if not is_on_grid:  # at the start, or back after a failure: there was no period that it could miss
                grid.begin(self._clock.now())
                is_on_grid = True
            wait_s, missed = grid.next_after(self._clock.now())
            health.missed += missed
            await self._clock.sleep(wait_s)

    async def _poll(self, polled: Polled) -> bool:
        health = self.health(polled.device.name)
        places = self._slow if health.failures_in_a_row or health.took_s > SLOW_S else self._quick
        async with self._turn(polled.device), places:
            readings, error = await self._read(polled, health)
        now = self._clock.now()
        _note(polled.device.name, health, error)
        fresh = [reading for reading in readings if self._is_newer(reading, now)]
        health.repeats += len(readings) - len(fresh)
        fresh += self._counters.unwrap(polled.device.points, fresh, now)
        fresh += _health_readings(polled.device.name, health, now)
        for reading in fresh:
            self.latest[reading.point] = reading
        self._outbox.offer(fresh)
        return not error

    def _turn(self, device: Actuator) -> AbstractAsyncContextManager[object]:
        """The turn on a line that several devices share; the time of a device begins with it."""
        line: str = getattr(device, "line", "")
        return self._lines.setdefault(line, asyncio.Lock()) if line else contextlib.nullcontext()

    async def _read(self, polled: Polled, health: Health) -> tuple[list[Reading], str]:
        """What the device said, and what went wrong: a failure of any kind is the device's own and ends no loop."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(polled.deadline_s):
                readings = await polled.device.read()
            return readings, "" if readings else "it answered without a reading"
        except TimeoutError:
            return [], f"no answer within {polled.deadline_s:g} s"
        except EcoError as error:
            return [], str(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # it is we who are cancelled; else something within the device's client was
            return [], "its client was cancelled from within"
        except Exception as error:  # a fault in a client library must not cost the other devices
            log.debug("%s", polled.device.name, exc_info=True)
            return [], f"{type(error).__name__}: {error}"
        finally:
            health.took_s = loop.time() - began

    def _is_newer(self, reading: Reading, now: datetime) -> bool:
        """A replayed or buffering device may give the same row twice, or an old one after a new one.

        A reading from the future was stamped before the clock was set back: it must not outlast what is read now.
        """
        known = self.latest.get(reading.point)
        return known is None or reading.measured_at > known.measured_at or known.measured_at > now

    async def _report_for_ever(self) -> None:
        while True:
            now = self._clock.now()
            values: Mapping[str, int] = {
                QUEUED: self._outbox.queued,
                DROPPED: self._outbox.dropped,
                RESTARTS: self._counters.restarts,
            }
            own = [Reading(name, float(value), "1", now, Quality.GOOD, "collector") for name, value in values.items()]
            self.latest.update((reading.point, reading) for reading in own)
            self._outbox.offer(own)
            await self._clock.sleep(REPORT_S)


def _judged(reading: Reading, at: datetime) -> Quality:
    """Of a reading from the future nobody knows how old it is."""
    is_ahead = (reading.measured_at - at).total_seconds() > SKEW_S
    return Quality.UNCERTAIN if is_ahead and reading.quality is Quality.GOOD else reading.quality


def _note(device: str, health: Health, error: str) -> None:
    """Count one poll; log a device that goes down and one that comes back, not every failure."""
    health.polls += 1
    health.last_error = error
    if error:
        health.failures += 1
        health.failures_in_a_row += 1
        if health.is_up is not False:
            log.warning("%s is down: %s", device, error)
    elif health.is_up is False:
        log.info("%s is up again after %d failed polls", device, health.failures_in_a_row)
    if not error:
        health.failures_in_a_row = 0
    health.is_up = not error


def _health_readings(device: str, health: Health, now: datetime) -> list[Reading]:
    values = (
        (UP_FLAG, float(bool(health.is_up)), "1"),
        (LATENCY_S, health.took_s, "s"),
        (FAILURES, float(health.failures), "1"),
        (MISSED, float(health.missed), "1"),
    )
    return [Reading(f"{device}/{name}", value, unit, now, Quality.GOOD, "collector") for name, value, unit in values]
