"""Puts the parts of a run together: devices, cluster, signals, policy, guard and store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from apps.deciding import Decider, make_joint
from apps.modes import Grant, ModeRules, Modes
from apps.outlook import open_outlook
from apps.run_config import RunConfig
from apps.site_devices import CLUSTER, LOOPBACK, emulated_ports, open_devices
from apps.state_dir import StateDir
from apps.tick import Loop
from apps.world import signals_of
from facility.audit import SERVICE
from facility.checks import GuardLimits
from facility.clock import Clock
from facility.collector import Collector, Polled
from facility.errors import ConfigError
from facility.guard import Guard
from facility.journal import Journal
from facility.overrides import Overrides
from facility.profile import Release, load_profile
from facility.records import Actuator, Command, Quality, Reading
from facility.site import Site
from facility.store import Store
from scheduler.cluster.remote import RemoteCluster
from twin.signals import Signals

RESUME = timedelta(days=7)
JOB_DAYS = 60.0  # an emulated building has jobs for so long, and its loop may be active as long
TICKS_MISSED = 2.5  # setpoints that were not decided anew for so many ticks are held no longer
# However fast the clock of an emulated building runs, so many wall seconds are left at least:
SILENCE_S = 5.0  # to a device's time-out
POLL_S = 0.25  # between two polls of a device
BEAT_S = 0.5  # between two heartbeats
FRESH_S = 1.0  # until a reading is stale


@dataclass(slots=True)
class Parts:
    """The assembled run; as an async context it closes connections and the store at the end."""

    site: Site
    store: Store
    loop: Loop
    devices: tuple[Actuator, ...]
    polled: tuple[Polled, ...]
    modes: Modes
    overrides: Overrides
    speed: float = 1.0
    releases: dict[str, Release] = field(default_factory=dict)  # by device name, where control has a time-out

    @property
    def signals(self) -> Signals:
        """Carbon, weather and price as they are known now."""
        return self.loop.outlook.signals

    @property
    def heartbeat_s(self) -> float:
        """Seconds of the clock between two heartbeats."""
        return max(self.site.control.heartbeat_s, BEAT_S * self.speed)

    @property
    def timeout_min(self) -> float:
        """Minutes of the clock after which a device that hears nothing goes back to its own control."""
        return max(self.site.control.fallback_timeout_min, SILENCE_S * self.speed / 60.0)

    async def read_all(self) -> None:
        """Read every device once, each within its deadline."""
        await asyncio.gather(*(self.loop.collector.poll(one) for one in self.polled))

    def signs_of_life(self, count: int) -> dict[str, list[Command]]:
        """By device: what keeps it under remote control, which are enable, time-out, and a count that moves."""
        return {name: self._keep_alive(name, release, count) for name, release in self.releases.items()}

    def is_back(self, device: str) -> bool:
        """Whether a device reports itself that nobody commands it; one that cannot tell does not."""
        release = self.releases.get(device)
        reading = None if release is None else self.loop.collector.latest.get(f"{device}/{release.active_point}")
        return reading is not None and reading.value == 0.0

    def lost_control(self) -> list[str]:
        """Devices that are held and report themselves that nobody commands them, in words."""
        held = {point.split("/")[0] for point in self.loop.guard.left_over}
        return [f"{name} is back under its own control" for name in sorted(held) if self.is_back(name)]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for device in self.devices:
            await device.close()
        if self.loop.cluster is not None:
            await self.loop.cluster.close()
        self.loop.outlook.close()
        self.store.close()

    def _keep_alive(self, name: str, release: Release, count: int) -> list[Command]:
        reason = "keeps remote control; the device reverts by itself when this stops"
        timeout_point = f"{name}/{release.timeout_point}"
        longest_min = next((device.points[timeout_point].max for device in self.devices if device.name == name), None)
        commands = [Command(timeout_point, min(self.timeout_min, longest_min or self.timeout_min), "min", reason)]
        if release.release_point:
            commands += [
                Command(f"{name}/{release.release_point}", 1.0 - release.release_value, "1", reason),
                Command(f"{name}/{release.heartbeat_point}", float(count % 60000), "1", reason),
            ]
        return commands


def assemble(
    config: RunConfig, state: StateDir, clock: Clock, sink: Callable[[list[Reading]], Awaitable[None]]
) -> Parts:
    """All parts of ``config``; raises EcoError with what to do where one of them cannot be had."""
    site = config.load_site()
    modes = Modes(state.mode, config.run, _first_grant(config), mode_rules(site))
    if not site.device:
        hint = "add a [[device]] table for each, as in data/site.toml; `eco site check` tries them"
        raise ConfigError("no devices are configured: there is nothing to read", where=config.site, hint=hint)
    signals = signals_of(config.sources, site, config.start, year=config.start.year)
    journal = Journal(state.journal, identity(site))
    devices = open_devices(site, state, clock)
    cluster = _cluster(site, state)
    guarded: tuple[Actuator, ...] = devices if cluster is None else (*devices, cluster)
    polled = tuple(
        Polled(device, max(settings.poll_s, POLL_S * config.speed), settings.deadline_s)
        for device, settings in zip(devices, site.device, strict=True)
    )
    max_age_s = fresh_s(site, config.speed)
    policy = make_joint("", site, max_age_s)
    overrides = Overrides(state.overrides)
    store = Store.open(state.database, config.run)
    collector = Collector(polled, clock, sink)
    collector.resume(_newest(store, clock.now()))
    loop = Loop(
        collector=collector,
        cluster=cluster,
        outlook=open_outlook(config.sources, site, signals, state.root / "carbon"),
        decider=Decider(policy, site, max_age_s),
        guard=Guard(guarded, guard_limits(site, config.speed), journal, modes.mode, overrides),
        store=store,
    )
    return Parts(site, store, loop, devices, polled, modes, overrides, config.speed, _releases(site))


def _newest(store: Store, now: datetime) -> list[Reading]:
    """The newest stored reading of every point of the last days, so that unwrapped counters go on."""
    rows = store.query("latest", start=now - RESUME).to_pylist()
    return [
        Reading(row["point"], row["value"], row["unit"], row["ts"], Quality(row["quality"]), row["source"])
        for row in rows
    ]


def identity(site: Site) -> str:
    """A site by its name and by what its devices are: a copy of the file with other addresses is another site."""
    addresses = "\n".join(f"{one.name} {one.protocol} {one.host} {one.port} {one.unit_id}" for one in site.device)
    kind = "emulated" if site.site.emulated else "real"
    return f"{site.site.name} ({kind}, {hashlib.sha256(addresses.encode()).hexdigest()[:12]})"


def fresh_s(site: Site, speed: float) -> float:
    """Seconds until a reading is stale."""
    return max(site.control.max_age_s, FRESH_S * speed)


def mode_rules(site: Site) -> ModeRules:
    """What ``site`` allows: an emulated one, or one that consents, whose rack inlets are watched."""
    longest = timedelta(hours=site.service.active_max_h)
    if not site.site.emulated and not site.service.allow_active:
        return ModeRules("mode active is for an emulated site, or one whose [service] says allow_active", longest)
    if site.site.emulated and any(device.allow_gpu_writes for device in site.device):
        return ModeRules("an emulated site must not command the GPUs of this machine: allow_gpu_writes", longest)
    if not site.roles.rack_inlet_c:
        return ModeRules("it needs rack inlet temperatures to watch, named in [roles] rack_inlet_c", longest)
    return ModeRules("", timedelta(days=JOB_DAYS) if site.site.emulated else longest)


def _first_grant(config: RunConfig) -> Grant:
    person = config.person or SERVICE.name
    return Grant(config.mode, config.start, person, why="as the run was started", until=config.active_until)


def guard_limits(site: Site, speed: float) -> GuardLimits:
    """What the guard of ``site`` holds every write to."""
    return GuardLimits(
        max_age_s=fresh_s(site, speed),
        watch=site.roles.rack_inlet_c,
        watch_max=site.control.inlet_limit_c,
        rate_s=site.control.tick_s,
        windows=site.control.window,
        timezone=site.site.timezone,
        hold_s=TICKS_MISSED * site.control.tick_s,
    )


def _cluster(site: Site, state: StateDir) -> RemoteCluster | None:
    """The emulated building carries a cluster of its own; a real one is not part of a device list."""
    port = emulated_ports(site, state).get(CLUSTER)
    return None if port is None else RemoteCluster(f"http://{LOOPBACK}:{port}", state.token(CLUSTER))


def _releases(site: Site) -> dict[str, Release]:
    found = {}
    for device in site.device:
        if device.profile:
            release = load_profile(device.profile).release
            if release.timeout_point:
                found[device.name] = release
    return found
