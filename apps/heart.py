"""The heartbeat: holds what was decided, lets go of what is not, and gives control back when it must."""

from __future__ import annotations

import asyncio
from datetime import datetime

from apps import left_over
from apps.assembly import Parts
from apps.control import WRITING, Control
from facility.clock import Clock
from facility.records import Mode, State

CONFIRMED = 2  # beats in a row at which a point reports another value before it is taken for somebody's override


class Heart:
    """Beats for ever; what is wrong with control is in ``problems``, in words, until the next beat."""

    def __init__(self, parts: Parts, control: Control, clock: Clock) -> None:
        self._parts, self._control, self._clock = parts, control, clock
        self.problems: list[str] = []
        self.beats = 0  # heartbeats that reached their devices
        self._blind_since: datetime | None = None
        self._seen_at: dict[str, datetime] = {}  # by device: when it was last heard of
        self._lost_at: dict[str, datetime] = {}  # by device: when it was last seen to have lost what was written
        self._seen_elsewhere: dict[str, int] = {}  # by point: beats in a row with somebody else's value

    async def at_start(self) -> None:
        """What an earlier run left commanded is taken over at the next decision, or given back where none will come."""
        guard = self._parts.loop.guard
        self.problems = await guard.survey()
        if not guard.left_over:
            return
        if self._control.modes.mode is Mode.ACTIVE:
            guard.checks.taken_over(guard.left_over, self._clock.now())
            await left_over.take_over(guard, self._parts.store, self._clock.now())
        else:
            self.problems += await left_over.give_back(guard, self._parts.store, self._clock.now())

    async def run(self, stop: asyncio.Event) -> None:
        """Beat until ``stop``."""
        while not stop.is_set():
            await self.beat()
            await self._clock.sleep(self._parts.heartbeat_s)

    async def beat(self) -> None:
        """Once. In heat and outside the hours for it the building's own control takes over at once."""
        loop, control, now = self._parts.loop, self._control, self._clock.now()
        await control.expire(now)
        if control.modes.mode not in WRITING:
            self.problems = await left_over.give_back(loop.guard, self._parts.store, now)
            return
        state = State(now, loop.collector.snapshot(now))
        why = loop.guard.checks.heat(state) or loop.guard.checks.off_schedule(now) or self._long_blindness(state)
        if why:
            errors = await loop.guard.hand_back()
            self.problems = [f"control is given back: {why}", *errors]
            return
        errors = await loop.guard.let_go(state)
        errors += await loop.guard.beat(self._parts.signs_of_life(self.beats + 1), state)
        self.beats += not errors
        self._find_lost()
        self._find_overrides(state)
        self.problems = [*errors, *self._parts.lost_control(), *loop.guard.departures(state)]

    def _find_lost(self) -> None:
        """Devices that say themselves that nobody commands them, or were out of reach for longer than they wait."""
        for device, release in self._parts.releases.items():
            active = self._parts.loop.collector.latest.get(f"{device}/{release.active_point}")
            if active is None:
                continue
            silence_s = (active.measured_at - self._seen_at.get(device, active.measured_at)).total_seconds()
            self._seen_at[device] = active.measured_at
            if active.value == 0.0 or silence_s > 60.0 * self._parts.timeout_min:
                self._lost_at[device] = active.measured_at

    def _find_overrides(self, state: State) -> None:
        """A point that goes on reporting another value than was written is somebody's.

        Unless its device has lost the command since: the next decision writes anew.
        """
        departed = self._parts.loop.guard.departed(state)
        theirs = {point: values for point, values in departed.items() if not self._is_lost(point)}
        self._seen_elsewhere = {point: self._seen_elsewhere.get(point, 0) + 1 for point in theirs}
        for point, (wanted, value) in theirs.items():
            if self._seen_elsewhere[point] >= CONFIRMED:
                self._control.found(point, wanted, value)

    def _is_lost(self, point: str) -> bool:
        lost_at, written_at = self._lost_at.get(point.split("/")[0]), self._parts.loop.guard.written_at(point)
        return lost_at is not None and written_at is not None and lost_at >= written_at

    def _long_blindness(self, state: State) -> str:
        """Why too little is seen, once that has lasted as long as a device waits for a heartbeat."""
        why = self._parts.loop.guard.checks.blindness(state)
        if not why:
            self._blind_since = None
            return ""
        self._blind_since = self._blind_since or state.at
        lasted_s = (state.at - self._blind_since).total_seconds()
        return why if lasted_s > 60.0 * self._parts.timeout_min else ""
