"""The emulated building's BMCs over IPMI: real simulators that say what the plant has."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from apps.emulator.ipmi.bmcs import IpmiBmcs
from apps.emulator.ipmi.config import Login
from apps.emulator.redfish_node import NodeNumbers
from facility.clock import WallClock
from facility.devices import open_device
from facility.records import Reading
from facility.site import Device
from facility.site import Login as SiteLogin
from tests.peers.ipmi_sim import PASSWORD, USER
from tests.peers.require import require_program

NUMBERS = NodeNumbers(gpu_w=(300.0,) * 8, node_w=3360.0, energy_wh=0.0, inlet_c=24.2)


async def _read(folder: Path) -> dict[str, Reading]:
    bmcs = IpmiBmcs(folder, {"node-1": lambda: NUMBERS}, Login(USER, PASSWORD))
    await bmcs.start({})
    about = Device(
        name="node-1",
        protocol="ipmi",
        profile="ipmi-bmc",
        port=bmcs.ports["node-1"],
        ipmi=SiteLogin(user=USER, password="env:ECO_TEST_BMC"),
    )
    device = open_device(about, WallClock())
    try:
        async with asyncio.timeout(60.0):
            while True:  # the simulator begins to answer a moment after it was started
                try:
                    return {reading.point: reading for reading in await device.read()}
                except Exception:
                    await asyncio.sleep(0.2)
    finally:
        await device.close()
        await bmcs.close()


def test_a_node_says_over_ipmi_what_the_plant_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_program("ipmi_sim", "apt-get install openipmi")
    monkeypatch.setenv("ECO_TEST_BMC", PASSWORD)
    readings = asyncio.run(_read(tmp_path))
    assert readings["node-1/sensor/inlet-temp_c"].value == 24.0
    assert readings["node-1/sensor/node-power_w"].value == 3360.0
    dcmi = readings["node-1/power_w"].value
    assert dcmi is None or dcmi == pytest.approx(3360.0, rel=0.01)  # None where no module could be compiled
