"""Runs a small hall through a simulated time full of faults, and counts what the controller did wrong."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apps.deciding import Decider, make_joint
from apps.faults.device import FaultyDevice, air_handler
from apps.faults.kinds import Fault, Kind, begin_at, draw, end_at
from apps.faults.life import ENGINEER, GRANT, Life
from apps.service import next_multiple
from apps.state_dir import StateDir
from facility.audit import Actor
from facility.clock import ManualClock
from facility.errors import EcoError
from facility.records import Mode, Point
from facility.site import Roles, Site, load_site
from twin.signals import synthetic_signals

START = datetime(2023, 1, 1, tzinfo=UTC)
PER_DAY = 30.0  # faults: more than 10,000 in a year
STEP_S = 60.0
COMMIT_S = 300.0
DOWN_S = 60.0  # a killed process is started again after so long
MAX_AGE_S = 600.0
HANDLERS = 3
SLACK_S = 120.0  # two steps of the campaign, on top of the time-out in which control must be given back
METER, SKY = "meter/it_power_w", ("meter/drybulb_c", "meter/rh_pct")


@dataclass(slots=True)
class Outcome:
    """What a campaign came to."""

    days: float
    seed: int
    faults: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)
    violations: int = 0
    stale_writes: int = 0
    lost_readings: int = 0
    lost_audit_rows: int = 0
    not_released: int = 0
    writes: int = 0
    ticks: int = 0
    beats: int = 0
    hand_backs: int = 0  # times that a device went from remote to its own control
    readings: int = 0
    audit_rows: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing went wrong that must not."""
        wrong = (self.violations, self.stale_writes, self.lost_readings, self.lost_audit_rows, self.not_released)
        return not any(wrong)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        names = [name for name in self.__slots__ if name != "by_kind"]
        return {**{name: getattr(self, name) for name in names}, "by_kind": dict(sorted(self.by_kind.items()))}


