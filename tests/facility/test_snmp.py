"""SNMP against agents that are not ours: snmpsim on recordings of real devices, and net-snmp's snmpd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from socket import SOCK_DGRAM

import pytest

from facility.clock import ManualClock, WallClock
from facility.devices import open_device
from facility.errors import ConfigError, DeviceError, DeviceTimeout
from facility.records import Actuator, Command, Quality, Reading, VerdictKind
from facility.site import Device, SnmpAuth
from tests.peers import snmp as peers
from tests.peers.processes import free_port
from tests.shared import shared

WRITABLE = f"""
[profile]
name = "thermostat"
protocol = "snmp"
source = "made for this test"
[[point]]
name = "setpoint_c"
kind = "temperature"
unit = "degC"
oid = "{peers.BASE}.1"
scale = 0.1
writable = true
min = 10.0
max = 30.0
[[point]]
name = "enable_flag"
kind = "flag"
unit = "1"
oid = "{peers.BASE}.2"
writable = true
[[point]]
name = "text_c"
kind = "temperature"
unit = "degC"
oid = "{peers.BASE}.3"
[[point]]
name = "absent_c"
kind = "temperature"
unit = "degC"
oid = "{peers.BASE}.9"
writable = true
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with peers.snmpsim(shared("facility/snmp"), tmp_path_factory.mktemp("snmpsim")) as port:
        yield port


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with peers.snmpd(tmp_path_factory.mktemp("snmpd")) as port:
        yield port


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_AUTH", peers.AUTH_KEY)
    monkeypatch.setenv("TEST_PRIV", peers.PRIV_KEY)
    monkeypatch.setenv("TEST_WRONG", "a-wrong-key-12")
    monkeypatch.setenv("TEST_COMMUNITY", peers.COMMUNITY)


@pytest.fixture
def thermostat(tmp_path: Path) -> Path:
    path = tmp_path / "thermostat.toml"
    path.write_text(WRITABLE)
    return path


def v2c(**changes: object) -> SnmpAuth:
    return SnmpAuth.model_validate({"version": "2c", "community": "env:TEST_COMMUNITY", **changes})


def v3(**changes: object) -> SnmpAuth:
    keys = {"user": peers.USER, "auth_key": "env:TEST_AUTH", "priv_key": "env:TEST_PRIV"}
    return SnmpAuth.model_validate({"version": "3", **keys, **changes})


@asynccontextmanager
async def device_at(
    port: int, profile: str | Path, auth: SnmpAuth, name: str = "dev-1", deadline_s: float = 10.0
) -> AsyncIterator[Actuator]:
    settings = Device(name=name, protocol="snmp", profile=str(profile), port=port, snmp=auth, deadline_s=deadline_s)
    device = open_device(settings, WallClock())
    try:
        yield device
    finally:
        await device.close()


def _values(readings: list[Reading]) -> dict[str, float | None]:
    return {reading.point.partition("/")[2]: reading.value for reading in readings}


async def test_a_raritan_pdu_with_its_outlets_and_sensors(recorded: int) -> None:
    async with device_at(recorded, "raritan-px3", v3(context="raritan-pdu_px3")) as pdu:
        assert pdu.points == {}  # what it has is found out with the first read
        values = _values(await pdu.read())
        assert len(pdu.points) == len(values) == 181
    assert values["pdu-1/inlet-1/current_a"] == pytest.approx(7.467)
    assert values["pdu-1/inlet-1/power_w"] == 1665.0
    assert values["pdu-1/inlet-1/power_factor"] == pytest.approx(0.98)
    assert values["pdu-1/inlet-1/energy_wh"] == 74057676.0
    assert values["pdu-1/inlet-1/frequency_hz"] == pytest.approx(50.0)
    assert values["pdu-1/outlet-1/power_w"] == 143.0
    assert values["pdu-1/outlet-24/current_a"] == pytest.approx(2.44)
    assert values["pdu-1/external-1/temperature_c"] == pytest.approx(23.1)
    outlets_w = sum(value or 0.0 for name, value in values.items() if "outlet" in name and name.endswith("/power_w"))
    assert outlets_w == pytest.approx(1665.0, rel=0.05)  # the PDU agrees with itself


