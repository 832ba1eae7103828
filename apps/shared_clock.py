"""The clock that the processes of an emulated site share, through a file in the state directory."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from apps.state_dir import StateDir, read_json, write_json
from facility.clock import ScaledClock

LOOK_S = 0.05  # wall seconds between looks at the file while the clock stands still


class SharedClock:
    """Stands at its epoch until it is started; then runs at ``speed`` seconds a wall second.

    Derived from the wall clock alone, so a process that is restarted comes back at the right time.
    """

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._epoch, self._running = self._load()

    def _load(self) -> tuple[datetime, ScaledClock | None]:
        content = read_json(self._state.clock)
        epoch = datetime.fromisoformat(content["sim_epoch"])
        if content["wall_epoch"] is None:
            return epoch, None
        return epoch, ScaledClock(epoch, content["wall_epoch"], float(content["speed"]))

    def now(self) -> datetime:
        """The time now; the epoch while the clock stands still."""
        return self._epoch if self._running is None else self._running.now()

    async def started(self) -> ScaledClock:
        """Wait until somebody starts the clock."""
        while self._running is None:
            self._epoch, self._running = self._load()
            if self._running is None:
                await asyncio.sleep(LOOK_S)
        return self._running

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` of this clock."""
        await (await self.started()).sleep(seconds)


def set_clock(state: StateDir, epoch: datetime, speed: float) -> None:
    """Put the clock to ``epoch``, standing still."""
    write_json(state.clock, {"sim_epoch": epoch.isoformat(), "wall_epoch": None, "speed": speed})


def start_clock(state: StateDir) -> None:
    """Let the clock run from its epoch."""
    content = read_json(state.clock)
    write_json(state.clock, {**content, "wall_epoch": time.time()})
