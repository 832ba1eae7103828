"""What a run may be put together from: nothing real is commanded, nothing emulated is looked for elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from apps.assembly import Parts, assemble
from apps.emulator.redfish_tls import certificate_in
from apps.run_config import RunConfig
from apps.state_dir import StateDir, only_one, write_json
from facility.clock import ManualClock
from facility.devices.modbus import ModbusDevice
from facility.errors import ConfigError
from facility.records import Mode, Reading
from facility.site import load_site

START = datetime(2023, 6, 1, tzinfo=UTC)
UNTIL = START + timedelta(days=1)
PORTS = {"meter-main": 15999}
SITE = """
[site]
name = "{name}"
zone = "US-CAL-CISO"
latitude_deg = 37.3
longitude_deg = -121.9
emulated = {emulated}
{hall}
[roles]
rack_inlet_c = [{inlets}]
[[device]]
name = "meter-main"
protocol = "modbus"
profile = "janitza-umg"
host = "10.1.2.3"
port = 502
"""


def _hall() -> str:
    """The [hall] tables of the reference site, as text."""
    text = (Path(__file__).parents[2] / "data" / "site.toml").read_text(encoding="utf-8")
    return text[text.index("[hall") : text.index("[roles]")]


@pytest.fixture
def put_together(tmp_path: Path) -> Callable[..., Parts]:
    state = StateDir(tmp_path / "state").create()

    def make(*, emulated: bool, mode: Mode, inlets: str = '"meter-main/power_w"', ports: Any = PORTS) -> Parts:
        site = tmp_path / "site.toml"
        site.write_text(SITE.format(name="annex", emulated=str(emulated).lower(), hall=_hall(), inlets=inlets))
        write_json(state.ports, ports)
        config = RunConfig(run="r", site=str(site), mode=mode, person="Ada", active_until=UNTIL, start=START)
        return assemble(config, state, ManualClock(START), _drop)

    return make


async def _drop(_: list[Reading]) -> None:
    return None


def _device(parts: Parts) -> ModbusDevice:
    (device,) = parts.devices
    assert isinstance(device, ModbusDevice)
    parts.store.close()
    return device


def test_a_real_site_is_never_active(put_together: Callable[..., Parts]) -> None:
    with pytest.raises(ConfigError, match="mode active is for an emulated site"):
        put_together(emulated=False, mode=Mode.ACTIVE)


def test_active_without_watched_rack_inlets_is_refused(put_together: Callable[..., Parts]) -> None:
    with pytest.raises(ConfigError, match="rack inlet temperatures"):
        put_together(emulated=True, mode=Mode.ACTIVE, inlets="")


def test_a_device_of_an_emulated_site_is_on_loopback_whatever_the_site_file_says(
    put_together: Callable[..., Parts],
) -> None:
    device = _device(put_together(emulated=True, mode=Mode.ACTIVE))
    assert (device._device.host, device._device.port) == ("127.0.0.1", 15999)


def test_a_device_that_the_emulated_building_does_not_have_is_refused(put_together: Callable[..., Parts]) -> None:
    with pytest.raises(ConfigError, match="no such device"):
        put_together(emulated=True, mode=Mode.ACTIVE, ports={"crah-1": 15020})


def test_a_real_device_is_where_the_site_file_says_though_an_emulated_run_left_its_ports(
    put_together: Callable[..., Parts],
) -> None:
    device = _device(put_together(emulated=False, mode=Mode.SHADOW))
    assert (device._device.host, device._device.port) == ("10.1.2.3", 502)


def test_one_state_directory_serves_one_run_at_a_time(tmp_path: Path) -> None:
    state = StateDir(tmp_path).create()
    with only_one(state), pytest.raises(ConfigError, match="another `eco up` or `eco run`"), only_one(state):
        pass


def test_heartbeats_are_slow_enough_for_the_wall_and_within_the_register(tmp_path: Path) -> None:
    """At 600 times real time a time-out of 5 simulated minutes would be half a second."""
    state = StateDir(tmp_path).create()
    write_json(state.ports, {device.name: 15000 + i for i, device in enumerate(load_site().device)})
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ECO_SNMP_COMMUNITY", "ECO_SNMP_AUTH_KEY", "ECO_SNMP_PRIV_KEY", "ECO_BMC_PASSWORD"):
            patch.setenv(name, "0123456789abcdef")
        patch.setenv("ECO_BMC_CA", str(certificate_in(tmp_path).cert))
        config = RunConfig(run="r", mode=Mode.ACTIVE, person="Ada", active_until=UNTIL, start=START, speed=600.0)
        parts = asyncio.run(_assembled(config, state))
    timeout = next(command for command in parts.signs_of_life(1)["crah-1"] if command.unit == "min")
    assert timeout.value == 50.0


async def _assembled(config: RunConfig, state: StateDir) -> Parts:
    parts = assemble(config, state, ManualClock(START), _drop)
    parts.store.close()
    return parts
