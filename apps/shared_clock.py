"""The clock that the processes of an emulated site share, through a file in the state directory."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta

from apps.state_dir import StateDir, read_json, write_json

LOOK_S = 0.05  # wall seconds between looks at the file while the clock stands still


class SharedClock:
    """Stands at its epoch until it is started; then runs at ``speed`` seconds a wall second.

    Derived from the wall clock alone, so a process that is restarted comes back at the right time.
    """

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._epoch, self._wall_epoch, self._speed = self._load()

    def _load(self) -> tuple[datetime, float | None, float]:
        content = read_json(self._state.clock)
        return datetime.fromisoformat(content["sim_epoch"]), content["wall_epoch"], float(content["speed"])

    @property
    def speed(self) -> float:
        """Seconds of this clock a wall second."""
        return self._speed

    def now(self) -> datetime:
        """The time now; the epoch while the clock stands still."""
        if self._wall_epoch is None:
            return self._epoch
        return self._epoch + timedelta(seconds=(time.time() - self._wall_epoch) * self._speed)

    async def started(self) -> None:
        """Wait until somebody starts the clock."""
        while self._wall_epoch is None:
            self._epoch, self._wall_epoch, self._speed = self._load()
            if self._wall_epoch is None:
                await asyncio.sleep(LOOK_S)

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` of this clock."""
        await self.started()
        await asyncio.sleep(seconds / self._speed)


def set_clock(state: StateDir, epoch: datetime, speed: float) -> None:
    """Put the clock to ``epoch``, standing still."""
    write_json(state.clock, {"sim_epoch": epoch.isoformat(), "wall_epoch": None, "speed": speed})


def start_clock(state: StateDir) -> None:
    """Let the clock run from its epoch."""
    content = read_json(state.clock)
    write_json(state.clock, {**content, "wall_epoch": time.time()})
