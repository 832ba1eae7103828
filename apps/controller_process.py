"""The controller as a process: takes the lead or stands by, looks at the cluster at its pace, and serves its health."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.controller import Controller
from apps.controller_config import ControllerConfig, carbon_source, meter_of
from apps.controller_http import make_app
from apps.controller_parts import Parts
from apps.controller_settle import Bookkeeper
from apps.web import guest_server
from facility.checks import GuardLimits
from facility.clock import Clock
from facility.errors import ConfigError, EcoError
from facility.guard import Guard
from facility.journal import Journal
from facility.records import Mode
from scheduler.cluster.api import Kube, KubeError
from scheduler.cluster.kube_actuator import KubernetesActuator
from scheduler.cluster.lease import Leadership
from scheduler.cluster.outlook import SeriesOutlook
from scheduler.cluster.plan import Planner
from scheduler.cluster.profiler import Profiles
from scheduler.cluster.view import ClusterView
from scheduler.cluster.writer import Writer
from scheduler.wait_awhile import WaitAwhile

log = logging.getLogger("eco.controller")

LEASE_S = 15.0
STARTING_S = 60.0  # until the first lists have to be there


@dataclass(frozen=True, slots=True)
class Options:
    """How one process runs."""

    identity: str
    mode: Mode
    state: Path
    receipts: Path | None = None
    listen: tuple[str, int] | None = None  # health, metrics, webhook
    tls: tuple[Path, Path] | None = None  # certificate and key: the API server calls webhooks over TLS alone
    lease_s: float = LEASE_S
    passes: int | None = None  # end after so many


def assemble(
    kube: Kube, config: ControllerConfig, options: Options, lead: Leadership | None, view: ClusterView
) -> Parts:
    """Puts a controller together; without ``lead`` it never writes."""
    is_dry = options.mode is not Mode.ACTIVE or lead is None
    writer = Writer(kube, _nobody_leads if lead is None else lead.check, is_dry=is_dry)
    actuator = KubernetesActuator(writer)
    options.state.mkdir(parents=True, exist_ok=True)
    journal = Journal(options.state / "cluster-written.json", "cluster")
    guard = Guard([actuator], GuardLimits(), journal, Mode.SHADOW if is_dry else Mode.ACTIVE)
    outlook = SeriesOutlook(carbon_source(config, options.state / "carbon"))
    meter = meter_of(config)
    settings = config.cluster
    books = Bookkeeper(meter, outlook, settings, options.receipts)
    planner, profiles = Planner(WaitAwhile(), settings), Profiles(kube, settings.namespace)
    return Parts(kube, view, writer, actuator, guard, planner, profiles, books, meter, outlook, settings)


def _nobody_leads() -> None:
    raise EcoError("a dry run writes nothing")


class Process:
    """One controller process; a dry run needs no Lease."""

    def __init__(self, kube: Kube, config: ControllerConfig, options: Options, clock: Clock) -> None:
        self._options, self._clock, self._config = options, clock, config
        self._stop, self._wake = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        is_active = options.mode is Mode.ACTIVE
        namespace = config.cluster.namespace
        self._lead = Leadership(kube, namespace, options.identity, duration_s=options.lease_s) if is_active else None
        self._view = ClusterView(kube, self._notify)
        self._parts = assemble(kube, config, options, self._lead, self._view)
        self._controller = Controller(self._parts)
        self._has_adopted = False
        self._passes = 0

    def stop(self) -> None:
        """Ask for an orderly end."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> int:
        """Until it is told to stop; held jobs stay held for the next controller. Returns the exit code."""
        self._view.start()
        leading = asyncio.create_task(self._keep_lead())
        try:
            async with self._serving():
                await self._passes_until_stopped()
        finally:
            self._stop.set()
            leading.cancel()
            await asyncio.wait([leading])
            self._view.stop()
            if self._lead is not None:
                with contextlib.suppress(KubeError):
                    await asyncio.to_thread(self._lead.resign)
        return 0

    def _notify(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _passes_until_stopped(self) -> None:
        while not self._stop.is_set():
            if self._lead is None or self._lead.is_leader:
                await self._one_pass()
            else:
                self._has_adopted = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._config.cluster.pass_s)
            await asyncio.sleep(0.2)  # changes come in bursts
            self._wake.clear()

    async def _one_pass(self) -> None:
        try:
            await self._until_listed()
            if not self._has_adopted:
                await self._controller.adopt()
                self._has_adopted = True
            report = await self._controller.look_and_act(self._clock.now())
        except EcoError as error:
            log.warning("%s", error)
            return
        for problem in report.problems:
            log.warning("%s", problem)
        if report.commands or report.planned:
            log.info("%d workloads, %d commands, %d notes", report.workloads, report.commands, report.changes)
        self._passes += 1
        if self._options.passes is not None and self._passes >= self._options.passes:
            self.stop()

    async def _until_listed(self) -> None:
        """Wait for the first lists, and say why they do not come."""
        waited_s = 0.0
        while self._view.age_s == float("inf") and not self._stop.is_set():
            await asyncio.sleep(0.05)
            waited_s += 0.05
            if waited_s > STARTING_S:
                raise EcoError("the cluster cannot be listed", where="; ".join(self._view.problems)[:500])

    async def _keep_lead(self) -> None:
        """Take or renew the Lease, three times in its duration."""
        if self._lead is None:
            return
        was = False
        while not self._stop.is_set():
            try:
                await asyncio.to_thread(self._lead.try_lead)
            except EcoError as error:
                log.warning("the Lease: %s", error)
            if self._lead.is_leader != was:
                was = self._lead.is_leader
                log.info("%s", "leads" if was else "stands by")
                self._wake.set()
            await asyncio.sleep(self._options.lease_s / 3)

    # Serving ------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        if self._options.listen is None:
            yield
            return
        server = guest_server(make_app(self.health, self.metrics))
        if self._options.tls is not None:
            certificate, key = self._options.tls
            server.config.ssl_certfile, server.config.ssl_keyfile = str(certificate), str(key)
        listener = _listen(*self._options.listen)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        log.info("health, metrics and webhook on %s:%d", *listener.getsockname()[:2])
        try:
            yield
        finally:
            server.should_exit = True
            await asyncio.wait([serving])

    def health(self) -> dict[str, Any]:
        """Whether the cluster is heard of, and what is wrong."""
        last, age_s = self._controller.last, self._view.age_s
        is_ok = age_s <= self._config.cluster.max_mirror_age_s
        return {
            "ok": is_ok,
            "mode": self._options.mode.value,
            "leads": self._lead is not None and self._lead.is_leader,
            "last_pass_at": None if last is None else last.at.isoformat(),
            "problems": [] if last is None else last.problems,
        }

    def metrics(self) -> dict[str, float]:
        """For Prometheus."""
        last, counts = self._controller.last, self._parts.writer.counts
        return {
            "eco_controller_is_leader": float(self._lead is not None and self._lead.is_leader),
            "eco_controller_workloads": float(last.workloads if last else 0),
            "eco_controller_problems": float(len(last.problems) if last else 0),
            "eco_controller_last_pass_timestamp_seconds": last.at.timestamp() if last else 0.0,
            "eco_controller_writes_total": float(counts.writes),
            "eco_controller_conflicts_total": float(counts.conflicts),
            "eco_controller_given_up_total": float(counts.given_up),
            "eco_controller_events_total": float(counts.events),
            "eco_controller_relists_total": float(self._view.relists),
            "eco_controller_mirror_age_seconds": min(self._view.age_s, 1e9),
        }


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen: {error.strerror}", where=f"{host}:{port}", hint="choose another") from error
    listener.setblocking(False)
    return listener
