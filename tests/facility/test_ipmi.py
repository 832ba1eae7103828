"""IPMI against OpenIPMI's ipmi_sim, a BMC that is not ours, with ipmitool as a second client that must agree."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from facility.clock import WallClock
from facility.devices import open_device
from facility.devices.ipmi import IpmiDevice
from facility.errors import ConfigError, DeviceError, DeviceTimeout
from facility.profile import load_profile
from facility.records import Command, Quality, Reading, VerdictKind
from facility.site import Device
from facility.site.site import Login
from tests.peers.ipmi_sim import NAME, PASSWORD, SUPPLIES, USER, Bmc, build_module, ipmi_sim
from tests.peers.processes import free_port

LIMIT, ACTIVE = "node-1/power_limit_w", "node-1/power_limit_active_flag"

PROFILE = """
[profile]
name = "mine"
protocol = "ipmi"
source = "made for this test"
[[point]]
name = "inlet_c"
kind = "temperature"
unit = "degC"
sensor = "Inlet Temp"
[[point]]
name = "cpu_2_c"
kind = "temperature"
unit = "degC"
sensor = "Temp@3.2"
[[point]]
name = "wrong_unit_w"
kind = "power"
unit = "W"
sensor = "Inlet Temp"
[[point]]
name = "checked_w"
kind = "power"
unit = "W"
sensor = "pmbus:1/0x58:READ_PIN:pec"
[[point]]
name = "raw_count"
kind = "count"
unit = "1"
sensor = "pmbus:0x58:0x97:word"
[[point]]
name = "direct_v"
kind = "voltage"
unit = "V"
sensor = "pmbus:0x58:READ_TEMPERATURE_2:direct,19199,0,-2"
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_module(tmp_path_factory.mktemp("module"))


@pytest.fixture(scope="module")
def shared_bmc(module: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bmc]:
    with ipmi_sim(tmp_path_factory.mktemp(NAME), module) as running:
        yield running


@pytest.fixture
def bmc(shared_bmc: Bmc) -> Bmc:
    """The BMC with its supplies as at first, no limit in force and the node on."""
    shared_bmc.set_supplies(SUPPLIES)
    shared_bmc.ipmitool("raw", "0x2c", "5", "0xdc", "0", "0", "0")
    shared_bmc.ipmitool("chassis", "power", "on")
    return shared_bmc


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMC_PASSWORD", PASSWORD)
    monkeypatch.setenv("WRONG", "guess")


@asynccontextmanager
async def device_at(
    port: int,
    profile: str | Path = "ipmi-bmc",
    *,
    user: str = USER,
    secret: str = "env:BMC_PASSWORD",
    deadline_s: float = 10.0,
) -> AsyncIterator[IpmiDevice]:
    login = Login(user=user, password=secret)
    settings = Device(
        name="node-1", protocol="ipmi", profile=str(profile), port=port, ipmi=login, deadline_s=deadline_s
    )
    device = open_device(settings, WallClock())
    assert isinstance(device, IpmiDevice)
    try:
        yield device
    finally:
        await device.close()


def values(readings: list[Reading]) -> dict[str, float | None]:
    return {reading.point.removeprefix("node-1/"): reading.value for reading in readings}


async def test_every_sensor_says_what_ipmitool_says(bmc: Bmc) -> None:
    async with device_at(bmc.port) as node:
        readings = await node.read()
    found = values(readings)
    oracle = re.findall(r"^(.+?) +\| \w+h \| (\w+) +\| +[\d.]+ \| (-?[\d.]+)?", bmc.ipmitool("sdr", "elist"), re.M)
    assert [row[0] for row in oracle][:3] == ["Inlet Temp", "Exhaust Temp", "FAN1"]
    said = sorted(float(number) for _, status, number in oracle if status == "ok")
    assert said == sorted(value for name, value in found.items() if name.startswith("sensor/") and value is not None)
    assert found["sensor/temp-3.1_c"] == 61.0
    assert found["sensor/temp-3.2_c"] == 64.0
    assert found["sensor/dts-margin_c"] == -35.0
    assert found["sensor/fan1_rpm"] == 8400.0
    assert found["sensor/sysbrd-12v_v"] == pytest.approx(12.18)


async def test_a_sensor_without_a_reading_is_bad_and_never_zero(bmc: Bmc) -> None:
    async with device_at(bmc.port) as node:
        found = {reading.point: reading for reading in await node.read()}
    for name in ("gpu-temp", "pulled-temp"):  # one is not scanned (ipmitool says ns), one is not there
        reading = found[f"node-1/sensor/{name}_c"]
        assert (reading.value, reading.quality) == (None, Quality.BAD)


