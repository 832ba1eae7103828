"""Modbus against servers that are not ours: libmodbus, pymodbus's simulator, and mbpoll as a second client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from facility.clock import WallClock
from facility.devices import open_device
from facility.errors import ConfigError, DeviceError, DeviceTimeout
from facility.profile import load_profile
from facility.records import Actuator, Command, Quality, Reading, VerdictKind
from facility.site import Device
from tests.peers.processes import answers_tcp, free_port, running
from tests.peers.require import require_library, require_program

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
[[point]]
name = "supply_air_setpoint_c"
kind = "temperature"
unit = "degC"
address = 40
type = "float32"
writable = true
min = 10.0
max = 30.0
[[point]]
name = "supply_air_c"
kind = "temperature"
unit = "degC"
address = 42
type = "int16"
scale = 0.1
sentinels = [-1]
valid_max = 60.0
[[point]]
name = "fan_speed_pct"
kind = "speed"
unit = "%"
address = 43
type = "uint32"
word_order = "little"
scale = 0.01
[[point]]
name = "heartbeat_count"
kind = "count"
unit = "1"
address = 50
writable = true
[[point]]
name = "fallback_timeout_min"
kind = "duration"
unit = "min"
address = 51
writable = true
[[point]]
name = "remote_enable_flag"
kind = "flag"
unit = "1"
address = 52
writable = true
[[point]]
name = "elsewhere_c"
kind = "temperature"
unit = "degC"
address = 900
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "crah.toml"
    path.write_text(CRAH)
    return path


@asynccontextmanager
async def device_at(port: int, profile: str | Path, unit: int = 1, deadline_s: float = 5.0) -> AsyncIterator[Actuator]:
    settings = Device(
        name="crah-1", protocol="modbus", profile=str(profile), port=port, unit_id=unit, deadline_s=deadline_s
    )
    device = open_device(settings, WallClock())
    try:
        yield device
    finally:
        await device.close()


def _registers(first: int = 40) -> list[int]:
    """Contents of registers 40 to 52 of the test's CRAH: set point 18 C, supply 18.3 C, fan 6553.7 hundredths of %."""
    setpoint = struct.unpack(">2H", struct.pack(">f", 18.0))
    low, high = 0x1234, 0x0001  # low word first: 0x11234 hundredths
    return [*setpoint, 183, low, high, 0, 0, 0, 0, 0, first, 5, 1]


