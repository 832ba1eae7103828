"""The emulated building as a process: clock, sockets, saving and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from apps.emulator.bacnet import start_bacnet
from apps.emulator.building import Building
from apps.emulator.cluster_api import make_cluster_api
from apps.emulator.exporter import DcgmCollector, KeplerCollector, Node, exporter_app, snapshot
from apps.emulator.ipmi.bmcs import IpmiBmcs
from apps.emulator.ipmi.config import Login
from apps.emulator.modbus import start_modbus
from apps.emulator.objects import pdu_objects, ups_objects
from apps.emulator.redfish import serving
from apps.emulator.redfish_building import node_numbers, node_services
from apps.emulator.redfish_node import NodeSettings
from apps.emulator.redfish_tls import certificate_in
from apps.emulator.registers import MeterUnit, ProfileUnit, Unit
from apps.emulator.snmp import Agent, Keys
from apps.emulator.sockets import listen_tcp, listen_udp
from apps.emulator.world import read_world
from apps.shared_clock import SharedClock, set_clock, start_clock
from apps.state_dir import StateDir, read_json, write_json
from apps.web import guest_server
from facility.errors import ConfigError, DataError, EcoError
from facility.profile import load_profile
from facility.site import Site, load_site

log = logging.getLogger(__name__)

TICK_S = 0.1  # wall seconds between steps of the building where nobody asks
LONGEST_GAP = timedelta(days=2)  # a saved building older than this is not resumed: too much would have to be made up
LONGEST_LEAD = timedelta(hours=2)  # one that was stopped last may be ahead of the clock: it waits for it
CLUSTER = "cluster"
LISTEN_ATTEMPTS = 5
BMC_USER = "eco"
IPMI_PASSWORD = 16  # characters; IPMI 2.0 takes 20
BACNET_DEVICE, BACNET_INSTANCE = "crah-2", 260002


@dataclass(frozen=True, slots=True)
class EmulatorConfig:
    """One emulated building. Ports are wishes: a taken one is replaced by a free one (see ``ports.json``)."""

    state: Path
    site: Path | None = None
    jobs: Path | None = None  # a JSON list of further jobs
    seed: int = 1
    speed: float = 60.0  # used only where the state directory has no clock yet
    modbus_port: int = 15020
    snmp_port: int = 11611  # of the first PDU; the others and the UPS follow
    bacnet_port: int = 47808
    redfish_port: int = 15443  # of node-1; the others follow
    ipmi_port: int = 15623  # of node-1; the others follow
    exporter_port: int = 15400  # of DCGM's; Kepler's follows
    cluster_port: int = 15080
    save_every_s: float = 2.0  # wall seconds


class Emulator:
    """The building with its sockets; everything runs in one event loop."""

    def __init__(self, config: EmulatorConfig) -> None:
        """Reads site, world and saved state; raises EcoError with what to do where one of them cannot be used."""
        self._config = config
        self._state = StateDir(config.state).create()
        self._clock = _open_clock(self._state, config.speed)
        self._saved_path = self._state.root / "emulator.json"
        self._ports: dict[str, int] = {}
        self._agents: list[Agent] = []
        self._is_changed = False
        self.building = self._open_building(load_site(config.site))

    def _open_building(self, site: Site) -> Building:
        path = self._config.jobs
        jobs = read_json(path) if path else []
        if jobs is None:
            raise ConfigError("no such file", where=str(path), hint="check --jobs-json")
        world = read_world(read_json(self._state.world), jobs)
        now, saved = self._clock.now(), _read_saved(self._saved_path)
        if saved is not None and -LONGEST_LEAD <= now - datetime.fromisoformat(saved["at"]) <= LONGEST_GAP:
            try:
                return Building.resumed(site.hall, world, saved)
            except DataError as error:
                log.warning("the saved building is left aside: %s", error)
        return Building(site.hall, world, now, self._config.seed)

    def catch_up(self) -> None:
        """Bring the building to the present, or some way there after a long pause."""
        self.building.advance(self._clock.now())

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set; the building is saved at the end."""
        while not self.building.advance(self._clock.now()):
            await asyncio.sleep(0)
        async with contextlib.AsyncExitStack() as stack:
            await self._listen(stack)
            write_json(self._state.ports, {**(read_json(self._state.ports) or {}), **self._ports})
            tasks = [asyncio.create_task(work()) for work in (self._clock.started, self._keep_time, self._keep_saved)]
            stopped = asyncio.create_task(stop.wait())
            done, _ = await asyncio.wait([*tasks[1:], stopped], return_when=asyncio.FIRST_COMPLETED)
            for task in (*tasks, stopped):
                task.cancel()
            self._save()
            for task in done - {stopped}:
                task.result()  # a worker ends only by an error: let it be seen

    async def _listen(self, stack: contextlib.AsyncExitStack) -> None:
        before = read_json(self._state.ports) or {}  # after a restart: clients know these ports
        await self._listen_modbus(stack, before.get("meter-main", self._config.modbus_port))
        await self._listen_bacnet(stack, before)
        self._listen_snmp(stack, before)
        await self._listen_redfish(stack, before)
        await self._listen_ipmi(stack, before)
        await self._listen_exporters(stack, before)
        app = make_cluster_api(self.building, self._state.token(CLUSTER), self.catch_up, self._mark)
        await self._serve_http(stack, CLUSTER, app, before.get(CLUSTER, self._config.cluster_port))

    async def _listen_exporters(self, stack: contextlib.AsyncExitStack, before: dict[str, int]) -> None:
        """The hall's GPUs and pods for Prometheus to scrape."""
        exporters = {"exporter/dcgm": DcgmCollector(self._nodes), "exporter/kepler": KeplerCollector(self._nodes)}
        for i, (name, collector) in enumerate(exporters.items()):
            wish = before.get(name, self._config.exporter_port + i)
            await self._serve_http(stack, name, exporter_app(collector), wish)

    def _nodes(self) -> tuple[datetime, list[Node]]:
        self.catch_up()
        return self.building.at, snapshot(self.building)

    async def _serve_http(self, stack: contextlib.AsyncExitStack, name: str, app: FastAPI, wish: int) -> None:
        listener = listen_tcp(wish)
        self._ports[name] = listener.getsockname()[1]
        server = guest_server(app)
        serving = asyncio.create_task(server.serve(sockets=[listener]))

        async def close() -> None:
            server.should_exit = True
            await serving

        stack.push_async_callback(close)
        while not server.started:
            await asyncio.sleep(0.01)

    async def _listen_modbus(self, stack: contextlib.AsyncExitStack, wish: int) -> None:
        units = self._units()
        numbered = {i + 1: unit for i, unit in enumerate(units.values())}
        for attempt in range(LISTEN_ATTEMPTS):
            with listen_tcp(wish if attempt == 0 else 0) as probe:
                port = probe.getsockname()[1]
            try:  # the server binds for itself: another process may take the port between look and bind
                server = await start_modbus(numbered, port, self.catch_up)
            except EcoError:
                if attempt == LISTEN_ATTEMPTS - 1:
                    raise
            else:
                break
        stack.push_async_callback(server.shutdown)
        self._ports |= dict.fromkeys(units, port)

    async def _listen_bacnet(self, stack: contextlib.AsyncExitStack, before: dict[str, int]) -> None:
        """One air handler speaks BACnet/IP, besides Modbus: ``ports.json`` names its BACnet port."""
        if BACNET_DEVICE not in self.building.remotes:
            return
        listener = listen_udp(before.get(BACNET_DEVICE, self._config.bacnet_port))
        server = await start_bacnet(listener, BACNET_INSTANCE, self.building, BACNET_DEVICE, self.catch_up, self._mark)
        stack.push_async_callback(server.shut)
        self._ports[BACNET_DEVICE] = listener.getsockname()[1]

    async def _listen_redfish(self, stack: contextlib.AsyncExitStack, before: dict[str, int]) -> None:
        """A BMC for each node, over TLS; its GPU power limit is the node's in the cluster."""
        services = node_services(self.building, BMC_USER, self._state.token("bmc"), self.catch_up, self._on_bmc_change)
        wishes = {name: before.get(name, self._config.redfish_port + i) for i, name in enumerate(services)}
        certificate = certificate_in(self._state.root)
        self._ports |= await stack.enter_async_context(serving(services, tls=certificate, wishes=wishes))

    async def _listen_ipmi(self, stack: contextlib.AsyncExitStack, before: dict[str, int]) -> None:
        """The same BMCs over IPMI, where OpenIPMI is installed; ``ports.json`` has them as ``ipmi/node-1``."""
        if not IpmiBmcs.can_run():
            log.info("no BMCs over IPMI: ipmi_sim is not installed (apt-get install openipmi)")
            return
        names = self.building.hall.node_names
        read = {name: partial(node_numbers, self.building, index) for index, name in enumerate(names)}
        login = Login(BMC_USER, self._state.token("bmc-ipmi")[:IPMI_PASSWORD])
        bmcs = IpmiBmcs(self._state.root / "bmc", read, login)
        stack.push_async_callback(bmcs.close)
        wishes = {name: before.get(f"ipmi/{name}", self._config.ipmi_port + i) for i, name in enumerate(names)}
        try:
            await bmcs.start(wishes)
        except EcoError as error:
            log.warning("no BMCs over IPMI: %s", error)
        self._ports |= {f"ipmi/{name}": port for name, port in bmcs.ports.items()}

    def _on_bmc_change(self, node: str, settings: NodeSettings) -> None:
        self.building.limit_node(node, settings.total_w, settings.gpu_w)
        self._mark()

    def _units(self) -> dict[str, Unit]:
        """Modbus units in the order of their ids: air handlers, chiller, tower, main meter."""
        profiles = {kind: load_profile(f"emulated-{kind}") for kind in ("crah", "chiller", "tower")}
        units: dict[str, Unit] = {}
        for device in self.building.remotes:
            profile = profiles[device.partition("-")[0]]
            units[device] = ProfileUnit(profile, partial(self.building.values, device), partial(self._write, device))
        units["meter-main"] = MeterUnit(partial(self.building.values, "meter-main"))
        return units

    def _listen_snmp(self, stack: contextlib.AsyncExitStack, before: dict[str, int]) -> None:
        keys = Keys(
            os.environ.get("ECO_SNMP_AUTH_KEY") or self._state.token("snmp-auth"),
            os.environ.get("ECO_SNMP_PRIV_KEY") or self._state.token("snmp-priv"),
        )
        racks = self.building.hall.racks
        started = time.monotonic()
        for i, device in enumerate([*(f"pdu-{i + 1}" for i in range(racks)), "ups-1"]):
            listener = listen_udp(before.get(device, self._config.snmp_port + i))
            objects = partial(self._objects, device, started)
            agent = Agent(f"{self._state.root.resolve()} {device}", listener, objects, keys, v2c=device != "ups-1")
            stack.callback(agent.close)
            self._ports[device] = listener.getsockname()[1]

    def _objects(self, device: str, started: float) -> dict[tuple[int, ...], Any]:
        self.catch_up()
        values, uptime_s = self.building.values(device), time.monotonic() - started
        if device == "ups-1":
            return ups_objects(device, values, uptime_s)
        return pdu_objects(device, values, self.building.hall.nodes_per_rack, uptime_s)

    def _write(self, device: str, point: str, value: float) -> None:
        self.building.write(device, point, value)
        self._mark()

    def _mark(self) -> None:
        self._is_changed = True

    async def _keep_time(self) -> None:
        while True:
            self.catch_up()
            await asyncio.sleep(TICK_S)

    async def _keep_saved(self) -> None:
        """Save at a steady pace, and soon after anything was written from outside."""
        saved_at = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            if self._is_changed or time.monotonic() - saved_at >= self._config.save_every_s:
                self._save()
                saved_at = time.monotonic()

    def _save(self) -> None:
        self._is_changed = False
        write_json(self._saved_path, self.building.to_dict())


async def serve(config: EmulatorConfig) -> None:
    """Run the building until SIGINT or SIGTERM; ``ports.json`` says when everything listens."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await Emulator(config).run(stop)


def _open_clock(state: StateDir, speed: float) -> SharedClock:
    """The shared clock; where nobody has set one, it starts now."""
    if not state.clock.exists():
        set_clock(state, datetime.now(UTC).replace(microsecond=0), speed)
        start_clock(state)
    return SharedClock(state)


def _read_saved(path: Path) -> Any:
    try:
        return read_json(path)
    except json.JSONDecodeError as error:
        raise ConfigError(f"not valid JSON: {error}", where=str(path), hint="delete it to start afresh") from error
