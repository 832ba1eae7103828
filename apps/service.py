"""The control-loop service: collector, store, forecasts, policy, guard and API in one process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apps.account import Summary, settle
from apps.assembly import Parts, assemble, fresh_s
from apps.codec import series_json
from apps.control import Control
from apps.demand_response import DemandResponse
from apps.heart import Heart
from apps.keeper import FLUSH_S, Keeper
from apps.proposals import Status
from apps.run_config import RunConfig, load_run
from apps.serving import serve_api
from apps.shared_clock import SharedClock
from apps.started import started_entry
from apps.state_dir import StateDir, write_json
from apps.supervise import CONFIG_EXIT
from apps.token_audit import TokenAudit
from apps.tokens import Tokens
from apps.upkeep import Upkeep
from apps.watch import Watch
from facility.audit import SERVICE
from facility.clock import Clock, WallClock
from facility.errors import ConfigError, EcoError
from facility.records import Forecasts, Mode, Reading, State
from facility.rollups import History
from facility.store import Store

log = logging.getLogger("eco.service")

WIND_DOWN_S = 5.0  # wall seconds that tasks have to end before control is handed back without waiting for them


class Service:
    """Runs one configured run until its end, or until it is told to stop; then hands control back."""

    def __init__(self, config: RunConfig, state: StateDir, clock: Clock) -> None:
        self._config, self._state, self._clock = config, state, clock
        self._parts: Parts = assemble(config, state, clock, self._offer)
        self.keeper = Keeper(self._parts.store)
        demand = DemandResponse(self._parts.loop, self._parts.site, state, config.run)
        self.control = Control(self._parts, self.keeper, clock, demand)
        self.heart = Heart(self._parts, self.control, clock)
        max_age_s = fresh_s(self._parts.site, config.speed)
        self.watch = Watch(self._parts.site, self._parts.store, config.run, max_age_s)
        history = History(self._parts.store, state.history, self._parts.site.service.history)
        tokens = TokenAudit(Tokens(state.tokens), self._parts.store)
        self._upkeep = Upkeep(self._parts, self.control, self.keeper, self.watch, history, tokens, clock)
        self._stop = asyncio.Event()
        self._ticks_done = 0
        self._failed_to_give_back: list[str] = []

    @property
    def store(self) -> Store:
        """The store that this process owns."""
        return self._parts.store

    @property
    def parts(self) -> Parts:
        """What the run is put together from."""
        return self._parts

    async def state_now(self) -> State:
        """The state at this moment."""
        state, _ = await self._parts.loop.state(self._clock.now())
        return state

    def now(self) -> datetime:
        """The time by the run's clock."""
        return self._clock.now()

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
            "report": site.report.model_dump(mode="json"),
            "hall": {"gpus": site.hall.gpus, "gpu_model": site.hall.node.gpu.model},
            "mode": self.control.modes.mode.value,
            "grant": self.control.modes.grant.to_json(),
            "run": self._config.run,
            "start": self._config.start.isoformat(),
            "now": self._clock.now().isoformat(),
            "speed": self._config.speed,
            "policy": self._parts.loop.decider.policy.name,
            "signals": {
                "carbon": {"source": signals.carbon.source, "synthetic": signals.carbon.synthetic},
                "weather": {"source": signals.drybulb.source, "synthetic": signals.drybulb.synthetic},
            },
        }

    def counters(self) -> dict[str, float]:
        """What only counts up or tells how full something is, by name: for metrics."""
        keeper = self.keeper
        return {
            "readings_acknowledged_total": float(keeper.acknowledged),
            "readings_dropped_total": float(keeper.dropped + self._parts.loop.collector.dropped),
            "readings_waiting": float(keeper.waiting),
            "audit_rows_total": float(keeper.audited),
            "heartbeats_total": float(self.heart.beats),
            "ticks_total": float(self._ticks_done),
            "overrides_held": float(len(self.control.overrides.held)),
            "proposals_open": float(len(self.control.proposals.listed(Status.OPEN))),
        }

    def alarms(self) -> list[dict[str, Any]]:
        """What is wrong now, worst first."""
        return self.watch.now()

    def carbon(self) -> dict[str, Any]:
        """The grid's intensity as energy is accounted with it."""
        return series_json(self._parts.signals.carbon)

    def health(self) -> dict[str, Any]:
        """Whether the loop runs, what is wrong with it, and what it has acknowledged."""
        last = self._parts.loop.last_decision
        problems = self._problems()
        return {
            "status": "stopping" if self._stop.is_set() else "degraded" if problems else "ok",
            "pid": os.getpid(),
            "mode": self.control.modes.mode.value,
            "run": self._config.run,
            "now": self._clock.now().isoformat(),
            "last_decision_at": None if last is None else last.at.isoformat(),
            "readings_acknowledged": self.keeper.acknowledged,
            "audit_rows": self.keeper.audited,
            "heartbeats": self.heart.beats,
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
        store = [self.keeper.problem] if self.keeper.problem else []
        return [*loop.problems, *self.heart.problems, *silent, *store, *self._upkeep.problems]

    def summary(self) -> Summary:
        """The account of this run so far."""
        parts = self._parts
        end = min(self._clock.now(), self._config.until or datetime.max.replace(tzinfo=UTC))
        tick_s = parts.site.control.tick_s
        return settle(parts.store, parts.site.roles, parts.signals, self._config.run, self._config.start, end, tick_s)

    def stop(self) -> None:
        """Ask for an orderly end."""
        self._stop.set()

    async def run(self) -> int:
        """Serve until the end; hands control back whatever happens. Returns the exit code."""
        async with self._parts:
            # So that every meter has a reading from the start, and the first tick sees all.
            await self._parts.read_all()
            self.keeper.note(started_entry(self._config, self._parts, self._clock.now()))
            async with serve_api(self, self._state, self._config, self._parts.site) as serving:
                if isinstance(self._clock, SharedClock):
                    await self._clock.started()
                await self.heart.at_start()
                work = [self._parts.loop.collector.run(), self._flush(), self.heart.run(self._stop)]
                work += [self._ticks(), self._upkeep.run(self._stop)]
                tasks = [asyncio.create_task(job) for job in work]
                stopped = asyncio.create_task(self._stop.wait())
                try:
                    await asyncio.wait([*tasks, serving, stopped], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    self._stop.set()
                    await self._wind_down([*tasks, stopped])
        return 1 if self._failed_to_give_back else _exit_code([*tasks, serving])

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
        for row in await self.control.demand.abandon(SERVICE, self._clock.now()):
            self.keeper.note(row)
        self._failed_to_give_back = await loop.guard.hand_back()
        if self._failed_to_give_back:  # once more: the device may have been busy
            self._failed_to_give_back = await loop.guard.hand_back()
        for error in self._failed_to_give_back:
            log.error("hand-back failed: %s", error)
        await self.keeper.commit()
        if self._config.until is not None and self._clock.now() >= self._config.until:
            write_json(self._state.summary, self.summary().to_json())

    async def _offer(self, readings: list[Reading]) -> None:
        await self.keeper.offer(readings)

    async def _flush(self) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(FLUSH_S)
            await self.keeper.commit()

    async def _ticks(self) -> None:
        """Decide at every multiple of the tick; a tick that was overrun is skipped, never made up for."""
        tick_s = self._parts.site.control.tick_s
        while not self._stop.is_set():
            due = next_multiple(self._clock.now(), tick_s)
            if self._config.until is not None and due > self._config.until:
                await self._sleep_until(self._config.until)
                return
            await self._sleep_until(due)
            if self.control.modes.mode is not Mode.OFF and not self._stop.is_set():
                await self._tick(next_multiple(due, tick_s))

    async def _tick(self, next_due: datetime) -> None:
        loop = self._parts.loop
        decision = await loop.tick(self._clock.now())
        self._ticks_done += 1
        log.info("%s: %d commands: %s", decision.at.isoformat(), len(decision.commands), decision.reason)
        for problem in loop.problems:
            log.warning("%s", problem)
        if loop.last_state is not None:
            self.control.propose(loop.last_state, next_due)
            await self.control.reapply(loop.last_state)
            await self.control.demand.renew(loop.last_state)

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
    arguments = sys.argv[1:] if argv is None else argv
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        return asyncio.run(serve(StateDir(Path(arguments[0]))))
    except ConfigError as error:
        log.error("%s", error)
        return CONFIG_EXIT
    except EcoError as error:
        log.error("%s", error)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