class Campaign:
    """One hall, one seed. The service dies and comes back; the devices and the disk stay."""

    def __init__(self, folder: Path, days: float, seed: int, per_day: float = PER_DAY) -> None:
        self._rng = random.Random(seed)
        self._clock = ManualClock(START)
        self._state = StateDir(folder).create()
        self._devices = _devices(self._rng)
        for device in self._devices:
            device.clock = self._clock
        self._site = _site(self._devices)
        self._decider = Decider(make_joint("", self._site, MAX_AGE_S), self._site, MAX_AGE_S)
        self._signals = synthetic_signals("US-CAL-CISO", START - timedelta(days=30), math.ceil(days) + 40, seed)
        self._end = START + timedelta(days=days)
        self._coming = draw(START, days, per_day, len(self._devices), self._rng)[::-1]
        self._open: list[Fault] = []
        self._life: Life | None = None
        self._born_at = START
        self._next_tick = self._next_commit = START
        self._acknowledged = self._audited = 0  # of lives that are over
        self._must_be_back: dict[str, datetime] = {}  # by device: since when nothing may hold it
        self._was_remote: set[str] = set()
        self.outcome = Outcome(days, seed)

    async def run(self, say: Callable[[float], None]) -> Outcome:
        """To the end; ``say`` is told the share that is done."""
        while self._clock.now() < self._end:
            self._weather()
            self._faults()
            if self._life is None and self._clock.now() >= self._born_at:
                await self._begin_life()
            if self._life is not None:
                await self._step(self._life)
            self._watch_release()
            self._clock.advance(STEP_S)
            say((self._clock.now() - START) / (self._end - START))
        await self._settle()
        return self.outcome

    # The building -------------------------------------------------------------------------------------------------

    def _weather(self) -> None:
        """True values: inlets follow the supply air in force, load and weather a day's course."""
        now = self._clock.now()
        day = 2.0 * math.pi * (now - START).total_seconds() / 86_400.0
        is_hot = any(fault.kind is Kind.HEAT for fault in self._open)
        for device in self._devices:
            for name in device.true:
                if name == METER:
                    device.true[name] = 30_000.0 + 8_000.0 * math.sin(day) + self._rng.gauss(0.0, 200.0)
                elif name in SKY:
                    device.true[name] = 15.0 - 6.0 * math.cos(day) if name == SKY[0] else 60.0
                else:
                    supply = device.remote.in_force("supply_air_setpoint_c")
                    device.true[name] = supply + 1.5 + self._rng.gauss(0.0, 0.1) + 10.0 * is_hot

    def _faults(self) -> None:
        now = self._clock.now()
        for fault in [one for one in self._open if one.until <= now]:
            self._open.remove(fault)
            end_at(fault, self._devices, self._open)
        while self._coming and self._coming[-1].at <= now:
            self._begin(self._coming.pop())
        cut = any(fault.kind is Kind.PARTITION for fault in self._open)
        for number, device in enumerate(self._devices):
            own = any(fault.kind is Kind.DEAD and fault.device == number for fault in self._open)
            device.is_dead = cut or own
        if self._life is not None:
            self._life.store.is_full = any(fault.kind is Kind.DISK for fault in self._open)
            self._life.outlook.is_out = any(fault.kind is Kind.PROVIDER for fault in self._open)

    def _begin(self, fault: Fault) -> None:
        self.outcome.faults += 1
        self.outcome.by_kind[fault.kind.value] += 1
        begin_at(fault, self._devices, self._clock.now())
        if fault.kind is Kind.KILL:
            self._kill()
        elif fault.kind is Kind.CLOCK:
            self._clock.advance(60.0 + 5_400.0 * fault.size)  # the machine slept, or its clock was set
        elif fault.kind is not Kind.PANEL:
            self._open.append(fault)

    # The service --------------------------------------------------------------------------------------------------

    async def _begin_life(self) -> None:
        self._life = Life(self._site, self._state, self._devices, self._clock, self._decider, self._signals)
        await self._life.heart.at_start()
        self._next_tick = next_multiple(self._clock.now(), self._site.control.tick_s)
        self._next_commit = self._clock.now()

    def _kill(self) -> None:
        """Nothing is given back and nothing kept: what waited for the store is gone."""
        if self._life is None:
            return
        self._count(self._life)
        self._life.store.close()
        self._life = None
        self._born_at = self._clock.now() + timedelta(seconds=DOWN_S)

    def _count(self, life: Life) -> None:
        self._acknowledged += life.keeper.acknowledged
        self._audited += life.keeper.audited

    async def _step(self, life: Life) -> None:
        """One minute: poll, heartbeat, and what is due."""
        now = self._clock.now()
        for polled in life.parts.polled:
            await life.loop.collector.poll(polled)
        await life.heart.beat()
        self.outcome.beats += 1
        if now >= self._next_tick:
            self._next_tick = next_multiple(now, self._site.control.tick_s)
            try:
                await life.loop.tick(now)
                self.outcome.ticks += 1
                if life.loop.last_state is not None:
                    await life.control.reapply(life.loop.last_state)
            except EcoError:
                self._kill()  # as the service: it ends with the error, and the supervisor starts it again
                return
        if now >= self._next_commit:
            self._next_commit = now + timedelta(seconds=COMMIT_S)
            await life.keeper.commit()
            await self._renew(life)

    async def _renew(self, life: Life) -> None:
        """The engineer comes by: grants another day, and lifts overrides that were found at the devices."""
        actor, now = Actor(ENGINEER, "operator"), self._clock.now()
        try:
            if life.control.modes.mode is Mode.SHADOW and self._rng.random() < 0.1:
                await life.control.set_mode(Mode.ACTIVE, actor, "campaign", now + GRANT)
            for point in list(life.control.overrides.held):
                if self._rng.random() < 0.02:
                    await life.control.lift(point, actor, "campaign")
        except EcoError:
            return  # the disk is full: another time

    # The witness --------------------------------------------------------------------------------------------------

    def _watch_release(self) -> None:
        """Whoever may not be in control has let go of each device within its time-out, or before."""
        now, timeout_s = self._clock.now(), 60.0 * self._site.control.fallback_timeout_min
        remote = {device.name for device in self._devices if device.is_remote}
        self.outcome.hand_backs += len(self._was_remote - remote)
        self._was_remote = remote
        for device in self._devices:
            if device.name not in remote or not self._why_back(device, now):
                self._must_be_back.pop(device.name, None)
                continue
            since = self._must_be_back.setdefault(device.name, now)
            if (now - since).total_seconds() > timeout_s + SLACK_S:
                self.outcome.not_released += 1
                self.outcome.examples.append(f"{now.isoformat()} {device.name} held: {self._why_back(device, now)}")
                self._must_be_back[device.name] = now

    def _why_back(self, device: FaultyDevice, now: datetime) -> str:
        """Why nobody may hold this device now; empty where somebody may."""
        if self._life is None:
            return "the service is dead"
        if device.is_dead:
            return "it cannot be reached"
        if self._life.control.modes.mode is not Mode.ACTIVE:
            return f"the mode is {self._life.control.modes.mode.value}"
        seen = [self._is_seen(name, now) for name in self._site.roles.rack_inlet_c]
        return "too few inlets are seen" if 2 * sum(seen) < len(seen) else ""

    def _is_seen(self, point: str, now: datetime) -> bool:
        at = next(one.delivered_at(point) for one in self._devices if point in one.points)
        return at is not None and (now - at).total_seconds() <= MAX_AGE_S

    async def _settle(self) -> None:
        """Start once more where it is dead, keep all, and count what the store has against what was acknowledged."""
        if self._life is None:
            await self._begin_life()
        life = self._life
        assert life is not None  # noqa: S101 - begun above
        life.store.is_full = False
        await life.keeper.commit()
        self._count(life)
        kept = life.store.counts()["readings"]
        rows = life.store.query("audit", limit=500_000).num_rows
        outcome = self.outcome
        outcome.readings, outcome.audit_rows = self._acknowledged, self._audited
        outcome.lost_readings = max(self._acknowledged - kept, 0)
        outcome.lost_audit_rows = max(self._audited - rows, 0)
        for device in self._devices:
            witness = device.witness
            outcome.writes += witness.writes
            outcome.violations += len(witness.violations)
            outcome.stale_writes += len(witness.stale_writes)
            outcome.examples += [*witness.violations[:3], *witness.stale_writes[:3]]
        life.store.close()


