"""Time is injected: live, accelerated and replayed runs differ in their clock alone."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time (UTC, aware) and sleeps in its own seconds."""

    def now(self) -> datetime:
        """The time now, UTC and aware."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` of this clock."""
        ...


class WallClock:
    """The computer's own clock."""

    def now(self) -> datetime:
        """The time now, UTC and aware."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``."""
        await asyncio.sleep(max(seconds, 0.0))


class ScaledClock:
    """Runs ``speed`` seconds a wall second from ``sim_epoch``, which it showed at ``wall_epoch`` (``time.time()``).

    Derived from the wall clock alone: a process restarted with the same three figures comes back at the right time.
    """

    def __init__(self, sim_epoch: datetime, wall_epoch: float, speed: float) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be positive, got {speed!r}")
        self._sim_epoch = sim_epoch.astimezone(UTC)
        self._wall_epoch = wall_epoch
        self.speed = speed

    def now(self) -> datetime:
        """The time now, UTC and aware."""
        return self._sim_epoch + timedelta(seconds=(time.time() - self._wall_epoch) * self.speed)

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` of this clock, ``seconds / speed`` of the wall's."""
        await asyncio.sleep(max(seconds, 0.0) / self.speed)


class ManualClock:
    """Stands still until it is moved: for tests and replay."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)
        self._order = itertools.count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The time now, UTC and aware."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved by ``seconds``."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        due = self._now + timedelta(seconds=seconds)
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (due, next(self._order), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Move by ``seconds`` at once and wake whoever is due; they run when the caller next awaits."""
        self._now += timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
