"""Each shipped Modbus family against a libmodbus server that holds what such a device would."""

from __future__ import annotations

import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from facility.clock import WallClock
from facility.devices import open_device
from facility.errors import DeviceError, ReleaseUnknown
from facility.profile import load_profile, shipped_profiles
from facility.records import Actuator, Command, Quality, Reading
from facility.site import Device
from tests.peers.processes import answers_tcp, free_port, running
from tests.peers.require import require_library

Image = dict[int, int]  # address -> register

TESTED = {
    "generic-cdu",
    "janitza-umg",
    "liebert-c10",
    "liebert-crv",
    "liebert-icom",
    "schneider-iem3000",
    "schneider-pm5000",
    "sunspec-meter",
    "sunspec-meter-float",
    "thermalcare-accuchiller-eq",
}


def test_every_modbus_family_has_a_test_here() -> None:
    shipped = {name for name in shipped_profiles() if load_profile(name).protocol == "modbus"}
    assert shipped - {name for name in shipped if name.startswith("emulated-")} == TESTED


def put(image: Image, address: int, form: str, *values: float) -> None:
    """Big-endian values of a struct form, from an address on."""
    data = struct.pack(f">{form}", *values)
    for i in range(0, len(data), 2):
        image[address + i // 2] = int.from_bytes(data[i : i + 2], "big")


def _range(image: Image) -> list[str]:
    """Start and contents for the server; what is not in the image is 0."""
    first, last = min(image), max(image)
    content = b"".join(image.get(address, 0).to_bytes(2, "big") for address in range(first, last + 1))
    return [str(first), content.hex()]


@asynccontextmanager
async def family(profile: str, scratch: Path, holding: Image, given: Image | None = None) -> AsyncIterator[Actuator]:
    """A device of a family, on a libmodbus server with holding registers and, where given, input registers."""
    library, port = require_library("libmodbus.so.5", "apt-get install libmodbus5"), free_port()
    command = [sys.executable, "-m", "tests.peers.libmodbus_server", library, str(port), *_range(holding)]
    command += _range(given) if given else []
    with running(command, scratch / "libmodbus.log", lambda: answers_tcp(port)):
        device = open_device(Device(name="dev", protocol="modbus", profile=profile, port=port), WallClock())
        try:
            yield device
        finally:
            await device.close()


def named(readings: list[Reading]) -> dict[str, Reading]:
    return {reading.point.removeprefix("dev/"): reading for reading in readings}


async def values_of(device: Actuator) -> dict[str, float | None]:
    return {name: reading.value for name, reading in named(await device.read()).items()}


def sunspec(base: int, model: int, body: Image, length: int) -> Image:
    """A SunSpec map: marker, common model, the model with ``body`` (offsets from its ID register), the end."""
    image: Image = dict.fromkeys(range(base + 2, base + 76 + length), 0x8000)
    put(image, base, "4s", b"SunS")  # type: ignore[arg-type]  # text is a struct value, too
    put(image, base + 2, "2H", 1, 66)
    put(image, base + 70, "2H", model, length)
    image.update({base + 70 + offset: word for offset, word in body.items()})
    put(image, base + 72 + length, "2H", 0xFFFF, 0)
    return image


def meter_body() -> Image:
    body: Image = {}
    put(body, 2, "5h", 523, 174, 175, 174, -1)  # A: sum, phases, scale factor
    put(body, 7, "9h", 2301, 2300, 2302, 2301, 3985, 3984, 3986, 3985, -1)  # V: neutral, between phases
    put(body, 16, "2h", 4998, -2)
    put(body, 18, "5h", 1204, 401, 402, 401, 1)  # W
    put(body, 23, "5h", 1250, 416, 417, 417, 1)  # VA
    put(body, 28, "5h", -335, -111, -112, -112, 1)  # var
    put(body, 38, "8I", 0, 0, 0, 0, 4_000_000_000, 1, 1, 1)  # Wh: out not implemented, in
    put(body, 54, "h", 2)
    return body


@pytest.mark.parametrize(("base", "model"), [(40000, 203), (50000, 201), (0, 204)])
async def test_a_sunspec_meter(base: int, model: int, tmp_path: Path) -> None:
    async with family("sunspec-meter", tmp_path, sunspec(base, model, meter_body(), 105)) as meter:
        values = await values_of(meter)
        assert values["current_a"] == 52.3
        assert values["phase-2/voltage_v"] == 230.2
        assert values["line-3/voltage_v"] == 398.5
        assert values["frequency_hz"] == 49.98
        assert values["power_w"] == 12_040.0
        assert values["apparent_power_va"] == 12_500.0
        assert values["reactive_power_var"] == -3350.0
        assert values["energy_wh"] == 4e11
        assert "energy_exported_wh" not in values  # acc32 0: not implemented
        assert meter.points["dev/energy_wh"].rollover == 2**32 * 100.0


async def test_a_sunspec_meter_that_lacks_things(tmp_path: Path) -> None:
    body = meter_body()
    put(body, 4, "2h", -32768, -32768)  # a single-phase meter
    put(body, 17, "h", -32768)  # frequency without its scale factor
    put(body, 22, "h", 11)  # no exponent at all
    async with family("sunspec-meter", tmp_path, sunspec(40000, 201, body, 105)) as meter:
        readings = named(await meter.read())
    assert readings["phase-1/current_a"].value == 17.4
    assert "phase-2/current_a" not in readings
    for name in ("frequency_hz", "power_w"):
        assert (readings[name].value, readings[name].quality) == (None, Quality.BAD)


async def test_a_sunspec_device_without_such_a_model_says_which_it_has(tmp_path: Path) -> None:
    async with family("sunspec-meter", tmp_path, sunspec(40000, 103, {}, 50)) as inverter:
        with pytest.raises(DeviceError, match=r"no SunSpec model 203, 201, 202, 204; the device has 1, 103"):
            await inverter.read()


async def test_a_device_without_a_sunspec_map_says_so(tmp_path: Path) -> None:
    async with family("sunspec-meter", tmp_path, {40000: 1, 40001: 2, 40002: 3}) as stranger:
        with pytest.raises(DeviceError, match="no SunSpec map found"):
            await stranger.read()


async def test_a_sunspec_float_meter(tmp_path: Path) -> None:
    body: Image = {}
    put(body, 2, "4f", 52.5, 17.5, 17.5, 17.5)
    put(body, 10, "8f", 230.0, 230.5, 229.5, 230.0, 398.0, 398.5, 397.5, 398.0)
    put(body, 26, "f", 50.0)
    put(body, 28, "4f", 12_000.0, 4000.0, 4000.0, 4000.0)
    put(body, 36, "f", float("nan"))
    put(body, 44, "f", -300.0)
    put(body, 60, "f", float("nan"))
    put(body, 68, "f", 123_456.0)
    async with family("sunspec-meter-float", tmp_path, sunspec(40000, 213, body, 124)) as meter:
        values = await values_of(meter)
    assert values["phase-2/voltage_v"] == 229.5
    assert values["line-2/voltage_v"] == 397.5
    assert values["phase-3/power_w"] == 4000.0
    assert values["energy_wh"] == 123_456.0
    assert "apparent_power_va" not in values
    assert "energy_exported_wh" not in values


async def test_a_janitza_umg(tmp_path: Path) -> None:
    image: Image = {}
    put(image, 19000, "3f", 230.0, 231.0, 229.0)
    put(image, 19026, "f", 6900.0)
    put(image, 19068, "f", 1234.5)
    async with family("janitza-umg", tmp_path, image) as meter:
        values = await values_of(meter)
    assert (values["phase-2/voltage_v"], values["power_w"], values["energy_wh"]) == (231.0, 6900.0, 1234.5)


@pytest.mark.parametrize("profile", ["schneider-iem3000", "schneider-pm5000"])
async def test_schneider_meters(profile: str, tmp_path: Path) -> None:
    image: Image = {}
    put(image, 2999, "3f", 10.0, 11.0, 12.0)
    put(image, 3027, "3f", 230.0, 231.0, 229.0)
    put(image, 3053, "4f", 2.25, 2.5, 2.75, 7.5)
    put(image, 3109, "f", 50.0)
    put(image, 3203, "q", 9_876_543)
    async with family(profile, tmp_path, image) as meter:
        values = await values_of(meter)
    assert values["phase-3/current_a"] == 12.0
    assert values["phase-1/voltage_v"] == 230.0
    assert values["phase-2/power_w"] == 2500.0
    assert values["power_w"] == 7500.0
    assert values["energy_wh"] == 9_876_543.0


async def test_a_liebert_crv_arms_its_fail_safe(tmp_path: Path) -> None:
    given: Image = {}
    put(given, 426, "7h", *(231, 232, 233, 234, 235, 236, 237))
    put(given, 443, "h", 72)
    put(given, 449, "6h", 88, 65, 40, 0, 0, 0)
    async with family("liebert-crv", tmp_path, {447: 0, 459: 2}, given) as unit:
        values = await values_of(unit)
        assert values["fan_speed_pct"] == 65.0
        assert values["chw_supply_c"] == pytest.approx(7.2)
        assert values["remote-sensor-7/temperature_c"] == pytest.approx(23.7)
        assert values["control_sensor_code"] == 2.0
        arm = Command("dev/fallback_timeout_min", 5.0, "min", "test")
        await unit.write(arm)
        assert (await unit.read_back(arm)).value == 5.0
        with pytest.raises(ReleaseUnknown):  # the guard then writes back what stood there
            await unit.release()


async def test_a_liebert_icom_unit(tmp_path: Path) -> None:
    holding: Image = {18: 80, 22: 225, 26: 45, 262: 22, 273: 0}
    async with family("liebert-icom", tmp_path, holding, {99: 1, 101: 8, 279: 0}) as unit:
        values = await values_of(unit)
        assert values["air_setpoint_c"] == pytest.approx(22.5)
        assert values["fan_speed_max_pct"] == 80.0
        assert (values["unit_state_code"], values["unit_status_code"]) == (1.0, 8.0)
        await unit.write(Command("dev/air_setpoint_c", 23.5, "degC", "test"))
        assert (await values_of(unit))["air_setpoint_c"] == pytest.approx(23.5)


async def test_a_liebert_c10_unit(tmp_path: Path) -> None:
    holding: Image = {5: 1, 15: 240, 16: 450, 17: 180, 21: 0, 24: 300, 25: 120}
    async with family("liebert-c10", tmp_path, holding) as unit:
        values = await values_of(unit)
    assert values["supply_air_setpoint_c"] == pytest.approx(18.0)
    assert values["return_air_setpoint_c"] == pytest.approx(24.0)
    assert values["unit_on_flag"] == 1.0


async def test_a_thermal_care_chiller_speaks_fahrenheit(tmp_path: Path) -> None:
    image: Image = {}
    put(image, 40000, "f", 50.0)
    async with family("thermalcare-accuchiller-eq", tmp_path, image) as chiller:
        assert (await values_of(chiller))["chw_supply_setpoint_c"] == pytest.approx(10.0)
        setpoint = Command("dev/chw_supply_setpoint_c", 12.0, "degC", "test")
        await chiller.write(setpoint)
        assert (await chiller.read_back(setpoint)).value == pytest.approx(12.0, abs=1e-5)


async def test_the_template_of_a_cdu(tmp_path: Path) -> None:
    image: Image = {}
    put(image, 0, "4h", 320, 420, 180, 280)
    put(image, 4, "7H", 6000, 1500, 700, 0, 450, 2500, 0)
    put(image, 20, "h", 320)
    async with family("generic-cdu", tmp_path, image) as cdu:
        values = await values_of(cdu)
    assert values["secondary_supply_c"] == pytest.approx(32.0)
    assert values["secondary_flow_m3_s"] == pytest.approx(0.01)  # 600 l/min
    assert values["secondary_dp_pa"] == pytest.approx(150_000.0)
    assert values["heat_w"] == pytest.approx(250_000.0)
