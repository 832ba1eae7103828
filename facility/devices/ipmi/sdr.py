"""The sensor data repository of a BMC: which analog sensors there are, and how their raw bytes become values.

Source: IPMI 2.0, revision 1.1: full sensor record 43.1, units 43.17, type/length byte 43.15, reading formula 36.3,
Get SDR 33.12, Get Sensor Reading 35.14. Bytes that are no such record raise DataError.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from facility.errors import DataError, DeviceError

FULL_RECORD = 0x01
BMC_ADDRESS = 0x20
NO_ANALOG = 3  # in the analog data format
THRESHOLD = 0x01  # event/reading type code
LINEARIZATIONS = 11  # above it is not a formula but a table in the BMC
HEADER = 5  # bytes of a record before its body; the last one is the body's length
STORAGE, GET_REPOSITORY_INFO, RESERVE, GET_SDR = 0x0A, 0x20, 0x22, 0x23
WHOLE_RECORD = 0xFF
RESERVATION_LOST = 0xC5
TOO_MANY = (0xCA, 0xC8, 0xFF)  # completion codes of BMCs that cannot give so many bytes at once
CHUNKS = (WHOLE_RECORD, 64, 32, 16)  # bytes that are asked for at once: the first that the BMC can do
LAST_RECORD = 0xFFFF
RECORDS_MAX = 4096
SCANNING, UNAVAILABLE = 0x40, 0x20  # bits of Get Sensor Reading

# Base units (43.17) that a value is converted from: to unit, factor, offset.
UNITS: dict[int, tuple[str, float, float]] = {
    1: ("degC", 1.0, 0.0),
    2: ("degC", 5 / 9, -32 * 5 / 9),
    3: ("degC", 1.0, -273.15),
    4: ("V", 1.0, 0.0),
    5: ("A", 1.0, 0.0),
    6: ("W", 1.0, 0.0),
    7: ("J", 1.0, 0.0),
    9: ("VA", 1.0, 0.0),
    17: ("m3/s", 0.3048**3 / 60, 0.0),
    18: ("rpm", 1.0, 0.0),
    19: ("Hz", 1.0, 0.0),
}
PERCENT = "%"


@dataclass(frozen=True, slots=True)
class Sensor:
    """An analog sensor of the BMC: ``value = L((m raw + b 10^b_exponent) 10^exponent)``, then into ``unit``."""

    name: str
    number: int
    lun: int
    entity: int
    instance: int
    unit: str  # "" where the BMC names none that we know
    factor: float  # from the BMC's unit to ours
    offset: float
    data_format: int  # 0 unsigned, 1 one's complement, 2 two's complement
    linearization: int
    m: int
    b: int
    exponent: int
    b_exponent: int

    @property
    def entity_id(self) -> str:
        """Which of the sensors of one name it is, as ipmitool writes it: ``ENTITY.INSTANCE``."""
        return f"{self.entity}.{self.instance}"

    def value(self, raw: int) -> float | None:
        """The value in ``unit`` of a raw byte; None where the formula has none (a logarithm of 0)."""
        x = self.m * _number(raw, self.data_format) + self.b * 10.0**self.b_exponent
        try:
            value = _LINEARIZE[self.linearization](x * 10.0**self.exponent)
        except (ValueError, ArithmeticError):
            return None
        return value * self.factor + self.offset if math.isfinite(value) else None


_LINEARIZE: tuple[Callable[[float], float], ...] = (
    lambda x: x,
    math.log,
    math.log10,
    math.log2,
    math.exp,
    lambda x: 10.0**x,
    lambda x: 2.0**x,
    lambda x: 1 / x,
    lambda x: x**2,
    lambda x: x**3,
    math.sqrt,
    lambda x: math.copysign(abs(x) ** (1 / 3), x),
)


def _number(raw: int, data_format: int) -> int:
    if raw < 0x80 or data_format == 0:
        return raw
    return raw - 0x100 if data_format == 2 else raw - 0xFF


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def decode_record(record: bytes) -> Sensor | None:
    """The analog sensor that a record describes; None for records of other kinds. Raises DataError: it is cut short."""
    if len(record) < HEADER or len(record) < HEADER + record[4]:
        raise DataError(f"a record of {len(record)} bytes is cut short", where="sensor data repository")
    if record[3] != FULL_RECORD:
        return None
    if len(record) < 48:
        raise DataError(f"a full sensor record of {len(record)} bytes is cut short", where="sensor data repository")
    data_format, linearization = record[20] >> 6, record[23] & 0x7F
    unit, factor, offset = _unit(record)
    is_analog = data_format != NO_ANALOG and (record[13] == THRESHOLD or unit != "")
    if record[5] != BMC_ADDRESS or not is_analog or linearization > LINEARIZATIONS:
        return None  # a satellite controller's, a state, or a table that only the BMC has
    return Sensor(
        name=decode_text(record[47], record[48:]),
        number=record[7],
        lun=record[6] & 0x03,
        entity=record[8],
        instance=record[9] & 0x7F,
        unit=unit,
        factor=factor,
        offset=offset,
        data_format=data_format,
        linearization=linearization,
        m=_signed(record[24] | (record[25] & 0xC0) << 2, 10),
        b=_signed(record[26] | (record[27] & 0xC0) << 2, 10),
        exponent=_signed(record[29] >> 4, 4),
        b_exponent=_signed(record[29] & 0x0F, 4),
    )


def _unit(record: bytes) -> tuple[str, float, float]:
    """The unit of a record; none where it is a rate, or made of two."""
    units, base = record[20], record[21]
    if units & 0b00111110:  # a rate (per second...) or a modifier unit
        return "", 1.0, 0.0
    if units & 1:
        return PERCENT, 1.0, 0.0
    return UNITS.get(base, ("", 1.0, 0.0))


def decode_text(type_length: int, data: bytes) -> str:
    """A name by its type/length byte: 8 bits a character, 6 bits packed, or BCD plus."""
    data = data[: type_length & 0x1F]
    kind = type_length >> 6
    if kind == 1:
        return "".join("0123456789 -.:,_"[digit] for byte in data for digit in (byte >> 4, byte & 0x0F)).strip()
    if kind == 2:
        bits = int.from_bytes(data, "little")
        return "".join(chr((bits >> 6 * i & 0x3F) + 0x20) for i in range(len(data) * 8 // 6)).strip()
    return data.decode("latin-1").strip("\0 ")


def reading(sensor: Sensor, data: bytes) -> float | None:
    """The value in an answer to Get Sensor Reading; None where the sensor is not scanned or has no value now."""
    if len(data) < 2 or not data[1] & SCANNING or data[1] & UNAVAILABLE:
        return None
    return sensor.value(data[0])


class Reply(Protocol):
    """What a BMC answers."""

    @property
    def code(self) -> int:
        """Completion code, 0 for success."""
        ...

    @property
    def data(self) -> bytes:
        """What comes after the code."""
        ...


Ask = Callable[[int, int, bytes], Awaitable[Reply]]  # network function, command, data


async def repository_version(ask: Ask) -> bytes:
    """Bytes that change with the repository: its size and the times of the last changes."""
    return (await _asked(ask, GET_REPOSITORY_INFO, b"")).data[:13]


async def read_repository(ask: Ask) -> list[Sensor]:
    """Every analog sensor of the BMC. Takes a request or more a record, seconds on a real BMC. Raises DeviceError."""
    sensors: list[Sensor] = []
    fetch = _Fetch(ask)
    record_id = 0
    for _ in range(RECORDS_MAX):
        record_id, record = await fetch.record(record_id)
        try:
            sensor = decode_record(record)
        except DataError:
            sensor = None  # a vendor's odd record must not cost the others
        if sensor is not None:
            sensors.append(sensor)
        if record_id == LAST_RECORD:
            return sensors
    raise DeviceError(f"the sensor data repository has no end after {RECORDS_MAX} records")


class _Fetch:
    """Reads records in pieces of the size that the BMC can do."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._chunks = list(CHUNKS)
        self._reservation = b"\0\0"

    async def record(self, record_id: int) -> tuple[int, bytes]:
        """The record, and the number of the next one."""
        for _ in range(8):  # a reservation is lost whenever the repository changes
            try:
                return await self._record(record_id)
            except _LostError:
                self._reservation = (await _asked(self._ask, RESERVE, b"")).data[:2]
        raise DeviceError(f"record {record_id:#06x} of the sensor data repository cannot be read")

    async def _record(self, record_id: int) -> tuple[int, bytes]:
        following, record = await self._head(record_id)
        while len(record) < HEADER or len(record) < HEADER + record[4]:
            wanted = HEADER if len(record) < HEADER else HEADER + record[4]
            _, more = await self._piece(record_id, len(record), wanted - len(record))
            if not more:
                break
            record += more
        return following, record

    async def _head(self, record_id: int) -> tuple[int, bytes]:
        """All of it at once, where the BMC can; else its header, which tells how long it is."""
        if self._chunks[0] == WHOLE_RECORD:
            with contextlib.suppress(_SmallerError):
                return await self._piece(record_id, 0, WHOLE_RECORD)
        return await self._piece(record_id, 0, HEADER)

    async def _piece(self, record_id: int, offset: int, count: int) -> tuple[int, bytes]:
        while True:
            wanted = min(count, self._chunks[0])
            request = self._reservation + record_id.to_bytes(2, "little") + bytes((offset, wanted))
            reply = await self._ask(STORAGE, GET_SDR, request)
            if reply.code in TOO_MANY and len(self._chunks) > 1:
                del self._chunks[0]
                if count == WHOLE_RECORD:
                    raise _SmallerError
            elif reply.code == RESERVATION_LOST or (reply.code and self._reservation == b"\0\0"):
                raise _LostError
            elif reply.code or len(reply.data) < 2:
                raise DeviceError(f"Get SDR of record {record_id:#06x}: completion code {reply.code:#04x}")
            else:
                return int.from_bytes(reply.data[:2], "little"), reply.data[2:]


class _SmallerError(Exception):
    """The BMC cannot give a whole record at once."""


class _LostError(Exception):
    """The reservation does not hold any more."""


async def _asked(ask: Ask, command: int, data: bytes) -> Reply:
    reply = await ask(STORAGE, command, data)
    if reply.code:
        raise DeviceError(f"storage command {command:#04x}: completion code {reply.code:#04x}")
    return reply
