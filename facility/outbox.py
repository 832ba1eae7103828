"""Between polling and the store: a bounded queue, so that a slow sink never holds up a poll."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from facility.records import Reading

log = logging.getLogger("eco.collector")

CAPACITY = 200_000  # readings: 100 s at 2,000 readings a second, some 60 MB
GATHER_S = 0.2  # wall seconds to wait for more: a batch costs the store a commit, however small it is
RETRY_S = 1.0  # wall seconds before a sink that failed is asked again
LAST_S = 2.0  # wall seconds that the sink has for the rest, when polling ends

Sink = Callable[[list[Reading]], Awaitable[None]]


class Outbox:
    """Hands readings to a sink in the order in which they came, all that have come in one batch.

    When it is full the oldest readings are dropped and counted: what is newest is worth most to whoever controls.
    A sink that raises must have kept nothing of the batch: it gets the same readings again (at least once, in order).
    """

    def __init__(self, sink: Sink, capacity: int = CAPACITY) -> None:
        self._sink = sink
        self._capacity = capacity
        self._batches: deque[list[Reading]] = deque()
        self._has_some = asyncio.Event()
        self._sending = asyncio.Lock()
        self._is_failing = False
        self._is_dropping = False
        self.queued = 0  # readings that wait
        self.dropped = 0  # readings lost to a full queue, since the start

    def offer(self, readings: list[Reading]) -> None:
        """Queue readings; never waits."""
        if not readings:
            return
        self._batches.append(readings)
        self.queued += len(readings)
        self._has_some.set()
        self._make_room()

    def _make_room(self) -> None:
        if self.queued <= self._capacity:
            self._is_dropping = False
            return
        if not self._is_dropping:
            self._is_dropping = True
            log.error("the sink is too slow: more than %d readings wait, the oldest are dropped", self._capacity)
        while self.queued > self._capacity:
            lost = len(self._batches.popleft())
            self.queued -= lost
            self.dropped += lost

    async def flush(self) -> bool:
        """Hand over all that waits; whether the sink took it."""
        async with self._sending:
            if not self._batches:
                return True
            batch = [reading for part in self._batches for reading in part]
            self._empty()
            try:
                await self._sink(batch)
            except BaseException as error:
                self._put_back(batch)
                if not isinstance(error, Exception):
                    raise
                self._say(error)
                return False
            self._say(None)
            return True

    def _empty(self) -> None:
        self._batches.clear()
        self._has_some.clear()
        self.queued = 0

    def _put_back(self, batch: list[Reading]) -> None:
        self._batches.appendleft(batch)
        self.queued += len(batch)
        self._has_some.set()
        if self.queued > self._capacity:  # drop from the front of what came back, not the whole of it
            self._batches[0] = batch[self.queued - self._capacity :]
            lost = len(batch) - len(self._batches[0])
            self.queued -= lost
            self.dropped += lost

    def _say(self, error: Exception | None) -> None:
        """Log a sink that begins to fail, and one that is well again; not every failure."""
        if error is not None and not self._is_failing:
            log.error("readings are not taken, and wait: %s: %s", type(error).__name__, error)
        if error is None and self._is_failing:
            log.info("readings are taken again; %d were dropped so far", self.dropped)
        self._is_failing = error is not None

    async def run(self) -> None:
        """Hand over readings as they come, until cancelled."""
        while True:
            await self._has_some.wait()
            await asyncio.sleep(GATHER_S)
            if not await self.flush():
                await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        """Hand over the rest; what the sink does not take within its time is dropped, counted and logged."""
        try:
            async with asyncio.timeout(LAST_S):
                await self.flush()
        except TimeoutError:
            pass
        if self.queued:
            self.dropped += self.queued
            log.error("%d readings were not taken before the end and are lost", self.queued)
            self._empty()
