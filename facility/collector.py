"""Polls every device at its own pace: a slow or dead one never delays another."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from facility.clock import Clock
from facility.errors import EcoError
from facility.records import Actuator, PointState, Quality, Reading

log = logging.getLogger("eco.collector")

UP_FLAG = "health_up_flag"  # 1 the last poll answered, 0 it did not
LATENCY_S = "health_poll_s"  # how long the last poll took, on the wall
BACK_OFF_MAX = 8.0  # a device that fails is asked less often, down to one poll in so many periods

Sink = Callable[[list[Reading]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Polled:
    """One device: how often it is read (seconds of the clock) and how long it may take (wall seconds)."""

    device: Actuator
    poll_s: float
    deadline_s: float


class Collector:
    """Reads devices for ever, hands readings to a sink, and knows the newest of each point."""

    def __init__(self, polled: Sequence[Polled], clock: Clock, sink: Sink) -> None:
        self._polled = tuple(polled)
        self._clock = clock
        self._sink = sink
        self.latest: dict[str, Reading] = {}
        self._is_stopping = False

    def snapshot(self, at: datetime) -> dict[str, PointState]:
        """Every point that was ever read, with its age at ``at``; a point never read is not there."""
        return {
            name: PointState(
                reading.value,
                reading.unit,
                reading.measured_at,
                max((at - reading.measured_at).total_seconds(), 0.0),
                reading.quality,
            )
            for name, reading in self.latest.items()
        }

    def stop(self) -> None:
        """Begin no further poll; a client library may swallow a cancellation, so that alone may not end it."""
        self._is_stopping = True

    async def run(self) -> None:
        """Poll until stopped or cancelled."""
        async with asyncio.TaskGroup() as group:
            for polled in self._polled:
                group.create_task(self._poll_for_ever(polled))

    async def poll(self, polled: Polled) -> bool:
        """Read one device once; whether it answered. A failure leaves the old readings as they are: they age."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        readings: list[Reading] = []
        try:
            async with asyncio.timeout(polled.deadline_s):
                readings = await polled.device.read()
        except TimeoutError:
            log.warning("%s: no answer within %g s", polled.device.name, polled.deadline_s)
        except EcoError as error:
            log.warning("%s", error)
        answered = bool(readings)
        readings += self._health(polled.device.name, answered, loop.time() - began)
        fresh = [reading for reading in readings if self._is_newer(reading)]
        self.latest.update((reading.point, reading) for reading in fresh)
        await self._sink(fresh)
        return answered

    async def _poll_for_ever(self, polled: Polled) -> None:
        failures = 0
        while not self._is_stopping:
            failures = 0 if await self.poll(polled) else failures + 1
            await self._clock.sleep(polled.poll_s * self._spread(failures))

    @staticmethod
    def _spread(failures: int) -> float:
        """1 while all is well; twice as long after each failure, with jitter so that devices do not come in step."""
        if not failures:
            return 1.0
        longest: float = min(2.0**failures, BACK_OFF_MAX)
        return random.uniform(0.5 * longest, longest)

    def _is_newer(self, reading: Reading) -> bool:
        """A replayed or buffering device may give the same row twice, or an old one after a new one.

        A reading from the future was stamped before the clock was set back: it must not outlast what is read now.
        """
        known = self.latest.get(reading.point)
        if known is None or known.measured_at > self._clock.now():
            return True
        return reading.measured_at > known.measured_at

    def _health(self, device: str, answered: bool, took_s: float) -> list[Reading]:
        now = self._clock.now()
        return [
            Reading(f"{device}/{UP_FLAG}", float(answered), "1", now, Quality.GOOD, "collector"),
            Reading(f"{device}/{LATENCY_S}", took_s, "s", now, Quality.GOOD, "collector"),
        ]
