"""Every SNMP profile on recordings of real devices: magnitudes, units and sentinels."""

from __future__ import annotations

import asyncio

import pytest

from docs.profile_table import RECORDINGS, TARGET, Readings, read_all, render
from facility.profile import load_profile, shipped_profiles
from facility.records import Quality
from tests.peers import snmp as peers
from tests.shared import shared

CASES = [(recording, profile) for recording, profiles in RECORDINGS.items() for profile in profiles]

RANGES = {  # by kind: what a value of a machine room can be
    "temperature": (-20.0, 120.0),
    "temperature_difference": (-30.0, 30.0),
    "humidity": (0.0, 100.0),
    "power_factor": (-1.0, 1.0),
    "frequency": (45.0, 65.0),
    "power": (0.0, 100e3),
    "apparent_power": (0.0, 100e3),
    "energy": (0.0, 1e9),
    "current": (0.0, 63.0),
    "voltage": (80.0, 500.0),
    "ratio": (0.0, 100.0),
    "load": (0.0, 100.0),
    "charge": (0.0, 100.0),
    "pressure": (0.0, 5e6),
    "flow": (0.0, 10.0),
    "speed": (0.0, 10e3),
    "duration": (0.0, 1e6),
    "flag": (0.0, 1.0),
    "status": (-1.0, 50.0),
    "count": (0.0, 1e6),
}
SUPPLIES = ("supply_24v", "supply_5v0", "supply_3v3")  # of the Rittal controller itself
SUFFIXES = {
    "degC": "_c",
    "K": "_k",
    "W": "_w",
    "VA": "_va",
    "Wh": "_wh",
    "A": "_a",
    "V": "_v",
    "Hz": "_hz",
    "%": "_pct",
    "Pa": "_pa",
    "m3/s": "_m3_s",
    "rpm": "_rpm",
    "s": "_s",
    "min": "_min",
    "h": "_h",
}
BAD = {  # families of points whose device says that there is no value
    "apc_apdu9959eu3": {"temperature_c", "rh_pct"},
    "sentry4_switched8i": {"temperature_c", "rh_pct"},
    "rittal-lcp_cmciii-pu-lcp": {
        "access_flag",
        "system_v24_port_signal_pct",
        "features_dewpoint_control_temperature_c",
        "features_dewpoint_control_relative_humidity_pct",
        "features_dewpoint_control_dewpoint_c",
        "features_dewpoint_control_water_in_c",
    },
}


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> Readings:
    with peers.snmpsim(shared("facility/snmp"), tmp_path_factory.mktemp("snmpsim")) as port:
        return asyncio.run(read_all(port))


def values_of(found: object) -> dict[str, float | None]:
    assert isinstance(found, list)
    return {reading.point.partition("/")[2]: reading.value for reading in found}


@pytest.mark.parametrize(("recording", "profile"), CASES)
def test_every_value_has_the_right_magnitude_and_unit(readings: Readings, recording: str, profile: str) -> None:
    found = readings[recording, profile]
    assert len(found) >= 12
    kinds = _kinds(profile, found)
    for reading in found:
        name, kind = reading.point, kinds.get(reading.point, "")
        suffix = SUFFIXES.get(reading.unit)
        assert suffix is None or name.endswith(suffix), f"{name} is in {reading.unit}"
        if reading.value is None:
            assert reading.quality is Quality.BAD
            continue
        assert reading.quality is Quality.GOOD, name
        low, high = RANGES[kind]
        if any(supply in name for supply in SUPPLIES):
            low, high = 3.0, 30.0
        elif "compressor" in name and kind == "frequency":
            low, high = 0.0, 150.0  # of its inverter
        assert low <= reading.value <= high, f"{name} {reading.value} {reading.unit}"


def _kinds(profile: str, found: object) -> dict[str, str]:
    """The kind of each reading, from its unit where the profile does not spell the point out."""
    by_unit = {
        "degC": "temperature",
        "K": "temperature_difference",
        "W": "power",
        "VA": "apparent_power",
        "Wh": "energy",
        "A": "current",
        "V": "voltage",
        "Hz": "frequency",
        "%": "ratio",
        "Pa": "pressure",
        "m3/s": "flow",
        "rpm": "speed",
        **dict.fromkeys(("s", "min", "h"), "duration"),
    }
    plain = {"power_factor": "power_factor", "_code": "status", "_flag": "flag", "_count": "count", "ratio": "ratio"}
    assert isinstance(found, list)
    return {
        reading.point: by_unit.get(reading.unit)
        or next(kind for end, kind in plain.items() if reading.point.endswith(end))
        for reading in found
    }


