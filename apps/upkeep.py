"""What goes on beside ticks and heartbeats, each at its own pace: events, alarms, history. None may end the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from apps.assembly import Parts
from apps.control import Control
from apps.keeper import Keeper
from apps.token_audit import TokenAudit
from apps.watch import Watch
from facility.clock import Clock
from facility.errors import EcoError
from facility.records import State
from facility.rollups import History

log = logging.getLogger("eco.upkeep")

EVENT_S = 10.0  # between two looks at an event: a correction must come within two minutes
EVENT_WALL_S = 0.25  # however fast an emulated building's clock runs
HISTORY_S = 3600.0  # between two rounds of roll-ups and retention
HISTORY_WALL_S = 30.0


class Upkeep:
    """Runs until told to stop."""

    def __init__(
        self,
        parts: Parts,
        control: Control,
        keeper: Keeper,
        watch: Watch,
        history: History,
        tokens: TokenAudit,
        clock: Clock,
    ) -> None:
        self._parts, self._control, self._keeper, self._watch = parts, control, keeper, watch
        self._history, self._tokens, self._clock = history, tokens, clock
        self._problems: dict[str, str] = {}

    @property
    def problems(self) -> list[str]:
        """What went wrong the last time, in words."""
        return list(self._problems.values())

    async def run(self, stop: asyncio.Event) -> None:
        """All of it, side by side."""
        event_s = max(EVENT_S, EVENT_WALL_S * self._parts.speed)
        await asyncio.gather(
            self._every(event_s, self._step_event, stop),
            self._every(max(HISTORY_S, HISTORY_WALL_S * self._parts.speed), self._keep_history, stop),
            self._every(self._parts.heartbeat_s, self._look, stop),
            self._every(self._parts.heartbeat_s, self._audit_tokens, stop),
        )
        await self._watch.close()

    async def _every(self, period_s: float, work: Callable[[], Coroutine[Any, Any, None]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await work()
                self._problems.pop(work.__name__, None)
            except EcoError as error:
                self._problems[work.__name__] = str(error)
                log.error("%s", error)
            await self._clock.sleep(period_s)

    async def _step_event(self) -> None:
        for row in await self._control.demand.step(self._clock.now()):
            self._keeper.note(row)

    async def _look(self) -> None:
        now = self._clock.now()
        state = State(now, self._parts.loop.collector.snapshot(now))
        for row in await self._watch.look(state, self._parts.loop, now):
            self._keeper.note(row)

    async def _audit_tokens(self) -> None:
        for row in self._tokens.news(self._clock.now()):
            self._keeper.note(row)

    async def _keep_history(self) -> None:
        kept = await asyncio.to_thread(self._history.keep, self._clock.now())
        if kept.segments:
            log.info("%d readings and means went to %d segments", kept.rows, len(kept.segments))
