"""Puts the parts of a run together: devices, cluster, signals, policy, guard and store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from apps.outlook import open_outlook
from apps.run_config import RunConfig
from apps.site_devices import CLUSTER, LOOPBACK, emulated_ports, open_devices
from apps.state_dir import StateDir
from apps.tick import Loop
from apps.world import signals_of
from facility.checks import GuardLimits
from facility.clock import Clock
from facility.collector import Collector, Polled
from facility.errors import ConfigError
from facility.guard import Guard
from facility.journal import Journal
from facility.profile import Release, load_profile
from facility.records import Actuator, Command, Mode, Quality, Reading
from facility.site import Site
from facility.store import Store
from scheduler.cluster.remote import RemoteCluster
from scheduler.joint import JointPolicy
from scheduler.rules import make_policy
from twin.plant import plant_control
from twin.signals import Signals

RESUME = timedelta(days=7)
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

    def lost_control(self) -> list[str]:
        """Devices that are held and report themselves that nobody commands them, in words."""
        latest, held = self.loop.collector.latest, {point.split("/")[0] for point in self.loop.guard.left_over}
        active = {name: f"{name}/{self.releases[name].active_point}" for name in sorted(held & set(self.releases))}
        lost = [name for name, point in active.items() if point in latest and latest[point].value == 0.0]
        return [f"{name} is back under its own control" for name in lost]

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
    _refuse_unsafe(config, site)
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
    jobs, plant = make_policy(site.control.policy), plant_control(site.control.plant, site.hall)
    store = Store.open(state.database, config.run)
    collector = Collector(polled, clock, sink)
    collector.resume(_newest(store, clock.now()))
    loop = Loop(
        collector=collector,
        cluster=cluster,
        outlook=open_outlook(config.sources, site, signals, state.root / "carbon"),
        policy=JointPolicy(jobs, plant, site.roles, max(site.control.max_age_s, FRESH_S * config.speed)),
        guard=Guard(guarded, _limits(site, config.speed), journal, config.mode),
        store=store,
        mode=config.mode,
    )
    return Parts(site, store, loop, devices, polled, config.speed, _releases(site))


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


def _refuse_unsafe(config: RunConfig, site: Site) -> None:
    """Only an emulated site is commanded, and none whose rack inlets are not watched."""
    if config.mode is not Mode.ACTIVE:
        return
    if not site.site.emulated:
        raise ConfigError("mode active is for an emulated site", where=config.site, hint="run it in shadow")
    if any(device.allow_gpu_writes for device in site.device):
        raise ConfigError("an emulated site must not command the GPUs of this machine", where="allow_gpu_writes")
    if not site.roles.rack_inlet_c:
        raise ConfigError(
            "mode active needs rack inlet temperatures to watch",
            where=config.site,
            hint="name their points in [roles] rack_inlet_c",
        )


def _limits(site: Site, speed: float) -> GuardLimits:
    return GuardLimits(
        max_age_s=max(site.control.max_age_s, FRESH_S * speed),
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