def _devices(rng: random.Random) -> list[FaultyDevice]:
    """Air handlers with two rack inlets each; the first also measures load and weather."""
    found = []
    for number in range(1, HANDLERS + 1):
        inlets = [f"crah-{number}/rack_{rack}_inlet_c" for rack in (1, 2)]
        device = air_handler(f"crah-{number}", inlets, MAX_AGE_S, rng)
        device.true = dict.fromkeys(inlets, 20.0)
        found.append(device)
    meters = [Point(METER, "power", "W", "meter"), Point(SKY[0], "temperature", "degC", "meter")]
    meter = FaultyDevice("meter", [*meters, Point(SKY[1], "humidity", "%", "meter")], {}, MAX_AGE_S)
    meter.true = {METER: 30_000.0, SKY[0]: 15.0, SKY[1]: 60.0}
    return [*found, meter]


def _site(devices: list[FaultyDevice]) -> Site:
    """The reference hall, its roles filled by the campaign's devices."""
    handlers = [device.name for device in devices if device.remote.local]
    roles = Roles(
        it_power_w=(METER,),
        rack_inlet_c=tuple(name for device in devices for name in device.true if name.endswith("inlet_c")),
        drybulb_c=SKY[0],
        rh_pct=SKY[1],
        supply_air_setpoint_c=tuple(f"{name}/supply_air_setpoint_c" for name in handlers),
        fan_speed_setpoint_pct=tuple(f"{name}/fan_speed_setpoint_pct" for name in handlers),
    )
    site = load_site()
    control = site.control.model_copy(update={"max_age_s": MAX_AGE_S, "heartbeat_s": STEP_S})
    return site.model_copy(update={"roles": roles, "control": control})