@asynccontextmanager
async def simulator(*units: int, delay_s: float = 0.0) -> AsyncIterator[int]:
    """pymodbus's own server; every unit has its number in the heartbeat register. Yields the port."""

    async def wait(*_: object) -> None:
        await asyncio.sleep(delay_s)

    devices = [
        SimDevice(unit, [SimData(40, values=_registers(unit), datatype=DataType.REGISTERS)], action=wait)
        for unit in units
    ]
    port = free_port()
    server = ModbusTcpServer(devices, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        yield port
    finally:
        await server.shutdown()


@pytest.fixture
def libmodbus(tmp_path: Path) -> Iterator[int]:
    """A libmodbus server that holds the frequent readings of a Janitza meter."""
    library, port = require_library("libmodbus.so.5", "apt-get install libmodbus5"), free_port()
    with libmodbus_server(library, port, tmp_path):
        yield port


def libmodbus_server(library: str, port: int, scratch: Path) -> AbstractContextManager[object]:
    values = [0.0] * 35
    values[0:3], values[6:9], values[10:14] = (
        [230.1, 229.8, 231.0],
        [10.0, 11.5, 9.75],
        [2301.0, 2642.7, 2252.25, 7195.95],
    )
    values[17], values[25], values[34] = 7195.95, 49.98, 12_345_672.0
    content = b"".join(struct.pack(">f", value) for value in values)
    command = [sys.executable, "-m", "tests.peers.libmodbus_server", library, str(port), "19000", content.hex()]
    return running(command, scratch / "libmodbus.log", lambda: answers_tcp(port))


def values_of(readings: list[Reading]) -> dict[str, float | None]:
    return {reading.point.removeprefix("crah-1/"): reading.value for reading in readings}


async def test_a_janitza_meter_on_libmodbus(libmodbus: int) -> None:
    async with device_at(libmodbus, "janitza-umg") as meter:
        values = values_of(await meter.read())
    assert values["phase-1/voltage_v"] == pytest.approx(230.1)
    assert values["phase-3/current_a"] == pytest.approx(9.75)
    assert values["power_w"] == pytest.approx(7195.95)
    assert values["frequency_hz"] == pytest.approx(49.98)
    assert values["energy_wh"] == 12_345_672.0


async def test_it_comes_back_after_the_server_was_gone(tmp_path: Path) -> None:
    library, port = require_library("libmodbus.so.5", "apt-get install libmodbus5"), free_port()
    async with device_at(port, "janitza-umg", deadline_s=2.0) as meter:
        for _ in range(2):
            with libmodbus_server(library, port, tmp_path):
                assert len(await meter.read()) == 13
            with pytest.raises(DeviceError):
                await meter.read()


async def test_scales_sentinels_word_order_and_addresses_that_are_not_there(profile: Path) -> None:
    async with simulator(7) as port, device_at(port, profile, unit=7) as crah:
        readings = {reading.point.removeprefix("crah-1/"): reading for reading in await crah.read()}
        assert readings["supply_air_c"].value == pytest.approx(18.3)
        assert readings["fan_speed_pct"].value == pytest.approx(0x11234 * 0.01)
        assert readings["elsewhere_c"].value is None  # an illegal address costs its own point alone
        assert readings["elsewhere_c"].quality is Quality.BAD
        assert readings["supply_air_setpoint_c"].quality is Quality.GOOD


async def test_what_is_written_is_seen_by_mbpoll(profile: Path) -> None:
    mbpoll = require_program("mbpoll", "apt-get install mbpoll")
    async with simulator(1) as port, device_at(port, profile) as crah:
        command = Command("crah-1/supply_air_setpoint_c", 21.5, "degC", "test")
        assert crah.check(command).kind is VerdictKind.ACCEPTED
        await crah.write(command)
        assert (await crah.read_back(command)).value == 21.5
        reach = ["-m", "tcp", "-p", str(port), "-a", "1", "-t", "4:float", "-B", "-r", "41", "-1", "127.0.0.1"]
        done = await asyncio.to_thread(subprocess.run, [mbpoll, *reach], capture_output=True, text=True, timeout=30)
        assert "[41]: \t21.5" in done.stdout


async def test_limits_are_held_before_anything_is_sent(profile: Path) -> None:
    async with device_at(free_port(), profile) as crah:
        hot = crah.check(Command("crah-1/supply_air_setpoint_c", 45.0, "degC", "test"))
        assert (hot.kind, hot.value, hot.rule) == (VerdictKind.CLIPPED, 30.0, "range")
        sensor = crah.check(Command("crah-1/supply_air_c", 20.0, "degC", "test"))
        assert (sensor.kind, sensor.rule) == (VerdictKind.REJECTED, "not_writable")
        with pytest.raises(DeviceError, match=r"outside 10\.\.30"):
            await crah.write(Command("crah-1/supply_air_setpoint_c", 45.0, "degC", "test"))


async def test_release_writes_the_flag_of_the_profile(profile: Path) -> None:
    async with simulator(1) as port, device_at(port, profile) as crah:
        await crah.release(["crah-1/supply_air_setpoint_c"])
        (flag,) = await crah.read(["crah-1/remote_enable_flag"])
        assert flag.value == 0.0


async def test_a_device_without_a_way_back_says_so(tmp_path: Path) -> None:
    path = tmp_path / "crah.toml"
    path.write_text(CRAH.replace('kind = "timeout"', 'kind = "none"', 1))
    async with device_at(free_port(), path) as crah:
        with pytest.raises(DeviceError, match="no way to give control back"):
            await crah.release()


async def test_a_silent_device_times_out_and_a_closed_port_is_refused(profile: Path) -> None:
    async with simulator(1, delay_s=30.0) as port, device_at(port, profile, deadline_s=0.3) as slow:
        with pytest.raises(DeviceTimeout, match=r"no answer within 0\.3 s"):
            await slow.read()
    async with device_at(free_port(), profile, deadline_s=1.0) as nobody:
        with pytest.raises(DeviceError, match="no connection"):
            await nobody.read()


async def test_a_host_that_accepts_and_says_nothing_times_out(profile: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        async with device_at(mute.getsockname()[1], profile, deadline_s=0.3) as device:
            with pytest.raises(DeviceTimeout):
                await device.read()


async def test_units_behind_one_gateway_share_its_line(profile: Path) -> None:
    async with (
        simulator(1, 2, 3) as port,
        device_at(port, profile, 1) as one,
        device_at(port, profile, 2) as two,
        device_at(port, profile, 3) as three,
    ):
        everything = await asyncio.gather(*(unit.read() for unit in (one, two, three) for _ in range(5)))
        beats = [values_of(readings)["heartbeat_count"] for readings in everything]
        assert beats == [1.0] * 5 + [2.0] * 5 + [3.0] * 5
        await one.close()
        assert values_of(await two.read())["heartbeat_count"] == 2.0


async def test_the_time_of_a_unit_begins_with_its_turn_on_the_line(profile: Path) -> None:
    """Six units that take 0.2 s each: the last one waits for longer than the deadline, and answers within it."""
    numbers = range(1, 7)
    async with simulator(*numbers, delay_s=0.1) as port, contextlib.AsyncExitStack() as stack:
        units = [await stack.enter_async_context(device_at(port, profile, n, deadline_s=1.0)) for n in numbers]
        everything = await asyncio.gather(*(unit.read() for unit in units))
    assert [values_of(readings)["heartbeat_count"] for readings in everything] == [float(n) for n in numbers]


async def test_a_unit_that_the_gateway_lacks_is_an_error(profile: Path) -> None:
    async with simulator(1) as port, device_at(port, profile, unit=9, deadline_s=1.0) as absent:
        with pytest.raises(DeviceError):
            await absent.read()


async def test_a_profile_of_another_protocol_is_refused() -> None:
    with pytest.raises(ConfigError, match="is for snmp"):
        async with device_at(1, "ups-mib"):
            pass


def test_every_shipped_modbus_profile_names_its_source() -> None:
    assert load_profile("schneider-iem3000").profile.source
