"""Sensor records and DCMI answers: real bytes, BMCs that give little at a time, and random bytes."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facility.devices.ipmi import dcmi, sdr
from facility.devices.ipmi.points import parse
from facility.errors import ConfigError, DataError, DeviceError


def record(name: str = "Inlet Temp", *, unit: int = 1, units: int = 0, linearization: int = 0, m: int = 1) -> bytes:
    """A full sensor record: number 1 of the BMC, entity 7.1, threshold based."""
    body = bytearray(43)
    body[0], body[2], body[3], body[4] = 0x20, 1, 7, 1
    body[7], body[8] = 1, sdr.THRESHOLD
    body[15], body[16], body[18], body[19] = units, unit, linearization, m
    body[42] = 0xC0 | len(name)
    body += name.encode()
    return bytes((1, 0, 0x51, sdr.FULL_RECORD, len(body))) + bytes(body)


@dataclass(frozen=True)
class Said:
    code: int
    data: bytes = b""


@dataclass
class SmallBmc:
    """Gives no more than ``most`` bytes of a record at once, and only with a reservation that it may lose."""

    records: list[bytes]
    most: int
    losses: int = 0
    reservation: int = 0
    asked: list[bytes] = field(default_factory=list)

    async def ask(self, netfn: int, command: int, data: bytes) -> Said:
        assert netfn == sdr.STORAGE
        if command == sdr.RESERVE:
            self.reservation += 1
            return Said(0, self.reservation.to_bytes(2, "little"))
        self.asked.append(data)
        if int.from_bytes(data[:2], "little") != self.reservation or self.reservation == 0:
            return Said(sdr.RESERVATION_LOST)
        if self.losses:
            self.losses -= 1
            self.reservation += 1
            return Said(sdr.RESERVATION_LOST)
        number, offset, count = int.from_bytes(data[2:4], "little"), data[4], data[5]
        if count > self.most:
            return Said(0xCA)
        following = number + 1 if number + 1 < len(self.records) else sdr.LAST_RECORD
        return Said(0, following.to_bytes(2, "little") + self.records[number][offset : offset + count])


@pytest.mark.parametrize(("most", "losses"), [(255, 0), (64, 0), (16, 0), (22, 3)])
async def test_a_repository_is_read_in_pieces_that_the_bmc_can_give(most: int, losses: int) -> None:
    bmc = SmallBmc([record(f"Temp {number}") for number in range(9)], most, losses)
    sensors = await sdr.read_repository(bmc.ask)
    assert [sensor.name for sensor in sensors] == [f"Temp {number}" for number in range(9)]


async def test_a_record_that_is_none_costs_itself_alone() -> None:
    odd = bytes((1, 0, 0x51, sdr.FULL_RECORD, 10)) + bytes(10)
    sensors = await sdr.read_repository(SmallBmc([record("A"), odd, record("B")], 255).ask)
    assert [sensor.name for sensor in sensors] == ["A", "B"]


async def test_a_bmc_that_keeps_losing_reservations_is_an_error() -> None:
    with pytest.raises(DeviceError, match="cannot be read"):
        await sdr.read_repository(SmallBmc([record()], 255, losses=100).ask)


@pytest.mark.parametrize(
    ("unit", "units", "expected", "raw", "value"),
    [
        (1, 0x00, "degC", 23, 23.0),
        (1, 0x80, "degC", 0xDD, -35.0),  # two's complement
        (1, 0x40, "degC", 0xDC, -35.0),  # one's complement
        (2, 0x00, "degC", 77, 25.0),  # deg F
        (3, 0x00, "degC", 250, -23.15),  # K
        (17, 0x00, "m3/s", 100, 0.0471947),  # CFM
        (0, 0x01, "%", 40, 40.0),
        (6, 0x00, "W", 33, 33.0),
    ],
)
def test_units_are_converted(unit: int, units: int, expected: str, raw: int, value: float) -> None:
    sensor = sdr.decode_record(record(unit=unit, units=units))
    assert sensor is not None
    assert sensor.unit == expected
    assert sensor.value(raw) == pytest.approx(value)


def test_formulas_that_are_not_linear() -> None:
    root, inverse = (sdr.decode_record(record(linearization=code)) for code in (10, 7))
    assert root is not None
    assert inverse is not None
    assert root.value(49) == 7.0
    assert inverse.value(4) == 0.25
    assert inverse.value(0) is None


def test_states_satellites_and_tables_are_no_sensors() -> None:
    assert sdr.decode_record(record(units=0xC0)) is None
    assert sdr.decode_record(record(linearization=0x70)) is None
    other = bytearray(record())
    other[5] = 0x2C
    assert sdr.decode_record(bytes(other)) is None


def test_names_in_all_their_encodings() -> None:
    assert sdr.decode_text(0xC3, b"CPU...") == "CPU"
    assert sdr.decode_text(0x83, bytes.fromhex("29dca6")) == "IPMI"  # the example of IPMI 2.0, 43.15
    assert sdr.decode_text(0x42, bytes.fromhex("12c5")) == "12.5"


@pytest.mark.parametrize(("flags", "value"), [(0xC0, 23.0), (0x40, 23.0), (0x80, None), (0xE0, None), (0x00, None)])
def test_a_reading_counts_only_while_the_sensor_is_scanned(flags: int, value: float | None) -> None:
    sensor = sdr.decode_record(record())
    assert sensor is not None
    assert sdr.reading(sensor, bytes((23, flags, 0xC0))) == value
    assert sdr.reading(sensor, b"") is None


def test_a_limit_keeps_what_the_bmc_has_but_the_order_to_power_off() -> None:
    answer = bytes.fromhex("dc 0000 01 9001 88130000 0000 0500")
    before = dcmi.decode_limit(answer)
    assert before == dcmi.Limit(400, dcmi.POWER_OFF, 5000, 5)
    assert dcmi.encode_limit(350.4, before).hex() == "dc00000011" + "5e01" + "88130000" + "0000" + "0500"
    for watts in (0.0, -5.0, 70000.0):
        with pytest.raises(DataError, match="is no power limit"):
            dcmi.encode_limit(watts, before)


@given(st.binary(max_size=80), st.integers(0, 255))
def test_random_bytes_give_a_value_or_a_typed_error(data: bytes, raw: int) -> None:
    framed = bytes((1, 0, 0x51, sdr.FULL_RECORD, max(len(data) - 5, 0))) + data[5:]
    for candidate in (data, framed):
        with contextlib.suppress(DataError):
            sensor = sdr.decode_record(candidate)
            value = None if sensor is None else sdr.reading(sensor, bytes((raw, 0x40)))
            assert value is None or math.isfinite(value)
    for decode in (dcmi.decode_power, dcmi.decode_limit):
        with contextlib.suppress(DataError):
            decode(b"\xdc" + data)
    sdr.decode_text(raw, data)


@given(st.text(max_size=30))
def test_random_addresses_are_understood_or_refused(text: str) -> None:
    for address in (text, f"pmbus:{text}", f"pmbus:0x58:READ_PIN:{text}", f"pmbus:0x58:{text}"):
        with contextlib.suppress(ConfigError):
            parse(address)
