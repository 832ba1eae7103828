"""Redfish over real captures behind the strict server: a rack server, an HGX board and an iLO."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from facility.errors import DeviceError, ReleaseUnknown
from facility.records import Command, Quality, VerdictKind
from tests.peers.redfish import captured, connected, values

RACK, HGX, ILO = "dmtf-public-rackmount1", "supermicro-gb300", "hpe-dl360-ilo5"
CONTROL = "/redfish/v1/Chassis/HGX_Chassis_0/Controls/TotalGPU_Power_0"
METRICS = "/redfish/v1/Chassis/HGX_Chassis_0/EnvironmentMetrics"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PASSWORD", "a-long-secret")


async def test_a_rack_server_in_the_new_and_the_old_schemas() -> None:
    async with connected(captured(RACK), "redfish-dmtf") as device:
        readings = await device.read()
        found = values(readings)
        limit = device.points["node-1/chassis-1u/power_limit_w"]
    assert len(readings) == 68
    assert {reading.quality for reading in readings} == {Quality.GOOD}
    assert found["chassis-1u/power_w"] == 374.0
    assert found["chassis-1u/psu-bay1/input_power_w"] == 937.4
    assert found["chassis-1u/psu-bay1/energy_wh"] == 325_675_000.0  # kWh in the service
    assert found["chassis-1u/psu-bay1/health_code"] == 1.0  # Warning
    assert found["chassis-1u/fan-bay1/speed_rpm"] == 2200.0
    assert found["chassis-1u/intake_air_c"] == 24.8
    assert found["chassis-1u/sensor-ambienttemp/temperature_c"] == 22.5  # known by its unit: it has no ReadingType
    assert found["chassis-1u/power-control-0/power_w"] == 344.0
    assert found["chassis-1u/thermal-chassis-intake-temp/temperature_c"] == 25.0
    assert "chassis-1u/thermal-cpu2-temp/temperature_c" not in found  # switched off, and has no number
    assert (limit.min, limit.max) == (150.0, 1000.0)  # the service's own


async def test_a_gpu_board_with_its_modules_and_leak_detectors() -> None:
    async with connected(captured(HGX), "redfish-hgx") as device:
        readings = await device.read()
        found = values(readings)
        limit = device.points["node-1/gpu_power_limit_w"]
    assert len(readings) == 30
    assert found["gpu_power_limit_w"] == 5600.0
    assert (limit.min, limit.max) == (800.0, 5600.0)
    assert found["gpu-0/power_w"] == pytest.approx(231.958)
    assert found["gpu-0/energy_wh"] == pytest.approx(230_057_772.094 / 3600.0)
    assert found["gpu-0/temperature_c"] == 32.9375
    assert found["gpu-0/headroom_k"] == 54.0625  # a distance, and no temperature
    assert found["module-0/inlet-1/temperature_c"] == 38.3125
    assert found["cpu-0/power_w"] == 86.718
    assert found["host-0/power_w"] == pytest.approx(1355.398772)
    assert found["host-0/leak-chassis-0-leakdetector-1-manifold/leak_code"] == 0.0


async def test_an_ilo_whose_absent_sensors_report_zero() -> None:
    async with connected(captured(ILO), "redfish-ilo") as device:
        readings = await device.read()
        found = values(readings)
    assert len(readings) == 55
    assert found["power_w"] == 565.0
    assert found["gpu_power_w"] == 135.0
    assert sum(found[f"psu-{number}/output_power_w"] or 0.0 for number in range(4)) == pytest.approx(565.0, rel=0.01)
    assert found["sensor-51-1-xlr8r-14-gpu-asic/temperature_c"] == 55.0
    assert found["fan-6/speed_pct"] == 23.0
    assert not [name for name in found if "exhaust" in name]  # the service says 0 degC and State "Absent"
    assert "power_limit_w" not in found  # no limit is set


@pytest.mark.parametrize(
    ("capture", "count", "name", "value"),
    [
        (HGX, 86, "chassis-hgx-gpu-0/sensor-hgx-gpu-0-temp-1/headroom_k", 54.0625),
        (ILO, 51, "chassis-1/supply-2/last_output_power_w", 86.0),
    ],
)
async def test_the_general_profile_fits_the_others_too(capture: str, count: int, name: str, value: float) -> None:
    async with connected(captured(capture), "redfish-dmtf", deadline_s=20.0) as device:
        readings = await device.read()
    assert len(readings) == count
    assert values(readings)[name] == value


async def test_a_resource_is_fetched_once_a_read_however_many_points_lie_in_it() -> None:
    service = captured(ILO)
    async with connected(service, "redfish-ilo") as device:
        await device.read()
        service.requests.clear()
        assert len(await device.read()) == 55
    gets = Counter(path for method, path in service.requests if method == "GET")
    assert gets == dict.fromkeys(
        ["/redfish/v1/Systems/1", *(f"/redfish/v1/Chassis/1{part}" for part in ("", "/Power", "/Thermal"))], 1
    )


async def test_a_profile_of_another_machine_is_told() -> None:
    async with connected(captured(HGX), "redfish-ilo") as device:
        with pytest.raises(DeviceError, match=r"unknown model.*redfish-ilo"):
            await device.read()


async def test_a_gpu_limit_is_set_shows_in_the_linked_resource_and_is_given_back() -> None:
    service = captured(HGX)
    async with connected(service, "redfish-hgx") as device:
        await device.read()
        command = Command("node-1/gpu_power_limit_w", 4000.0, "W", "test")
        assert device.check(Command(command.point, 100.0, "W", "test")).value == 800.0
        assert device.check(command).kind is VerdictKind.ACCEPTED
        await device.write(command)
        assert (await device.read_back(command)).value == 4000.0
        assert service.tree.resources[METRICS]["PowerLimitWatts"]["SetPoint"] == 4000
        assert isinstance(service.tree.resources[CONTROL]["SetPoint"], int)
        await device.release([command.point])
        assert (await device.read_back(command)).value == 5600.0
    posts = [path for method, path in service.requests if method == "POST" and "Actions" in path]
    assert posts == [f"{METRICS}/Actions/Oem/NvidiaEnvironmentMetrics.ClearOOBSetPoint"]


async def test_after_a_crash_a_fresh_device_gives_back_what_is_named() -> None:
    service = captured(HGX)
    async with connected(service, "redfish-hgx") as device:
        await device.write(Command("node-1/gpu_power_limit_w", 3000.0, "W", "test"))
    async with connected(service, "redfish-hgx") as device:
        await device.release(["node-1/gpu_power_limit_w", "node-1/module-0/power_limit_w"])
    assert service.tree.resources[CONTROL]["SetPoint"] == 5600


async def test_the_device_s_range_holds_before_the_first_read_too() -> None:
    service = captured(HGX)
    async with connected(service, "redfish-hgx") as device:
        with pytest.raises(DeviceError, match=r"9000 is outside 800\.\.5600"):
            await device.write(Command("node-1/gpu_power_limit_w", 9000.0, "W", "test"))
    assert not [path for method, path in service.requests if method == "PATCH"]


@pytest.mark.parametrize("before", [500, None])
async def test_an_older_power_limit_goes_back_to_what_it_was(before: int | None) -> None:
    service = captured(RACK)
    control = service.tree.resources["/redfish/v1/Chassis/1U/Power"]["PowerControl"][0]
    control["PowerLimit"]["LimitInWatts"] = before
    point = "node-1/chassis-1u/power-control-0/power_limit_w"
    async with connected(service, "redfish-dmtf") as device:
        found = {reading.point: reading.value for reading in await device.read()}
        assert found.get(point) == before
        for watts in (400.0, 450.0):
            await device.write(Command(point, watts, "W", "test"))
            assert control["PowerLimit"]["LimitInWatts"] == watts
        await device.write(Command(point, None, "W", "test"))
        assert control["PowerLimit"] == {"LimitInWatts": before, "LimitException": "LogEventOnly", "CorrectionInMs": 50}
        control["PowerLimit"]["LimitInWatts"] = 450
        with pytest.raises(ReleaseUnknown):  # as after a crash: only the journal knows what stood there
            await device.release([point])


async def test_a_limit_without_a_way_back_is_said_to_have_none() -> None:
    async with connected(captured(RACK), "redfish-dmtf") as device:
        await device.read()
        with pytest.raises(ReleaseUnknown, match="power_limit_w"):
            await device.release(["node-1/chassis-1u/power_limit_w"])


async def test_a_control_that_was_off_is_switched_on_and_off_again() -> None:
    service = captured(HGX)
    name, excerpt = "ProcessorModule_0_CPU_0_TDPPowerNonvolatile_0", "/redfish/v1/Chassis/HGX_CPU_0/EnvironmentMetrics"
    control = service.tree.resources[f"/redfish/v1/Chassis/HGX_CPU_0/Controls/{name}"]
    point = "node-1/chassis-hgx-cpu-0/power_limit_w"
    async with connected(service, "redfish-dmtf", deadline_s=20.0) as device:
        await device.read()
        await device.write(Command(point, 250.0, "W", "test"))
        assert (control["SetPoint"], control["ControlMode"]) == (250, "Automatic")
        await device.release([point])
    assert control["ControlMode"] == "Disabled"
    assert service.tree.resources[excerpt]["PowerLimitWatts"]["ControlMode"] == "Disabled"


async def test_what_the_service_does_not_let_be_written_is_said_in_its_own_words(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    common = 'kind = "power"\nunit = "W"\nwritable = true\n'
    path.write_text(
        '[profile]\nname = "wrong"\nprotocol = "redfish"\nsource = "test"\n'
        f'[[point]]\nname = "measured_w"\n{common}resource = "{CONTROL}"\npointer = "/Sensor/Reading"\n'
        f'[[point]]\nname = "power_w"\n{common}pointer = "/Reading"\n'
        'resource = "/redfish/v1/Chassis/HGX_GPU_0/Sensors/HGX_GPU_0_Power_0"\n'
        f'[[point]]\nname = "absent_w"\n{common}resource = "{CONTROL}"\npointer = "/No/Such"\n'
    )
    async with connected(captured(HGX), path) as device:
        for name, said in (
            ("measured_w", "400.*read-only property"),
            ("power_w", "405.*not allowed"),
            ("absent_w", "no"),
        ):
            with pytest.raises(DeviceError, match=said):
                await device.write(Command(f"node-1/{name}", 900.0, "W", "test"))
        with pytest.raises(ReleaseUnknown):
            await device.release()


async def test_an_ilo_without_a_cap_says_so() -> None:
    async with connected(captured(ILO), "redfish-ilo") as device:
        await device.release()  # nothing is set
        with pytest.raises(DeviceError, match="has no /PowerControl/0/PowerLimit"):
            await device.write(Command("node-1/power_limit_w", 500.0, "W", "test"))
