"""An air handler of the tests over BACnet: its profile, its client, and its readings by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from facility.clock import WallClock
from facility.devices.bacnet import BacnetDevice
from facility.profile import load_profile
from facility.records import Command, Reading
from facility.site import Bacnet, Device
from tests.peers.bacnet import INSTANCE

HEAD = '[profile]\nname = "{name}"\nprotocol = "bacnet"\nsource = "made for this test"\n[release]\nkind = "{release}"\n'
POINTS = {
    "supply_air_c": ("degC", "analog-input,1", ""),
    "broken_c": ("degC", "analog-input,2", ""),
    "in_hand_c": ("degC", "analog-input,3", ""),
    "overridden_c": ("degC", "analog-input,4", ""),
    "wrong_unit_c": ("degC", "analog-input,5", "writable = true"),
    "right_unit_c": ("degC", "analog-input,5", f"scale = {5 / 9}\noffset = {-160 / 9}"),
    "power_w": ("W", "analog-input,6", "scale = 1000.0"),
    "input_c": ("degC", "analog-input,1", "writable = true"),
    "setpoint_c": ("degC", "analog-output,1", "writable = true\nmin = 5.0\nmax = 40.0"),
    "plain_count": ("1", "analog-value,1", "writable = true"),
    "offset_k": ("K", "analog-value,2", "writable = true"),
    "running_flag": ("1", "binary-input,1", ""),
    "enable_flag": ("1", "binary-output,1", "writable = true"),
    "mode_count": ("1", "multi-state-value,1", ""),
    "absent_count": ("1", "analog-value,99", "optional = true"),
    "missing_count": ("1", "analog-value,98", "writable = true"),
}


def write_profile(folder: Path, name: str = "ahu", release: str = "relinquish", only: tuple[str, ...] = ()) -> Path:
    points = "".join(
        f'[[point]]\nname = "{key}"\nkind = "any"\nunit = "{unit}"\nobject = "{address}"\n{more}\n'
        for key, (unit, address, more) in POINTS.items()
        if not only or key in only
    )
    path = folder / f"{name}.toml"
    path.write_text(HEAD.format(name=name, release=release) + points)
    return path


@asynccontextmanager
async def device_at(
    port: int, profile: str | Path, deadline_s: float = 10.0, instance: int = INSTANCE, **settings: object
) -> AsyncIterator[BacnetDevice]:
    bacnet = Bacnet.model_validate({"instance": instance, **settings})
    about = Device(
        name="ahu-1", protocol="bacnet", profile=str(profile), port=port, deadline_s=deadline_s, bacnet=bacnet
    )
    device = BacnetDevice(about, load_profile(str(profile)), WallClock())
    try:
        yield device
    finally:
        await device.close()


def by_name(readings: list[Reading]) -> dict[str, Reading]:
    return {reading.point.removeprefix("ahu-1/"): reading for reading in readings}


def values(readings: list[Reading]) -> dict[str, float | None]:
    return {name: reading.value for name, reading in by_name(readings).items()}


def command(name: str, value: float | None) -> Command:
    return Command(f"ahu-1/{name}", value, "", "test")


async def value_of(device: BacnetDevice, name: str) -> float | None:
    (reading,) = await device.read([f"ahu-1/{name}"])
    return reading.value
