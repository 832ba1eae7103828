"""A hwmon tree of the kernel's layout, imitated in a folder: two supplies of one name, a regulator, a CPU."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from facility.clock import WallClock
from facility.devices import open_device
from facility.devices.hwmon import HwmonDevice
from facility.errors import ConfigError, DeviceError, DeviceTimeout
from facility.records import Command, Quality, Reading
from facility.site import Device

SUPPLY = {
    "in1_label": "vin",
    "in1_input": "230500",
    "in2_label": "vout1",
    "in2_input": "12199",
    "curr1_label": "iin",
    "curr1_input": "1141",
    "power1_label": "pin",
    "power1_input": "263000000",
    "power2_label": "pout1",
    "power2_input": "244000000",
    "temp1_input": "25000",
    "fan1_input": "1500",
}
TWO = {"7-0058": {}, "7-0059": {"power1_input": "235000000"}}

PROFILE = """
[profile]
name = "mine"
protocol = "hwmon"
source = "made for this test"
[[point]]
name = "second_w"
kind = "power"
unit = "W"
file = "7-0059/power:pin"
[[point]]
name = "cpu_c"
kind = "temperature"
unit = "degC"
file = "coretemp/temp1_input"
[[point]]
name = "energy_wh"
kind = "energy"
unit = "Wh"
file = "coretemp/energy1_input"
[[point]]
name = "not_there_w"
kind = "power"
unit = "W"
file = "coretemp/power:pin"
"""


def chip(root: Path, number: int, name: str, device: str, files: dict[str, str]) -> Path:
    """One chip as the kernel shows it: a folder with ``name`` and a link ``device`` to the bus."""
    bus = root.parent / "devices" / device
    bus.mkdir(parents=True)
    folder = root / f"hwmon{number}"
    folder.mkdir(parents=True)
    (folder / "device").symlink_to(bus)
    for file, text in {"name": name, **files}.items():
        (folder / file).write_text(f"{text}\n")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "hwmon"
    chip(root, 0, "coretemp", "coretemp.0", {"temp1_input": "48000", "energy1_input": "7200000000"})
    for number, (device, changes) in enumerate(TWO.items(), start=2):
        chip(root, number, "dps650ab", device, {**SUPPLY, **changes})
    chip(root, 5, "mp2975", "9-0020", {"in1_label": "vin", "in1_input": "11980", "temp1_input": "55000"})
    return root


def supplies(root: Path, profile: str | Path = "hwmon-psu", deadline_s: float = 5.0) -> HwmonDevice:
    settings = Device(name="node-1", protocol="hwmon", profile=str(profile), root=str(root), deadline_s=deadline_s)
    device = open_device(settings, WallClock())
    assert isinstance(device, HwmonDevice)
    return device


def values(readings: list[Reading]) -> dict[str, float | None]:
    return {reading.point.removeprefix("node-1/"): reading.value for reading in readings}


async def test_two_supplies_of_one_name_are_told_apart_by_their_device(root: Path) -> None:
    found = values(await supplies(root).read())
    assert found["psu-7-0058/input_power_w"] == pytest.approx(263.0)
    assert found["psu-7-0059/input_power_w"] == pytest.approx(235.0)
    assert found["psu-7-0058/input_voltage_v"] == pytest.approx(230.5)
    assert found["psu-7-0058/output_voltage_v"] == pytest.approx(12.199)
    assert found["psu-7-0058/input_current_a"] == pytest.approx(1.141)
    assert found["psu-7-0058/temperature_c"] == pytest.approx(25.0)
    assert found["psu-7-0058/fan_rpm"] == 1500.0
    assert "psu-7-0058/output_current_a" not in found
    assert {name.split("/")[0] for name in found} == {"psu-7-0058", "psu-7-0059", "psu-9-0020"}


async def test_another_order_of_the_chips_at_boot_changes_no_name(root: Path) -> None:
    before = values(await supplies(root).read())
    (root / "hwmon2").rename(root / "hwmon8")
    assert values(await supplies(root).read()) == before


def io_error(path: Path) -> None:
    """A file that exists and cannot be read."""
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [Path.unlink, io_error, lambda path: path.write_text("N/A\n")])
async def test_what_cannot_be_read_is_no_value(root: Path, change: Callable[[Path], object]) -> None:
    device = supplies(root)
    await device.read()
    change(root / "hwmon3" / "power1_input")
    (reading,) = await device.read(["node-1/psu-7-0059/input_power_w"])
    assert (reading.value, reading.quality) == (None, Quality.BAD)
    assert values(await device.read())["psu-7-0058/input_power_w"] == pytest.approx(263.0)


async def test_a_fault_that_the_driver_reports_makes_no_number(root: Path) -> None:
    (root / "hwmon2" / "fan1_fault").write_text("1\n")
    found = values(await supplies(root).read())
    assert found["psu-7-0058/fan_rpm"] is None
    assert found["psu-7-0059/fan_rpm"] == 1500.0


async def test_a_supply_that_is_pulled_gives_no_reading(root: Path) -> None:
    device = supplies(root)
    await device.read()
    for file in (root / "hwmon2").iterdir():
        file.unlink()
    (root / "hwmon2").rmdir()
    assert not any("7-0058" in name for name in values(await device.read()))


async def test_plain_addresses_by_device_and_by_name(root: Path, tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text(PROFILE)
    found = values(await supplies(root, profile).read())
    assert found == {"second_w": 235.0, "cpu_c": 48.0, "energy_wh": 2.0, "not_there_w": None}


async def test_a_name_that_two_chips_have_is_refused(root: Path, tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text(PROFILE.replace("7-0059/", "dps650ab/"))
    with pytest.raises(DeviceError, match=r"several chips .*7-0058, 7-0059"):
        await supplies(root, profile).read()


@pytest.mark.parametrize("address", ["power1_input", "x/volts:vin", "x/power:", "x/pwm1", "x/power1_label"])
def test_an_address_that_is_none_is_a_mistake_in_the_profile(root: Path, tmp_path: Path, address: str) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text(PROFILE.replace("7-0059/power:pin", address))
    with pytest.raises(ConfigError, match="is no address"):
        supplies(root, profile)


async def test_a_machine_without_hwmon_says_so(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be read: No such file"):
        await supplies(tmp_path / "nothing").read()


async def test_a_bus_that_hangs_costs_its_deadline_once(root: Path) -> None:
    stuck = root / "hwmon2" / "power1_input"
    stuck.unlink()
    os.mkfifo(stuck)  # reading waits until somebody writes
    device = supplies(root, deadline_s=0.3)
    with pytest.raises(DeviceTimeout, match=r"within 0\.3 s"):
        await device.read()
    with pytest.raises(DeviceTimeout, match="an earlier call has not come back"):
        await device.read()
    await asyncio.to_thread(stuck.write_text, "263000000\n")
    stuck.unlink()
    stuck.write_text("263000000\n")
    await asyncio.sleep(0.1)
    assert values(await device.read())["psu-7-0058/input_power_w"] == pytest.approx(263.0)


async def test_nothing_is_written(root: Path) -> None:
    device = supplies(root)
    await device.read()
    with pytest.raises(DeviceError, match="read only"):
        await device.write(Command("node-1/psu-7-0058/input_power_w", 100.0, "W", "test"))
    await device.release()
