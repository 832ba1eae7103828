"""The control-loop service: collector, store, forecasts, policy, guard and API in one process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from apps import left_over
from apps.account import Summary, settle
from apps.api import make_api
from apps.assembly import Parts, assemble
from apps.run_config import RunConfig, load_run
from apps.shared_clock import SharedClock
from apps.state_dir import StateDir, write_json
from apps.web import guest_server, listen_on
from facility.clock import Clock, WallClock
from facility.errors import ConfigError, EcoError, StoreError
from facility.records import Forecasts, Mode, Reading, State
from facility.store import Store

log = logging.getLogger("eco.service")

FLUSH_S = 0.2  # wall seconds; readings of this long share one durable commit
WIND_DOWN_S = 5.0  # wall seconds that tasks have to end before control is handed back without waiting for them
PENDING_MAX = 1_000_000  # readings that wait for a store that does not take them; then the oldest are dropped, and said


class Service:
    """Runs one configured run until its end, or until it is told to stop; then hands control back."""

    def __init__(self, config: RunConfig, state: StateDir, clock: Clock) -> None:
        self._config = config
        self._state = state
        self._clock = clock
        self._parts: Parts = assemble(config, state, clock, self._enqueue)
        self._pending: list[Reading] = []
        self._stop = asyncio.Event()
        self._acknowledged = 0
        self._control_problems: list[str] = []  # of the last heartbeat
        self._store_problem = ""
        self._heartbeats = 0
        self._blind_since: datetime | None = None
        self._failed_to_give_back: list[str] = []

    @property
    def store(self) -> Store:
        """The store that this process owns."""
        return self._parts.store

    async def state_now(self) -> State:
        """The state at this moment."""
        state, _ = await self._parts.loop.state(self._clock.now())
        return state

    def forecasts(self) -> Forecasts:
        """The forecasts of the last tick."""
        return self._parts.loop.last_forecasts

    def about(self) -> dict[str, Any]:
        """Site, mode, clock and what each point means."""
        site, signals = self._parts.site, self._parts.signals
        return {
            "site": site.site.model_dump(),
            "roles": site.roles.model_dump(),
            "control": site.control.model_dump(),
            "mode": self._config.mode.value,
            "run": self._config.run,
            "start": self._config.start.isoformat(),
            "now": self._clock.now().isoformat(),
            "speed": self._config.speed,
            "policy": self._parts.loop.policy.name,
            "signals": {
                "carbon": {"source": signals.carbon.source, "synthetic": signals.carbon.synthetic},
                "weather": {"source": signals.drybulb.source, "synthetic": signals.drybulb.synthetic},
            },
        }

    def health(self) -> dict[str, Any]:
        """Whether the loop runs, what is wrong with it, and what it has acknowledged."""
        last = self._parts.loop.last_decision
        problems = self._problems()
        return {
            "status": "stopping" if self._stop.is_set() else "degraded" if problems else "ok",
            "pid": os.getpid(),
            "mode": self._config.mode.value,
            "run": self._config.run,
            "now": self._clock.now().isoformat(),
            "last_decision_at": None if last is None else last.at.isoformat(),
            "readings_acknowledged": self._acknowledged,
            "heartbeats": self._heartbeats,
            "problems": problems,
        }

    def _problems(self) -> list[str]:
        """All that is wrong now, in words: the last tick's, control, devices that do not answer, the store."""
        loop = self._parts.loop
        silent = [
            f"{device.name}: {health.last_error or 'does not answer'}"
            for device in self._parts.devices
            if (health := loop.collector.health(device.name)).is_up is False
        ]
        store = [self._store_problem] if self._store_problem else []
        return [*loop.problems, *self._control_problems, *silent, *store]

    def summary(self) -> Summary:
        """The account of this run so far."""
        parts = self._parts
        end = min(self._clock.now(), self._config.until or datetime.max.replace(tzinfo=UTC))
        return settle(parts.store, parts.site.roles, parts.signals, self._config.run, self._config.start, end)

    def stop(self) -> None:
        """Ask for an orderly end."""
        self._stop.set()

    async def run(self) -> int:
        """Serve until the end; hands control back whatever happens. Returns the exit code."""
        async with self._parts:
            await (
                self._parts.read_all()
            )  # so that every meter has a reading from the start, and the first tick sees all
            async with self._api() as serving:
                if isinstance(self._clock, SharedClock):
                    await self._clock.started()
                await self._at_start()
                work = [self._collect(), self._flush(), self._beat(), self._ticks()]
                tasks = [asyncio.create_task(job) for job in work]
                stopped = asyncio.create_task(self._stop.wait())
                try:
                    await asyncio.wait([*tasks, serving, stopped], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    self._stop.set()
                    await self._wind_down([*tasks, stopped])
        return 1 if self._failed_to_give_back else _exit_code([*tasks, serving])

    async def _at_start(self) -> None:
        """What an earlier run left commanded is taken over at the next decision, or given back where none will come."""
        guard = self._parts.loop.guard
        for error in await guard.survey():
            log.warning("cannot tell what an earlier run left: %s", error)
        if not guard.left_over:
            return
        if self._config.mode is Mode.ACTIVE:
            await left_over.take_over(guard, self.store, self._clock.now())
        else:
            self._control_problems = await left_over.give_back(guard, self.store, self._clock.now())

    async def _wind_down(self, tasks: list[asyncio.Task[Any]]) -> None:
        loop = self._parts.loop
        loop.collector.stop()
        loop.guard.close()  # nothing that is still under way may write after control was handed back
        for task in tasks:
            task.cancel()
        # Control is handed back whatever becomes of the tasks. Their loops also end by the flag: a client library may
        # swallow a cancellation.
        _, late = await asyncio.wait(tasks, timeout=WIND_DOWN_S)
        if late:
            log.warning("%d tasks were slow to end", len(late))
        self._failed_to_give_back = await loop.guard.hand_back()
        if self._failed_to_give_back:  # once more: the device may have been busy
            self._failed_to_give_back = await loop.guard.hand_back()
        for error in self._failed_to_give_back:
            log.error("hand-back failed: %s", error)
        await self._commit()
        if self._config.until is not None and self._clock.now() >= self._config.until:
            write_json(self._state.summary, self.summary().to_json())

    def _listen(self) -> socket.socket:
        """The configured port; beside an emulated building any other where that was taken: api.json says which."""
        try:
            return listen_on(self._config.api_port)
        except ConfigError:
            if not self._parts.site.site.emulated:
                raise
            return listen_on(0)

    @contextlib.asynccontextmanager
    async def _api(self) -> AsyncIterator[asyncio.Task[None]]:
        app = make_api(self, self._state.token("api"))
        server = guest_server(app)
        listener = self._listen()
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.02)
        address = {"url": f"http://127.0.0.1:{listener.getsockname()[1]}", "pid": os.getpid()}
        write_json(self._state.api, address)
        try:
            yield serving
        finally:
            self._state.api.unlink(missing_ok=True)
            server.should_exit = True
            await asyncio.wait([serving])

    async def _collect(self) -> None:
        await self._parts.loop.collector.run()

    async def _enqueue(self, readings: list[Reading]) -> None:
        self._pending.extend(readings)

    async def _flush(self) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(FLUSH_S)
            await self._commit()

    async def _commit(self) -> None:
        """Keep what has come in; what the store does not take waits for the next time."""
        batch, self._pending = self._pending, []
        if not batch:
            return
        try:
            self._acknowledged += await asyncio.to_thread(self.store.append_readings, batch)
        except StoreError as error:
            self._pending = [*batch, *self._pending]
            dropped = max(len(self._pending) - PENDING_MAX, 0)
            del self._pending[:dropped]
            self._store_problem = f"readings wait, {dropped} were dropped: {error}"
            log.error("%s", self._store_problem)
        else:
            self._store_problem = ""

    async def _beat(self) -> None:
        while not self._stop.is_set():
            await self._beat_once()
            await self._clock.sleep(self._parts.heartbeat_s)

    async def _beat_once(self) -> None:
        """Hold what was decided; in heat and outside the hours for it the building's own control takes over at once."""
        if self._config.mode is not Mode.ACTIVE:
            guard = self._parts.loop.guard
            self._control_problems = await left_over.give_back(guard, self.store, self._clock.now())
            return
        loop, now = self._parts.loop, self._clock.now()
        state = State(now, loop.collector.snapshot(now))
        why = loop.guard.checks.heat(state) or loop.guard.checks.off_schedule(now) or self._long_blindness(state)
        if why:
            errors = await loop.guard.hand_back()
            self._control_problems = [f"control is given back: {why}", *errors]
            return
        errors = await loop.guard.let_go(state)
        errors += await loop.guard.beat(self._parts.signs_of_life(self._heartbeats + 1), state)
        self._heartbeats += not errors
        self._control_problems = [*errors, *self._parts.lost_control(), *loop.guard.departures(state)]

    def _long_blindness(self, state: State) -> str:
        """Why too little is seen, once that has lasted as long as a device waits for a heartbeat."""
        why = self._parts.loop.guard.checks.blindness(state)
        if not why:
            self._blind_since = None
            return ""
        self._blind_since = self._blind_since or state.at
        lasted_s = (state.at - self._blind_since).total_seconds()
        return why if lasted_s > 60.0 * self._parts.timeout_min else ""

    async def _ticks(self) -> None:
        """Decide at every multiple of the tick; a tick that was overrun is skipped, never made up for."""
        tick_s = self._parts.site.control.tick_s
        while not self._stop.is_set():
            due = next_multiple(self._clock.now(), tick_s)
            if self._config.until is not None and due > self._config.until:
                await self._sleep_until(self._config.until)
                return
            await self._sleep_until(due)
            decision = await self._parts.loop.tick(self._clock.now())
            log.info("%s: %d commands: %s", decision.at.isoformat(), len(decision.commands), decision.reason)
            for problem in self._parts.loop.problems:
                log.warning("%s", problem)

    async def _sleep_until(self, when: datetime) -> None:
        while not self._stop.is_set() and (left_s := (when - self._clock.now()).total_seconds()) > 0:
            await self._clock.sleep(left_s)


def next_multiple(now: datetime, step_s: float) -> datetime:
    """The next multiple of ``step_s`` since midnight UTC after ``now``."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    passed = int((now - midnight).total_seconds() // step_s)
    return midnight + timedelta(seconds=(passed + 1) * step_s)


def _exit_code(tasks: list[asyncio.Task[None]]) -> int:
    for task in tasks:
        if task.done() and not task.cancelled() and task.exception() is not None:
            log.error("the service failed", exc_info=task.exception())
            return 1
    return 0


async def serve(state: StateDir) -> int:
    """Run what is configured in ``state`` until its end or a signal."""
    config = load_run(state)
    clock: Clock = SharedClock(state) if config.load_site().site.emulated else WallClock()
    service = Service(config, state, clock)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    return await service.run()


def main(argv: list[str] | None = None) -> int:
    """``python -m apps.service DIR``: serve the run configured in the state directory."""
    from pathlib import Path

    arguments = sys.argv[1:] if argv is None else argv
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        return asyncio.run(serve(StateDir(Path(arguments[0]))))
    except EcoError as error:
        log.error("%s", error)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
