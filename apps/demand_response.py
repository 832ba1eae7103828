"""Runs demand-response events: takes power off within the guard's rules, holds it off, and brings it back by and by."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from apps.event_record import Event, EventOrder, Phase, Touched
from apps.event_report import REBOUND_S, EventReport, report
from apps.state_dir import StateDir, read_json, write_json
from apps.tick import Loop
from facility.audit import SERVICE, Actor, AuditEntry
from facility.checks import Authority
from facility.errors import DataError
from facility.records import JOB_GPU_CAP_W, JOB_RUN_FLAG, Command, JobPhase, JobStatus, Mode, State
from facility.site import Site
from facility.written import Written
from scheduler.joint import WATTS
from scheduler.placement import place, take
from scheduler.shed import shed

log = logging.getLogger("eco.event")

MAX_AGE_S = 300.0
MARGIN = 1.1  # so much more is taken off than was ordered: the load goes on changing
RAISE_K = 2.0  # supply air and chilled water, held warmer for the time of the event
SUPPLY_MAX_C = 26.0  # a kelvin below the recommended upper end of ASHRAE TC 9.9 (2021), 27 C at the inlet
SETTLE_S = 45.0  # after an act, before the meter is believed again
BACK_STEP_S = 60.0  # between two steps of coming back
BACK_STEPS = 10.0  # in so many steps all jobs come back


class DemandResponse:
    """At most one event at a time; it is on disk, and a restarted service goes on with it."""

    def __init__(self, loop: Loop, site: Site, state: StateDir, run: str, max_age_s: float = MAX_AGE_S) -> None:
        """``max_age_s``: an older reading of the main meter is none."""
        self._max_age_s = max_age_s
        self._loop, self._site, self._path, self._run = loop, site, state.event, run
        content = read_json(self._path)
        self._event = Event.from_json(content) if content is not None else None
        self._stepped_at: datetime | None = None

    @property
    def event(self) -> Event | None:
        """The last event; None where there was none."""
        return self._event

    def withholds(self, command: Command) -> str:
        """Why a command of the policy must wait, in words; empty where it need not."""
        event = self._event
        if event is None or not event.is_open:
            return ""
        is_start = command.point.endswith(f"/{JOB_RUN_FLAG}") and command.value != 0.0
        is_cap = command.point.endswith(f"/{JOB_GPU_CAP_W}")
        if is_start or is_cap or command.point in event.setpoints:
            return f"event {event.order.name} holds load down until {event.order.until:%H:%M} UTC"
        return ""

    async def order(self, shed_w: float, for_s: float, actor: Actor, why: str, at: datetime) -> AuditEntry:
        """Begin to shed at once; raises DataError where that cannot be."""
        if self._event is not None and self._event.is_open:
            raise DataError("an event is under way already", where=self._event.order.name, hint="stop it first")
        mode = self._loop.guard.mode
        if mode not in (Mode.ACTIVE, Mode.ADVISORY):
            raise DataError(f"nothing is written in mode {mode.value}", where="mode", hint="set active or advisory")
        order = EventOrder(
            name=f"{at:%Y%m%dT%H%M%SZ}",
            shed_w=shed_w,
            started_at=at,
            until=at + timedelta(seconds=for_s),
            person=actor.name,
            role=actor.role,
            why=why,
            baseline_w=self._baseline_w(at),
        )
        self._event = Event(order)
        self._keep()  # before the first write: a crash must not leave jobs held by nobody
        await self._take_off(self._event, shed_w, at)
        return self._entry(self._event, at, "ordered", actor)

    async def step(self, at: datetime) -> list[AuditEntry]:
        """Go on with what is under way; to be called every few seconds. Returns what the audit keeps."""
        event = self._event
        if event is None or event.is_over:
            return []
        before = event.phase
        if event.phase is Phase.SHEDDING:
            await self._hold(event, at)
        elif event.phase is Phase.RECOVERING:
            await self._come_back(event, at)
        elif event.ended_at is not None and (at - event.ended_at).total_seconds() >= REBOUND_S:
            event.phase = Phase.DONE
        if event.phase is before:
            return []
        self._keep()
        return [self._entry(event, at, event.phase.value, SERVICE)]

    async def end(self, actor: Actor, at: datetime) -> AuditEntry:
        """End the shedding early, in order; raises DataError where none is under way."""
        event = self._event
        if event is None or event.phase is not Phase.SHEDDING:
            raise DataError("no event is under way", where="event")
        self._begin_recovery(event, at)
        self._keep()
        return self._entry(event, at, "ended early", actor)

    async def abandon(self, actor: Actor, at: datetime) -> list[AuditEntry]:
        """Let everything go at once: control is being given back, in whatever mode."""
        event = self._event
        if event is None or not event.is_open:
            return []
        points = [point for job in event.jobs.values() if not job.is_back for point in _points(job)]
        event.errors += await self._loop.guard.let_jobs_go(points)
        event.phase, event.ended_at, event.back_at = Phase.STOPPED, event.ended_at or at, at
        event.setpoints.clear()
        self._keep()
        return [self._entry(event, at, "stopped", actor)]

    async def renew(self, state: State) -> list[Written]:
        """Decide the raised setpoints anew, as a tick does with all others."""
        event = self._event
        if event is None or event.phase is not Phase.SHEDDING:
            return []
        return await self._loop.guard.apply(self._raised(event, state), state, Authority.CONSENT)

    def report(self) -> EventReport | None:
        """The last event in figures; None where there was none."""
        meter = self._site.roles.facility_power_w
        return None if self._event is None else report(self._event, self._loop.store, meter, self._run)

    # Shedding -----------------------------------------------------------------------------------------------------

    async def _hold(self, event: Event, at: datetime) -> None:
        if at >= event.order.until:
            self._begin_recovery(event, at)
            return
        power_w = self._meter_w(at, event.acted_at)
        missing_w = 0.0 if power_w is None else power_w - (event.order.baseline_w - event.order.shed_w)
        has_settled = event.acted_at is None or (at - event.acted_at).total_seconds() >= SETTLE_S
        if missing_w > 0.0 and has_settled:
            await self._take_off(event, missing_w, at)

    async def _take_off(self, event: Event, wanted_w: float, at: datetime) -> None:
        state, problems = await self._loop.state(at)
        reason = f"event {event.order.name}: {event.order.shed_w / 1000:g} kW less until {event.order.until:%H:%M} UTC"
        plan = shed(state, self._site.hall, MARGIN * wanted_w, reason)
        event.acted_at = at
        if event.setpoints and not plan.commands:
            return  # there is nothing more to be had
        if not event.setpoints:
            self._raise_setpoints(event, state)
        known = {status.job.name: status for status in state.jobs}
        for command in plan.commands:
            _note(event, command, known)
        self._keep()
        commands = (*self._raised(event, state), *plan.commands)
        written = await self._loop.guard.apply(commands, state, Authority.CONSENT)
        event.errors += [*problems, *_errors(written)]
        log.warning("%s: %d commands, %.1f kW expected", reason, len(commands), plan.expected_w / 1000.0)
        self._keep()

    def _raise_setpoints(self, event: Event, state: State) -> None:
        roles = self._site.roles
        for points, most_c in ((roles.supply_air_setpoint_c, SUPPLY_MAX_C), (roles.chw_supply_setpoint_c, math.inf)):
            for point in points:
                now = state.points.get(point)
                if now is not None and now.value is not None and now.value < most_c:
                    event.setpoints[point] = min(now.value + RAISE_K, most_c)

    def _raised(self, event: Event, state: State) -> list[Command]:
        reason = f"event {event.order.name}: the plant rests while load is down"
        return [Command(point, value, "degC", reason) for point, value in event.setpoints.items()]

    def _baseline_w(self, at: datetime) -> float:
        """What the main meter shows when the order comes: a mean over the past would know nothing of the last tick."""
        meter = self._site.roles.facility_power_w
        if not meter:
            raise DataError("no main meter is configured", where="[roles] facility_power_w", hint="name its point")
        power_w = self._meter_w(at, None)
        if power_w is None:
            raise DataError("the main meter gives no good and fresh reading", where=meter, hint="see /v1/alarms")
        return power_w

    def _meter_w(self, at: datetime, after: datetime | None) -> float | None:
        """The newest reading, in watts; None where it is missing, old, or from before ``after``."""
        reading = self._loop.collector.snapshot(at).get(self._site.roles.facility_power_w)
        if reading is None or reading.value is None or reading.unit not in WATTS:
            return None
        is_new = after is None or reading.measured_at > after
        return WATTS[reading.unit] * reading.value if is_new and reading.is_usable(self._max_age_s) else None

    # Coming back --------------------------------------------------------------------------------------------------

    def _begin_recovery(self, event: Event, at: datetime) -> None:
        event.phase, event.ended_at, self._stepped_at = Phase.RECOVERING, at, None
        event.setpoints.clear()  # the next tick decides them again; the guard holds each step to the point's limit

    async def _come_back(self, event: Event, at: datetime) -> None:
        """A few jobs each minute: all at once would be a new peak."""
        if self._stepped_at is not None and (at - self._stepped_at).total_seconds() < BACK_STEP_S:
            return
        self._stepped_at = at
        state, problems = await self._loop.state(at)
        if problems:
            return  # the cluster does not answer: later
        known = {status.job.name: status for status in state.jobs}
        free = {node.name: node.gpus_free for node in state.nodes if not node.parked}
        waiting = [job for job in event.jobs.values() if not job.is_back]
        commands: list[Command] = []
        for job in waiting[: math.ceil(len(event.jobs) / BACK_STEPS)]:
            now = known.get(job.name)
            left_s = None if now is None else now.remaining_s  # None: done, or taken away
            event.jobs[job.name] = job.model_copy(update={"is_back": True, "left_s": left_s})
            if now is not None:
                commands += self._back(event, job, now, free)
        event.errors += _errors(await self._loop.guard.apply(commands, state, Authority.CONSENT))
        if all(job.is_back for job in event.jobs.values()):
            event.phase, event.back_at = Phase.WATCHING, at
        self._keep()

    def _back(self, event: Event, job: Touched, now: JobStatus, free: dict[str, int]) -> list[Command]:
        """As it was before the event; a job for which there is no room is left to the policy, which starts it."""
        reason, commands = f"event {event.order.name} is over", []
        if job.is_capped:
            commands.append(Command(f"{job.name}/{JOB_GPU_CAP_W}", job.gpu_cap_w, "W", reason))
        if job.is_suspended and now.phase is not JobPhase.RUNNING:
            placement = place(now.job.gpus, free, self._site.hall.node.gpu.per_node)
            if placement is not None:
                take(free, placement)
                commands.append(Command(f"{job.name}/{JOB_RUN_FLAG}", 1.0, "1", reason, placement))
        return commands

    # Keeping ------------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        if self._event is not None:
            write_json(self._path, self._event.to_json())

    def _entry(self, event: Event, at: datetime, action: str, actor: Actor) -> AuditEntry:
        order = event.order
        payload = {"order": order.model_dump(mode="json"), "jobs": sorted(event.jobs), "errors": event.errors}
        if event.phase is Phase.DONE and (found := self.report()) is not None:
            payload["report"] = found.to_json()
        return AuditEntry(at, "event", order.name, action, actor, order.why, after=event.phase.value, payload=payload)


def _note(event: Event, command: Command, known: dict[str, JobStatus]) -> None:
    """Keep how the job was before it was touched for the first time."""
    name, _, quantity = command.point.rpartition("/")
    job = event.jobs.get(name) or Touched.of(known[name])
    done = {"is_capped": True} if quantity == JOB_GPU_CAP_W else {"is_suspended": True}
    event.jobs[name] = job.model_copy(update=done)


def _points(job: Touched) -> list[str]:
    capped = [f"{job.name}/{JOB_GPU_CAP_W}"] if job.is_capped else []
    return [*capped, f"{job.name}/{JOB_RUN_FLAG}"] if job.is_suspended else capped


def _errors(written: Sequence[Written]) -> list[str]:
    refused = [
        f"{one.verdict.command.point}: {one.verdict.rule} {one.verdict.detail}"
        for one in written
        if one.verdict.value is None and one.verdict.rule
    ]
    return [*refused, *(one.error for one in written if one.error)]