async def test_ups_mib_on_an_eaton(recorded: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_COMMUNITY", "eaton-mgeups_93ps")
    async with device_at(recorded, "ups-mib", v2c()) as ups:
        values = _values(await ups.read())
    assert values["battery_remaining_min"] == 137.0
    assert values["battery_voltage_v"] == pytest.approx(417.0)
    assert values["output-3/power_w"] == 1600.0
    assert values["output-2/current_a"] == pytest.approx(5.6)
    assert values["input-1/frequency_hz"] == pytest.approx(50.2)


async def test_snmpget_reads_the_same(recorded: int) -> None:
    oid = "1.3.6.1.4.1.13742.6.5.2.3.1.4.1.1.5"
    seen = await asyncio.to_thread(peers.snmpget, recorded, oid, "-v2c", "-c", "raritan-pdu_px3")
    async with device_at(recorded, "raritan-px3", v3(context="raritan-pdu_px3")) as pdu:
        (reading,) = await pdu.read(["dev-1/pdu-1/inlet-1/power_w"])
    assert reading.value == float(seen)


async def test_devices_are_read_at_the_same_time(recorded: int) -> None:
    async with (
        device_at(recorded, "raritan-px3", v3(context="raritan-pdu_px3"), "pdu-1") as one,
        device_at(recorded, "ups-mib", v3(context="eaton-mgeups_93ps"), "ups-1") as two,
    ):
        pdu, ups = await asyncio.gather(one.read(), two.read())
    assert _values(pdu)["pdu-1/inlet-1/power_w"] == 1665.0
    assert _values(ups)["output-3/power_w"] == 1600.0


async def test_a_set_over_v3_is_taken_and_read_back(agent: int, thermostat: Path) -> None:
    async with device_at(agent, thermostat, v3()) as device:
        command = Command("dev-1/setpoint_c", 23.4, "degC", "test")
        assert device.check(command).kind is VerdictKind.ACCEPTED
        await device.write(command)
        assert (await device.read_back(command)).value == pytest.approx(23.4)
        seen = await asyncio.to_thread(peers.snmpget, agent, f"{peers.BASE}.1", *peers.V3)
        assert seen == "234"
        assert device.check(Command("dev-1/setpoint_c", 99.0, "degC", "test")).value == 30.0


async def test_text_is_read_as_a_number_and_absent_objects_have_no_value(agent: int, thermostat: Path) -> None:
    async with device_at(agent, thermostat, v3()) as device:
        readings = {reading.point: reading for reading in await device.read()}
        assert readings["dev-1/text_c"].value == 23.5
        assert readings["dev-1/absent_c"].value is None
        assert readings["dev-1/absent_c"].quality is Quality.BAD
        with pytest.raises(DeviceError, match="no such object"):
            await device.write(Command("dev-1/absent_c", 20.0, "degC", "test"))


async def test_writing_over_v2c_is_off_unless_allowed(agent: int, thermostat: Path) -> None:
    command = Command("dev-1/enable_flag", 0.0, "1", "test")
    async with device_at(agent, thermostat, v2c()) as device:
        assert _values(await device.read())["enable_flag"] is not None
        with pytest.raises(DeviceError, match="v2c is off"):
            await device.write(command)
    async with device_at(agent, thermostat, v2c(allow_v2c_writes=True)) as device:
        with pytest.raises(DeviceError, match="noAccess"):  # the agent's own word: this community may only read
            await device.write(command)


async def test_a_set_that_a_recording_ignores_is_seen_in_the_read_back(
    recorded: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_COMMUNITY", "eaton-mgeups_93ps")
    path = tmp_path / "ups.toml"
    point = 'name = "left_min"\nkind = "duration"\nunit = "min"\noid = "1.3.6.1.2.1.33.1.2.3.0"\nwritable = true\n'
    path.write_text(f'[profile]\nname = "ups"\nprotocol = "snmp"\nsource = "test"\n[[point]]\n{point}')
    async with device_at(recorded, path, v2c(allow_v2c_writes=True)) as device:
        command = Command("dev-1/left_min", 20.0, "min", "test")
        await device.write(command)
        assert (await device.read_back(command)).value == 137.0


async def test_a_wrong_key_is_named_and_does_not_spoil_the_right_one(agent: int, thermostat: Path) -> None:
    async with (
        device_at(agent, thermostat, v3()) as right,
        device_at(agent, thermostat, v3(auth_key="env:TEST_WRONG")) as wrong,
    ):
        assert len(await right.read()) == 4
        with pytest.raises(DeviceError, match="authentication key"):
            await wrong.read()
        assert len(await right.read()) == 4


async def test_a_bad_community_times_out_and_a_closed_port_is_refused(
    agent: int, thermostat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with device_at(free_port(SOCK_DGRAM), thermostat, v3(), deadline_s=1.0) as nobody:
        with pytest.raises(DeviceError, match="refused"):
            await nobody.read()
    monkeypatch.setenv("TEST_COMMUNITY", "stranger")
    async with device_at(agent, thermostat, v2c(), deadline_s=1.0) as device:
        with pytest.raises(DeviceTimeout, match="wrong community"):
            await device.read()


async def test_a_secret_that_is_not_there_is_named(thermostat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_AUTH")
    with pytest.raises(ConfigError, match="TEST_AUTH"):
        async with device_at(1, thermostat, v3()):
            pass


async def test_it_comes_back_after_the_agent_was_gone(thermostat: Path, tmp_path: Path) -> None:
    """A restarted agent has counted one more boot and begins its time anew, which v3 notices."""
    port = free_port(SOCK_DGRAM)
    async with device_at(port, thermostat, v3(), deadline_s=4.0) as device:
        for _ in range(2):
            with peers.snmpd(tmp_path, port):
                assert len(await device.read()) == 4
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):  # as the collector does
                    await device.read()


async def test_a_walk_that_a_deadline_cuts_off_is_taken_up_again(
    recorded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector gives a read a deadline; a large table over a slow card still gets known, part by part."""
    monkeypatch.setenv("TEST_COMMUNITY", "rittal-lcp_cmciii-pu-lcp")
    async with device_at(recorded, "rittal-lcp", v2c()) as lcp:
        values, cuts = None, 0
        while values is None and cuts < 200:
            try:
                async with asyncio.timeout(0.15):
                    values = _values(await lcp.read())
            except TimeoutError:
                cuts += 1
        assert cuts > 0
        assert values is not None
        assert values["device-2/cooling_capacity_w"] == 1707.0


async def test_what_was_found_stays_known_where_the_next_look_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    rows: peers.Rows = {f"{peers.BASE}.1.{outlet}": 100 + outlet for outlet in range(1, 4)}
    path = tmp_path / "strip.toml"
    point = f'name = "outlet-{{1}}/power_w"\nkind = "power"\nunit = "W"\noid = "{peers.BASE}.1.*"\n'
    path.write_text(f'[profile]\nname = "strip"\nprotocol = "snmp"\nsource = "test"\n[[point]]\n{point}')
    monkeypatch.setenv("TEST_COMMUNITY", "strip")
    settings = Device(name="dev-1", protocol="snmp", profile=str(path), port=1, snmp=v2c(), deadline_s=1.0)
    with peers.snmpsim(None, tmp_path, {"strip": rows}) as port:
        device = open_device(settings, clock, port=port)
        assert _values(await device.read()) == {f"outlet-{n}/power_w": 100.0 + n for n in range(1, 4)}
    clock.advance(7200.0)
    with pytest.raises(DeviceError):  # the agent is gone: the look fails, and then the read says so
        await device.read()
    assert len(device.points) == 3
    await device.close()


async def test_an_unknown_model_says_what_it_is(recorded: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_COMMUNITY", "stulz_wib8000")
    for profile in ("apc-cooling", "emulated-ups"):
        async with device_at(recorded, profile, v2c()) as device:
            with pytest.raises(DeviceError, match=r"unknown model.*Stulz GmbH.*29462\.10.*eco site discover"):
                await device.read()
