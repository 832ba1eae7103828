"""SNMP profiles on models that no recording has: made after the documents that the profiles name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from facility.clock import WallClock
from facility.described import sanitise, unit_of
from facility.devices import open_device
from facility.errors import ConfigError
from facility.profile import load_profile
from facility.records import Actuator, Command, Point, Quality, Reading, VerdictKind
from facility.site import Device, SnmpAuth
from tests.peers import snmp as peers

E = "1.3.6.1.4.1."
R = E + "13742.6."
L = E + "476.1.42.3."
THREE_PHASE: peers.Rows = {  # two linked Raritan units; other decimal digits, deg F, a pole that is not available
    R + "5.2.3.1.4.2.1.5": 12345,
    R + "3.3.4.1.7.2.1.5": 1,
    R + "5.2.3.1.2.2.1.5": 1,
    **{R + f"5.2.4.1.4.2.1.{pole}.1": 10000 + pole for pole in (1, 2, 3)},
    **{R + f"3.3.6.1.7.2.1.{pole}.1": 3 for pole in (1, 2, 3)},
    **{R + f"5.2.4.1.2.2.1.{pole}.1": 1 if pole < 3 else 2 for pole in (1, 2, 3)},
    R + "5.4.3.1.4.1.48.5": 77,  # an outlet whose decimal digits the agent does not tell is none
    R + "5.5.3.1.4.1.7": 770,
    R + "5.5.3.1.2.1.7": 1,
    R + "3.6.3.1.2.1.7": 10,
    R + "3.6.3.1.16.1.7": 14,
    R + "3.6.3.1.17.1.7": 1,
}
SENTRY: peers.Rows = {
    E + "1718.4.1.9.1.10.0": 1,
    E + "1718.4.1.9.3.1.1.1.1": 770,
    E + "1718.4.1.9.3.1.2.1.1": 16,
}
F = L + "9.20.1."
CRAC: peers.Rows = {  # an environment table in whole degrees, and data points as texts
    L + "4.1.3.3.1.3.1": 22,
    L + "4.1.3.3.1.3.2": 2147483647,
    L + "4.1.3.3.1.6.1": 21,
    L + "4.2.2.3.1.3.1": 45,
    L + "4.3.9.0": 81,
    F + "10.1.2.1.5002": "Supply Air Temperature",
    F + "20.1.2.1.5002": "68.0",
    F + "30.1.2.1.5002": "deg F",
    F + "10.1.2.1.5078": "Cooling Capacity (Primary)",
    F + "20.1.2.1.5078": "62",
    F + "30.1.2.1.5078": "%",
    F + "10.1.2.1.5302": "Free Cooling Status",
    F + "20.1.2.1.5302": "off",
    F + "30.1.2.1.5302": "",
    F + "10.1.2.1.5004": "Return Air Temperature",
    F + "20.1.2.1.5004": "Unavailable",
    F + "30.1.2.1.5004": "deg C",
}
C = E + "318.1.1.27.1.4.1.2.1."
US_ONLY: peers.Rows = {
    C + "2.1.1": "Supply Air Temperature",
    C + "3.1.1": 680,
    C + "4.1.1": "F",
    C + "5.1.1": 10,
    C + "2.1.2": "Superheat",
    C + "3.1.2": 90,
    C + "4.1.2": "F",
    C + "5.1.2": 10,
    C + "2.1.3": "Fluid Flow",
    C + "3.1.3": 100,
    C + "4.1.3": "GPM",
    C + "5.1.3": 10,
    C + "2.1.4": "Door",
    C + "3.1.4": 4,
    C + "4.1.4": "furlong",
    C + "5.1.4": 1,
    C + "2.1.5": "Supply Air Temperature",
    C + "3.1.5": 690,
    C + "4.1.5": "F",
    C + "5.1.5": 10,
}
V = E + "2606.7.4.2.2.1."


def variable(index: str, name: str, unit: str, kind: int, scale: int, value: int, access: int) -> peers.Rows:
    """One row of the table of variables of a CMC III unit."""
    texts = {3: name, 5: unit, 8: "integer: min 0, max 100000, scale, step 10"}
    numbers = {4: kind, 6: 2, 7: scale, 11: value, 13: access}
    return {f"{V}{column}.{index}": cell for column, cell in (texts | numbers).items()}


SETPOINT = ("Air Temp.Server In.Average.Setpoint", "degree C", 17, -100, 1900)
LCP: peers.Rows = {
    **variable("2.1", *SETPOINT, access=3),
    **variable("3.1", *SETPOINT, access=2),
    **variable("2.2", "Cooling Capacity.Value", "W", 2, 1, 1707, access=2),
    **variable("2.3", "Cooling Capacity.SetPtHighAlarm", "W", 3, 1, 9000, access=3),
}
MADE = {"lcp": LCP, "linked": THREE_PHASE, "sentry": SENTRY, "crac": CRAC, "us": US_ONLY}


def device_of(port: int, name: str, profile: str | Path, **auth: object) -> Actuator:
    os.environ["TEST_MADE"] = name
    v2c = SnmpAuth.model_validate({"version": "2c", "community": "env:TEST_MADE", **auth})
    settings = Device(name="x", protocol="snmp", profile=str(profile), port=port, deadline_s=10.0, snmp=v2c)
    return open_device(settings, WallClock())


async def read_made(port: int, name: str, profile: str | Path) -> tuple[dict[str, Reading], dict[str, Point]]:
    device = device_of(port, name, profile)
    found = await device.read()
    await device.close()
    return {reading.point.partition("/")[2]: reading for reading in found}, dict(device.points)


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with peers.snmpsim(None, tmp_path_factory.mktemp("made"), MADE) as port:
        yield port


async def test_linked_three_phase_units_with_other_digits_and_fahrenheit(agents: int) -> None:
    found, _ = await read_made(agents, "linked", "raritan-px3")
    values = {name: reading.value for name, reading in found.items()}
    assert values == {
        "pdu-2/inlet-1/power_w": pytest.approx(1234.5),
        "pdu-2/inlet-1/pole-1/current_a": pytest.approx(10.001),
        "pdu-2/inlet-1/pole-2/current_a": pytest.approx(10.002),
        "pdu-2/inlet-1/pole-3/current_a": None,
        "pdu-1/external-7/temperature_c": pytest.approx(25.0),
    }


async def test_a_pdu_that_is_set_to_fahrenheit(agents: int) -> None:
    found, _ = await read_made(agents, "sentry", "sentry4")
    assert found["unit-1/sensor-1/temperature_c"].value == pytest.approx(25.0)
    assert found["unit-1/sensor-1/temperature_c"].quality is Quality.GOOD  # a warning of the PDU's is no bad reading


async def test_a_liebert_card_with_texts(agents: int) -> None:
    found, points = await read_made(agents, "crac", "liebert-cooling")
    values = {name: reading.value for name, reading in found.items()}
    assert values == {
        "cooling_capacity_pct": 81.0,
        "sensor-1/temperature_whole_c": 22.0,
        "sensor-2/temperature_whole_c": None,
        "sensor-1/temperature_setpoint_c": 21.0,
        "sensor-1/rh_pct": 45.0,
        "data/supply_air_temperature_c": pytest.approx(20.0),
        "data/cooling_capacity_primary_pct": 62.0,
        "data/return_air_temperature_c": None,
    }
    setpoint = points["x/sensor-1/temperature_setpoint_c"]
    assert (setpoint.writable, setpoint.min, setpoint.max) == (True, 18.0, 27.0)


async def test_us_units_are_converted_and_unknown_ones_left_alone(agents: int) -> None:
    found, _ = await read_made(agents, "us", "apc-cooling")
    assert {name: (reading.value, reading.unit) for name, reading in found.items()} == {
        "supply_air_temperature_c": (pytest.approx(20.0), "degC"),
        "supply_air_temperature_2_c": (pytest.approx(20.5556, abs=1e-3), "degC"),
        "superheat_k": (pytest.approx(5.0), "K"),
        "fluid_flow_m3_s": (pytest.approx(6.309e-4, rel=1e-3), "m3/s"),
        "door_furlong": (4.0, "furlong"),
    }


async def test_only_the_setpoint_that_the_device_opens_can_be_written(agents: int) -> None:
    lcp = device_of(agents, "lcp", "rittal-lcp")
    await lcp.read()
    await lcp.close()
    assert {point.name: point.writable for point in lcp.points.values()} == {
        "x/device-2/air_temp_server_in_average_setpoint_c": True,
        "x/device-3/air_temp_server_in_average_setpoint_c": False,
        "x/device-2/cooling_capacity_w": False,
    }
    command = Command("x/device-2/air_temp_server_in_average_setpoint_c", 35.0, "degC", "test")
    assert lcp.check(command).value == 27.0
    assert lcp.check(Command("x/device-2/cooling_capacity_w", 1.0, "W", "test")).kind is VerdictKind.REJECTED


@pytest.mark.parametrize(
    ("text", "name", "suffix", "value"),
    [
        ("degree C", "air", "c", 10.0),
        ("°F", "air", "c", (10.0 - 32.0) / 1.8),
        ("F", "superheat", "k", 10.0 / 1.8),
        ("%RH", "air", "rh_pct", 10.0),
        ("%", "relative_humidity", "rh_pct", 10.0),
        ("kW", "output", "w", 10e3),
        ("kWh", "meter", "wh", 10e3),
        ("mA", "can", "a", 0.01),
        ("L/s", "air", "m3_s", 0.01),
        ("l/min", "water", "m3_s", 1e-2 / 60),
        ("m³/h", "water", "m3_s", 10.0 / 3600.0),
        ("CFM", "air", "m3_s", 4.719474e-3),
        ("psi", "suction", "pa", 68947.57),
        ("\\WC", "filter", "pa", 2490.889),
        ("bar", "suction", "pa", 1e6),
        ("hr", "run", "h", 10.0),
        ("weeks", "service", "h", 1680.0),
    ],
)
def test_units_of_texts(text: str, name: str, suffix: str, value: float) -> None:
    unit = unit_of(text, name)
    assert unit.suffix == suffix
    assert unit.applied_to(10.0) == pytest.approx(value, rel=1e-6)


def test_names_of_texts() -> None:
    assert sanitise("Ärger  (Zone 1): %-Wert") == "arger_zone_1_wert"
    assert sanitise("温度") == ""
    assert len(sanitise("x" * 500)) == 80


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[point]]\nname = "a_c"\nkind = "t"\nunit = "degC"\noid = "1.3.*"\ndecimals_oid = "1.4.*.*"\n', "more '\\*'"),
        ("", "at least one"),
        ('[[described]]\noid = "1.3.*"\nname_oid = "1.4.*"\n', "unit_oid"),
        ('[[point]]\nname = "a_c"\nkind = "t"\nunit = "degC"\noid = "1.3.*"\nwhere = { oid = "x" }\n', "where.oid"),
    ],
)
def test_what_is_wrong_with_a_profile_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'[profile]\nname = "mine"\nprotocol = "snmp"\nsource = "test"\n{text}')
    with pytest.raises(ConfigError, match=said):
        load_profile(path)