@pytest.mark.parametrize(("recording", "profile"), CASES)
def test_what_the_device_marks_as_no_value_is_bad_and_nothing_else(
    readings: Readings, recording: str, profile: str
) -> None:
    bad = {reading.point.rpartition("/")[2] for reading in readings[recording, profile] if reading.value is None}
    assert bad == BAD.get(recording, set())


def test_a_sensor_that_is_not_there_is_no_temperature_of_minus_41(readings: Readings) -> None:
    values = values_of(readings["sentry4_switched8i", "sentry4"])
    sensors = {name: value for name, value in values.items() if name.endswith("temperature_c")}
    assert [value for value in sensors.values() if value is not None] == [pytest.approx(23.9), pytest.approx(27.1)]
    assert sum(value is None for value in sensors.values()) == 4


@pytest.mark.parametrize(
    ("recording", "volts", "amps", "volt_amps"),
    [
        ("vertiv-pdu_mn03edr1", "phase-1/voltage_v", "phase-1/current_a", "phase-1/apparent_power_va"),
        ("apc_apdu9959eu3", "phase-1/voltage_v", "phase-1/current_a", "phase-1/apparent_power_va"),
        (
            "raritan-pdu_px3",
            "pdu-1/inlet-1/voltage_v",
            "pdu-1/inlet-1/current_a",
            "pdu-1/inlet-1/apparent_power_va",
        ),
        (
            "liebert_mph2rg",
            "pdu-1/branch-2/voltage_v",
            "pdu-1/branch-2/current_a",
            "pdu-1/branch-2/apparent_power_va",
        ),
        (
            "eatonpdu_2",
            "unit-0/input-1/voltage-1_v",
            "unit-0/input-1/line-1/current_a",
            "unit-0/input-1/line-1/apparent_power_va",
        ),
        (
            "sentry4_switched8i",
            "unit-1/cord-1/phase-1/voltage_v",
            "unit-1/cord-1/phase-1/current_a",
            "unit-1/cord-1/apparent_power_va",
        ),
    ],
)
def test_volts_times_amperes_are_the_volt_amperes(
    readings: Readings, recording: str, volts: str, amps: str, volt_amps: str
) -> None:
    values = values_of(readings[recording, RECORDINGS[recording][0]])
    assert (values[volts] or 0.0) * (values[amps] or 0.0) == pytest.approx(values[volt_amps], rel=0.03)


def test_cooling_units_agree_with_themselves(readings: Readings) -> None:
    dx = values_of(readings["apc_inrow-dx", "apc-cooling"])
    assert "rack_inlet_temperature_1_c" not in dx  # its row has no value: no probe is plugged in
    assert dx["cool_output_w"] == 10800.0
    air_w = 1.2 * 1005.0 * (dx["airflow_m3_s"] or 0.0) * ((dx["return_temperature_c"] or 0.0) - 19.4)
    assert air_w == pytest.approx(dx["cool_output_w"], rel=0.15)
    lcp = values_of(readings["rittal-lcp_cmciii-pu-lcp", "rittal-lcp"])
    rise_k = (lcp["device-2/water_temperatures_out_c"] or 0.0) - (lcp["device-2/water_temperatures_in_c"] or 0.0)
    water_w = 4186.0 * 1000.0 * (lcp["device-2/water_flowrate_m3_s"] or 0.0) * rise_k
    assert water_w == pytest.approx(lcp["device-2/cooling_capacity_w"], rel=0.05)
    chiller = values_of(readings["pcoweb-rittalchiller", "rittal-chiller"])
    ratio = (chiller["total_cooling_w"] or 0.0) / (chiller["power_w"] or 1.0)
    assert ratio == pytest.approx(chiller["efficiency_ratio"], rel=0.02)


def test_the_page_in_docs_is_made_of_these_readings(readings: Readings) -> None:
    assert TARGET.read_text(encoding="utf-8") == render(readings), "run python -m docs.profile_table"


def test_every_profile_of_a_family_says_how_it_is_known() -> None:
    for name in shipped_profiles():
        profile = load_profile(name)
        if profile.protocol == "snmp" and not name.startswith("emulated"):
            assert profile.identify.sys_object_id or profile.identify.has_oid, name
