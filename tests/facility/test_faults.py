"""kill -9 in the middle of a guarded write: of the device, and of who commands it, over every protocol that writes.

Afterwards the device is its own again, or still in command on purpose; the journal on disk says which.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import SOCK_DGRAM

import pytest

from apps.emulator.redfish_tls import certificate_in
from facility.clock import WallClock
from facility.devices import open_device
from facility.records import Actuator, Mode
from facility.site import Device
from tests.facility.ahu import write_profile
from tests.facility.interrupted import Interrupted, apply, guard_of
from tests.peers import ipmi_sim, redfish, snmp
from tests.peers.bacnet import INSTANCE, bacnet_device
from tests.peers.processes import answers_tcp, free_port, running
from tests.peers.require import require_library

CRAH = """
[profile]
name = "crah"
protocol = "modbus"
source = "made for this test"
[release]
kind = "timeout"
heartbeat_point = "heartbeat_count"
timeout_point = "fallback_timeout_min"
release_point = "remote_enable_flag"
release_value = 0
"""
CRAH_POINTS = {
    "supply_air_setpoint_c": 'unit = "degC"\naddress = 40\ntype = "float32"\nmin = 10.0\nmax = 30.0',
    "heartbeat_count": 'unit = "1"\naddress = 42',
    "fallback_timeout_min": 'unit = "min"\naddress = 43',
    "remote_enable_flag": 'unit = "1"\naddress = 44',
}
THERMOSTAT = f"""
[profile]
name = "thermostat"
protocol = "snmp"
source = "made for this test"
[[point]]
name = "setpoint_c"
kind = "temperature"
unit = "degC"
oid = "{snmp.BASE}.1"
scale = 0.1
writable = true
min = 10.0
max = 30.0
"""
Pid = int
Start = Callable[[], AbstractContextManager[Pid]]


@dataclass(frozen=True, slots=True)
class Peer:
    """A device that can be killed and started again: how to reach it, what to command, and what it is on its own."""

    settings: Device
    start: Start
    point: str
    value: float
    own: float | None  # the value of ``shows`` while nobody commands it
    shows: str = ""  # the point that tells; empty: the commanded one
    forgets: bool = True  # started again it knows no command


def modbus(folder: Path) -> Peer:
    library, port = require_library("libmodbus.so.5", "apt-get install libmodbus5"), free_port()
    profile = folder / "crah.toml"
    points = (
        f'[[point]]\nname = "{name}"\nkind = "any"\nwritable = true\n{how}\n' for name, how in CRAH_POINTS.items()
    )
    profile.write_text(CRAH + "".join(points))
    registers = struct.pack(">fHHH", 18.0, 0, 5, 0).hex()

    @contextmanager
    def start() -> Iterator[Pid]:
        command = [sys.executable, "-m", "tests.peers.libmodbus_server", library, str(port), "40", registers]
        with running(command, folder / "modbus.log", lambda: answers_tcp(port)) as process:
            yield process.pid

    settings = Device(name="crah-1", protocol="modbus", profile=str(profile), port=port, deadline_s=3.0)
    return Peer(settings, start, "crah-1/supply_air_setpoint_c", 20.0, 0.0, "crah-1/remote_enable_flag")


def snmp_(folder: Path) -> Peer:
    port, profile = free_port(SOCK_DGRAM), folder / "thermostat.toml"
    profile.write_text(THERMOSTAT)

    @contextmanager
    def start() -> Iterator[Pid]:
        with snmp.snmpd(folder, port):
            yield int((folder / "snmpd.pid").read_text())

    auth = {"version": "3", "user": snmp.USER, "auth_key": "env:TEST_AUTH", "priv_key": "env:TEST_PRIV"}
    settings = {"name": "dev-1", "protocol": "snmp", "profile": str(profile), "port": port, "snmp": auth}
    return Peer(Device.model_validate({**settings, "deadline_s": 2.0}), start, "dev-1/setpoint_c", 25.0, 22.0)


def ipmi(folder: Path) -> Peer:
    port, module = free_port(SOCK_DGRAM), ipmi_sim.build_module(folder)

    @contextmanager
    def start() -> Iterator[Pid]:
        with ipmi_sim.ipmi_sim(folder, module, port) as bmc:
            yield bmc.process.pid

    login = {"user": ipmi_sim.USER, "password": "env:BMC_PASSWORD"}
    settings = {"name": "node-1", "protocol": "ipmi", "profile": "ipmi-bmc", "port": port, "ipmi": login}
    device = Device.model_validate({**settings, "deadline_s": 5.0})
    active = "node-1/power_limit_active_flag"
    return Peer(device, start, "node-1/power_limit_w", 350.0, 0.0, active, forgets=False)


def redfish_(folder: Path) -> Peer:
    port = free_port()
    certificate = certificate_in(folder)

    @contextmanager
    def start() -> Iterator[Pid]:
        with redfish.process(folder, port) as process:
            yield process.pid

    http = {"user": redfish.USER, "password": "env:TEST_PASSWORD", "ca_file": str(certificate.cert)}
    settings = {"name": "node-1", "protocol": "redfish", "profile": "redfish-hgx", "port": port, "http": http}
    device = Device.model_validate({**settings, "deadline_s": 5.0})
    return Peer(device, start, "node-1/gpu_power_limit_w", 1500.0, 2000.0)


def bacnet(folder: Path) -> Peer:
    port = free_port(SOCK_DGRAM)

    @contextmanager
    def start() -> Iterator[Pid]:
        with bacnet_device(folder, port=port) as (_, process):
            yield process.pid

    settings = {"name": "ahu-1", "protocol": "bacnet", "profile": str(write_profile(folder)), "port": port}
    device = Device.model_validate({**settings, "bacnet": {"instance": INSTANCE}, "deadline_s": 3.0})
    return Peer(device, start, "ahu-1/setpoint_c", 22.0, 24.0)


MAKERS: dict[str, Callable[[Path], Peer]] = {
    "modbus": modbus,
    "snmp": snmp_,
    "ipmi": ipmi,
    "redfish": redfish_,
    "bacnet": bacnet,
}


@pytest.fixture(params=MAKERS)
def peer(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    monkeypatch.setenv("TEST_AUTH", snmp.AUTH_KEY)
    monkeypatch.setenv("TEST_PRIV", snmp.PRIV_KEY)
    monkeypatch.setenv("BMC_PASSWORD", ipmi_sim.PASSWORD)
    monkeypatch.setenv("TEST_PASSWORD", redfish.PASSWORD)
    folder = tmp_path / "peer"
    folder.mkdir()
    return MAKERS[request.param](folder)


async def shown(device: Actuator, peer: Peer) -> float | None:
    """What tells whether the device is its own."""
    await device.read()  # so that it knows its points
    (reading,) = await device.read([peer.shows or peer.point])
    return reading.value


async def is_silent(device: Actuator) -> None:
    """Until the device is known to be gone: what is still on its way is not taken for an answer."""
    with contextlib.suppress(Exception):
        await device.read()


async def test_a_device_killed_before_it_could_be_read_back(peer: Peer, tmp_path: Path) -> None:
    journal, real = tmp_path / "written.json", open_device(peer.settings, WallClock())
    with peer.start() as pid:
        device = Interrupted(real, after=lambda: os.kill(pid, signal.SIGKILL))
        guard = guard_of(device, journal)
        written = await apply(guard, device, peer.point, peer.value)
        assert written.error
        assert guard.left_over == {peer.point}  # it may well have taken the command: it has to be given back
        assert await guard.hand_back() != []
        assert guard.left_over == {peer.point}
    with peer.start():
        again = guard_of(Interrupted(real), journal)
        await is_silent(real)
        assert await again.hand_back() == []
        assert again.left_over == frozenset()
        assert await shown(real, peer) == peer.own
    await real.close()


async def test_a_device_killed_while_in_command_is_commanded_anew(peer: Peer, tmp_path: Path) -> None:
    real = open_device(peer.settings, WallClock())
    guard = guard_of(real, tmp_path / "written.json")
    with peer.start() as pid:
        assert (await apply(guard, real, peer.point, peer.value)).error == ""
        os.kill(pid, signal.SIGKILL)
    with peer.start():
        await is_silent(real)
        assert await shown(real, peer) == (peer.own if peer.forgets else 1.0)
        written = await apply(guard, real, peer.point, peer.value)
        assert (written.error, written.read_back) == ("", peer.value)
        assert await guard.hand_back() == []
        assert await shown(real, peer) == peer.own
    await real.close()


async def test_who_commands_it_is_killed(peer: Peer, tmp_path: Path) -> None:
    with peer.start():
        for when in ("journalled", "sent", "done"):
            await killed_while_in_command(peer, when, tmp_path / "written.json")


async def killed_while_in_command(peer: Peer, when: str, journal: Path) -> None:
    words = [peer.settings.model_dump_json(), peer.point, str(peer.value), str(journal), when]
    killed = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.facility.interrupted", *words)
    assert await killed.wait() == -signal.SIGKILL
    real = open_device(peer.settings, WallClock())
    try:
        assert guard_of(real, journal, Mode.SHADOW).left_over == {peer.point}  # in every case it says so
        taken = guard_of(real, journal)
        written = await apply(taken, real, peer.point, peer.value)  # one that goes on takes it over, on purpose
        assert (written.error, written.read_back) == ("", peer.value)
        given = guard_of(real, journal, Mode.SHADOW)  # one that only looks on gives it back
        assert await given.survey() == []
        assert await given.hand_back() == []
        assert given.left_over == frozenset()
        assert await shown(real, peer) == peer.own
    finally:
        await real.close()