async def test_power_by_dcmi(bmc: Bmc) -> None:
    async with device_at(bmc.port) as node:
        assert values(await node.read())["power_w"] == 498.0
        assert "Instantaneous power reading:                   498 Watts" in bmc.ipmitool("dcmi", "power", "reading")
        bmc.set_supplies("58 20 17\n")  # nothing measures now: the BMC says so, and sends 0
        (reading,) = await node.read(["node-1/power_w"])
        assert (reading.value, reading.quality) == (None, Quality.BAD)


async def test_a_power_limit_is_set_put_in_force_and_given_back(bmc: Bmc) -> None:
    async with device_at(bmc.port) as node:
        assert values(await node.read([LIMIT, ACTIVE])) == {"power_limit_w": None, "power_limit_active_flag": 0.0}
        command = Command(LIMIT, 350.0, "W", "test")
        assert node.check(command).kind is VerdictKind.ACCEPTED
        await node.write(command)
        assert (await node.read_back(command)).value == 350.0
        said = bmc.ipmitool("dcmi", "power", "get_limit")
        assert "Power Limit Active" in said
        assert "350 Watts" in said
        await node.release([LIMIT])
        assert values(await node.read([LIMIT, ACTIVE])) == {"power_limit_w": None, "power_limit_active_flag": 0.0}
        assert "No Active Power Limit" in bmc.ipmitool("dcmi", "power", "get_limit")


async def test_a_limit_never_inherits_the_order_to_power_off(bmc: Bmc) -> None:
    set_limit = "0x2c 4 0xdc 0 0 0 1 0x90 1 0x88 0x13 0 0 0 0 5 0"  # 400 W, power off, 5000 ms, 5 s
    bmc.ipmitool("raw", *set_limit.split())
    assert bmc.state()["action"] == 1
    async with device_at(bmc.port) as node:
        await node.write(Command(LIMIT, 300.0, "W", "test"))
    state = bmc.state()
    assert (state["limit_w"], state["action"]) == (300, 0x11)
    assert (state["correction_ms"], state["sampling_s"]) == (5000, 5)


async def test_a_limit_that_the_bmc_refuses_changes_nothing(bmc: Bmc) -> None:
    before = bmc.state()
    async with device_at(bmc.port) as node:
        with pytest.raises(DeviceError, match=r"power_limit_w: the limit is out of the BMC's range .*0x84"):
            await node.write(Command(LIMIT, 5000.0, "W", "test"))
        with pytest.raises(DeviceError, match="not written"):
            await node.write(Command("node-1/power_on_flag", 0.0, "1", "test"))
    assert bmc.state() == before


async def test_supplies_behind_the_bmc_agree_with_raw_requests(bmc: Bmc) -> None:
    async with device_at(bmc.port, "ipmi-psu") as node:
        found = values(await node.read())
    assert "07 01" in bmc.ipmitool("raw", "6", "0x52", "1", "0xb0", "2", "0x97")
    assert found["psu-1/input_power_w"] == 263.0
    assert found["psu-1/input_voltage_v"] == 230.5
    assert found["psu-1/output_voltage_v"] == 12.19921875
    assert found["psu-1/input_current_a"] == 4.96875
    assert found["psu-2/input_power_w"] == 235.0
    assert "psu-1/output_current_a" not in found  # the supply does not know the command
    assert "rsp=0x83" in bmc.ipmitool("raw", "6", "0x52", "1", "0xb0", "2", "0x8c")


async def test_mean_power_from_the_energy_counter(bmc: Bmc) -> None:
    async with device_at(bmc.port, "ipmi-psu") as node:
        point = "node-1/psu-1/mean_input_power_w"
        assert (await node.read([point]))[0].value is None  # one reading makes no power
        bmc.set_supplies(SUPPLIES.replace("58 86 06 e8 7f 01 10 00 00", "58 86 06 20 03 02 74 00 00"))
        assert (await node.read([point]))[0].value == pytest.approx(8.23)
        assert (await node.read([point]))[0].value is None  # no new sample


async def test_a_supply_that_is_pulled_is_no_zero(bmc: Bmc) -> None:
    async with device_at(bmc.port, "ipmi-psu") as node:
        bmc.set_supplies("\n".join(line for line in SUPPLIES.splitlines() if not line.startswith("58")))
        found = values(await node.read())
        assert not any(name.startswith("psu-1/") for name in found)
        assert found["psu-2/input_power_w"] == 235.0
        bmc.set_supplies("58 97 ff ff\n58 8b 66 18\n")  # a bus that floats; no VOUT_MODE
        found = values(await node.read())
        assert found == {"psu-1/input_power_w": None, "psu-1/output_voltage_v": None}


