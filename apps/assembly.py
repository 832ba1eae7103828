"""Puts the parts of a run together: devices, cluster, signals, policy, guard and store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from apps.run_config import RunConfig
from apps.state_dir import StateDir, read_json
from apps.tick import Loop
from apps.world import signals_of
from facility.clock import Clock
from facility.collector import Collector, Polled
from facility.devices import open_device
from facility.errors import ConfigError
from facility.guard import Guard, GuardLimits
from facility.profile import Release, load_profile
from facility.records import Actuator, Command, Reading
from facility.site import Site
from facility.store import Store
from scheduler.cluster.remote import RemoteCluster
from scheduler.joint import JointPolicy
from scheduler.rules import make_policy
from twin.plant import plant_control
from twin.signals import Signals

CLUSTER = "cluster"


@dataclass(slots=True)
class Parts:
    """The assembled run; as an async context it closes connections and the store at the end."""

    site: Site
    signals: Signals
    store: Store
    loop: Loop
    devices: tuple[Actuator, ...]
    releases: dict[str, Release] = field(default_factory=dict)  # by device name, where control has a time-out

    def all_read(self) -> bool:
        """Whether every device has been polled at least once."""
        latest = self.loop.collector.latest
        return all(f"{device.name}/health_up_flag" in latest for device in self.devices)

    def heartbeat(self, count: int) -> list[Command]:
        """What keeps each device that was written under remote control: enable, time-out, and a count that moves."""
        under_control = {point.split("/")[0] for point in self.loop.guard.left_over}
        commands = []
        for name, release in self.releases.items():
            if name in under_control:
                commands += _keep_alive(name, release, count, self.site.control.fallback_timeout_min)
        return commands

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for device in self.devices:
            await device.close()
        if self.loop.cluster is not None:
            await self.loop.cluster.close()
        self.store.close()


def _keep_alive(name: str, release: Release, count: int, timeout_min: float) -> list[Command]:
    reason = "keeps remote control; the device reverts by itself when this stops"
    return [
        Command(f"{name}/{release.timeout_point}", timeout_min, "min", reason),
        Command(f"{name}/{release.release_point}", 1.0 - release.release_value, "1", reason),
        Command(f"{name}/{release.heartbeat_point}", float(count % 60000), "1", reason),
    ]


def assemble(
    config: RunConfig, state: StateDir, clock: Clock, sink: Callable[[list[Reading]], Awaitable[None]]
) -> Parts:
    """All parts of ``config``; raises EcoError with what to do where one of them cannot be had."""
    site = config.load_site()
    if not site.device:
        hint = "add a [[device]] table for each, as in data/site.toml; `eco site check` tries them"
        raise ConfigError("no devices are configured: there is nothing to read", where=config.site, hint=hint)
    signals = signals_of(config.sources, site, config.start)
    store = Store.open(state.database)
    ports = read_json(state.ports) or {}
    devices = tuple(open_device(device, clock, port=ports.get(device.name)) for device in site.device)
    cluster = _cluster(site, state, ports)
    guarded: tuple[Actuator, ...] = devices if cluster is None else (*devices, cluster)
    limits = GuardLimits(max_age_s=site.control.max_age_s, watch=site.roles.rack_inlet_c)
    polled = [
        Polled(device, settings.poll_s, settings.deadline_s)
        for device, settings in zip(devices, site.device, strict=True)
    ]
    loop = Loop(
        collector=Collector(polled, clock, sink),
        cluster=cluster,
        signals=signals,
        policy=JointPolicy(make_policy(site.control.policy), plant_control(site.control.plant, site.hall), site.roles),
        guard=Guard(guarded, limits, state.journal),
        store=store,
        mode=config.mode,
    )
    return Parts(site, signals, store, loop, devices, _releases(site))


def _cluster(site: Site, state: StateDir, ports: dict[str, int]) -> RemoteCluster | None:
    """The emulated building carries a cluster of its own; a real one is not part of a device list."""
    if not site.site.emulated or CLUSTER not in ports:
        return None
    return RemoteCluster(f"http://127.0.0.1:{ports[CLUSTER]}", state.token(CLUSTER))


def _releases(site: Site) -> dict[str, Release]:
    found = {}
    for device in site.device:
        if device.profile:
            release = load_profile(device.profile).release
            if release.kind == "timeout":
                found[device.name] = release
    return found