async def test_addresses_in_a_profile(bmc: Bmc, tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text(PROFILE)
    bmc.set_supplies(SUPPLIES + "58 8e b8 0b\n")
    async with device_at(bmc.port, profile) as node:
        found = values(await node.read())
    assert found.pop("direct_v") == pytest.approx(15.6258, abs=1e-4)
    assert found == {"inlet_c": 23.0, "cpu_2_c": 64.0, "wrong_unit_w": None, "checked_w": 263.0, "raw_count": 263.0}
    profile.write_text(PROFILE.replace("Temp@3.2", "Temp"))
    async with device_at(bmc.port, profile) as node:
        with pytest.raises(DeviceError, match=r"cpu_2_c: several sensors are named 'Temp' .*Temp@3\.1, Temp@3\.2"):
            await node.read()


@pytest.mark.parametrize(
    "address", ["dcmi:limits", "pmbus:0x58", "pmbus:0x80:READ_PIN", "pmbus:0x58:READ_PIN:direct", "pmbus:0x58:MFR_ID"]
)
async def test_an_address_that_is_none_is_a_mistake_in_the_profile(tmp_path: Path, address: str) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text(PROFILE.replace("Inlet Temp", address, 1))
    with pytest.raises(ConfigError, match="is no address"):
        async with device_at(1, profile):
            pass


def test_a_release_by_value_needs_its_point(tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text(PROFILE + '[release]\nkind = "value"\n')
    with pytest.raises(ConfigError, match="needs release_point"):
        load_profile(profile)


async def test_a_node_is_switched_off_and_on(bmc: Bmc) -> None:
    async with device_at(bmc.port) as node:
        for control, flag, said in (("soft", 0.0, "off"), ("on", 1.0, "on"), ("off", 0.0, "off")):
            await node.set_power(control)  # type: ignore[arg-type]
            assert values(await node.read(["node-1/power_on_flag"])) == {"power_on_flag": flag}
            assert f"Chassis Power is {said}" in bmc.ipmitool("chassis", "power", "status")


async def test_wrong_credentials_a_closed_port_and_silence_are_told_apart(bmc: Bmc) -> None:
    async with device_at(bmc.port, secret="env:WRONG") as node:
        with pytest.raises(DeviceError, match="wrong user or password: Incorrect password"):
            await node.read()
    async with device_at(bmc.port, user="nobody") as node:
        with pytest.raises(DeviceError, match="wrong user or password: Unauthorized name"):
            await node.read()
    async with device_at(free_port(socket.SOCK_DGRAM)) as node:
        with pytest.raises(DeviceError, match="connection refused"):
            await node.read()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        async with device_at(mute.getsockname()[1], deadline_s=0.3) as node:
            with pytest.raises(DeviceTimeout, match=r"no answer within 0\.3 s"):
                await node.read()


async def test_a_dead_bmc_does_not_delay_another(bmc: Bmc) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        async with device_at(mute.getsockname()[1], deadline_s=20.0) as dead, device_at(bmc.port) as alive:
            waiting = asyncio.create_task(dead.read())
            assert values(await alive.read())["power_on_flag"] == 1.0
            assert not waiting.done()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting


async def test_a_cancelled_read_leaves_the_device_usable(bmc: Bmc) -> None:
    async with device_at(bmc.port) as node:
        for pause_s in (0.0, 0.02, 0.3, 0.02, 0.005):
            reading = asyncio.create_task(node.read())
            await asyncio.sleep(pause_s)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        found = values(await node.read())
        assert found["power_w"] == 498.0
        assert found["sensor/inlet-temp_c"] == 23.0


async def test_a_bmc_that_is_killed_comes_back_with_its_limit(module: Path, tmp_path: Path) -> None:
    with ipmi_sim(tmp_path, module) as first:
        async with device_at(first.port, deadline_s=2.0) as node:
            await node.read()
            await node.write(Command(LIMIT, 350.0, "W", "test"))
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
            with pytest.raises(DeviceTimeout):
                await node.read([LIMIT])
            with pytest.raises(DeviceError, match="connection refused"):
                await node.read([LIMIT])
            with ipmi_sim(tmp_path, module, first.port):
                assert values(await node.read([LIMIT, ACTIVE])) == {
                    "power_limit_w": 350.0,
                    "power_limit_active_flag": 1.0,
                }
                await node.release()
                assert values(await node.read())["power_limit_active_flag"] == 0.0


def test_sessions_end_with_a_killed_parent() -> None:
    program = (
        "import time; from facility.devices.ipmi.link import Worker; print(Worker().pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
    for _ in range(400):
        if not is_running(pid):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} outlives its parent")


def is_running(pid: int) -> bool:
    """Whether it is there, and not merely waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
