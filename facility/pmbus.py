"""PMBus: the numbers of power supplies on the wire, as values. Pure functions on words and bytes.

Sources: PMBus Power System Management Protocol Specification, part II, revision 1.2 (data formats of chapter 7,
READ_EIN in 18.13, STATUS_WORD in 17.2, command codes in appendix I), and SMBus 2.0 for the packet error code.
Words travel with the low byte first. A value that a format cannot hold, or bytes that are not one, raise DataError.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Literal

from facility.errors import DataError

Format = Literal["byte", "word", "linear11", "ulinear16", "direct", "ein"]

MANTISSA_MAX = 1023  # 11 bits, two's complement
MANTISSA_MIN = -1024
EXPONENT_MIN, EXPONENT_MAX = -16, 15  # 5 bits, two's complement
ACCUMULATOR_SPAN = 32767  # what one roll-over of an accumulator stands for: its largest positive count
ROLLOVERS = 1 << 8  # the roll-over counter has 8 bits...
SAMPLES = 1 << 24  # ... and the sample counter 24
POLYNOMIAL = 0x07  # of the packet error code: x^8 + x^2 + x + 1


class Command(IntEnum):
    """Command codes that a supply is read and driven by."""

    PAGE = 0x00
    CLEAR_FAULTS = 0x03
    CAPABILITY = 0x19
    VOUT_MODE = 0x20
    COEFFICIENTS = 0x30
    FAN_CONFIG_1_2 = 0x3A
    FAN_COMMAND_1 = 0x3B
    FAN_COMMAND_2 = 0x3C
    FAN_CONFIG_3_4 = 0x3D
    FAN_COMMAND_3 = 0x3E
    FAN_COMMAND_4 = 0x3F
    STATUS_BYTE = 0x78
    STATUS_WORD = 0x79
    STATUS_VOUT = 0x7A
    STATUS_IOUT = 0x7B
    STATUS_INPUT = 0x7C
    STATUS_TEMPERATURE = 0x7D
    STATUS_CML = 0x7E
    STATUS_OTHER = 0x7F
    STATUS_MFR_SPECIFIC = 0x80
    STATUS_FANS_1_2 = 0x81
    STATUS_FANS_3_4 = 0x82
    READ_EIN = 0x86
    READ_EOUT = 0x87
    READ_VIN = 0x88
    READ_IIN = 0x89
    READ_VOUT = 0x8B
    READ_IOUT = 0x8C
    READ_TEMPERATURE_1 = 0x8D
    READ_TEMPERATURE_2 = 0x8E
    READ_TEMPERATURE_3 = 0x8F
    READ_FAN_SPEED_1 = 0x90
    READ_FAN_SPEED_2 = 0x91
    READ_FAN_SPEED_3 = 0x92
    READ_FAN_SPEED_4 = 0x93
    READ_POUT = 0x96
    READ_PIN = 0x97
    PMBUS_REVISION = 0x98
    MFR_ID = 0x99


BYTES = frozenset(
    {
        Command.PAGE,
        Command.CAPABILITY,
        Command.VOUT_MODE,
        Command.FAN_CONFIG_1_2,
        Command.FAN_CONFIG_3_4,
        Command.PMBUS_REVISION,
        Command.STATUS_BYTE,
        *(command for command in Command if Command.STATUS_VOUT <= command <= Command.STATUS_FANS_3_4),
    }
)
ENERGY = frozenset({Command.READ_EIN, Command.READ_EOUT})
NO_NUMBER = frozenset({Command.CLEAR_FAULTS, Command.COEFFICIENTS, Command.MFR_ID})  # nothing to read, or text


class StatusWord(IntFlag):
    """Bits of STATUS_WORD; the low byte is STATUS_BYTE."""

    NONE_OF_THE_ABOVE = 1 << 0
    CML = 1 << 1
    TEMPERATURE = 1 << 2
    VIN_UV_FAULT = 1 << 3
    IOUT_OC_FAULT = 1 << 4
    VOUT_OV_FAULT = 1 << 5
    OFF = 1 << 6
    BUSY = 1 << 7
    UNKNOWN = 1 << 8
    OTHER = 1 << 9
    FANS = 1 << 10
    POWER_GOOD_NEGATED = 1 << 11
    MFR_SPECIFIC = 1 << 12
    INPUT = 1 << 13
    IOUT_POUT = 1 << 14
    VOUT = 1 << 15


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Of the DIRECT format: ``Y = (m X + b) 10^R``, with X in the quantity's unit."""

    m: int
    b: int
    r: int


@dataclass(frozen=True, slots=True)
class Accumulator:
    """READ_EIN or READ_EOUT: a count of energy, how often it began again, and how many samples are in it."""

    count: int
    rollovers: int
    samples: int


def default_format(command: int) -> Format:
    """How a command's number is written where the device does not say otherwise. Raises DataError: it has none."""
    if command in NO_NUMBER:
        raise DataError("holds no number", where=f"PMBus {Command(command).name}")
    if command in BYTES:
        return "byte"
    if command == Command.STATUS_WORD:
        return "word"
    if command == Command.READ_VOUT:
        return "ulinear16"
    return "ein" if command in ENERGY else "linear11"


def _signed(value: int, bits: int) -> int:
    """Two's complement of the lowest ``bits``."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _check_word(word: int) -> None:
    if not 0 <= word <= 0xFFFF:
        raise DataError(f"{word:#x} is no 16-bit word", where="PMBus")


def _check_sane(value: float, name: str) -> None:
    """Finite, and below what would overflow on the way; no format comes near."""
    if not math.isfinite(value):
        raise DataError(f"{value!r} is no number", where=f"PMBus {name}")
    if abs(value) > 2.0**32:
        raise DataError(f"{value:g} is beyond the range", where=f"PMBus {name}")


def decode_linear11(word: int) -> float:
    """``Y 2^N``: N in the upper 5 bits, Y in the lower 11, both two's complement (7.1)."""
    _check_word(word)
    return math.ldexp(_signed(word, 11), _signed(word >> 11, 5))


def encode_linear11(value: float) -> int:
    """The word nearest to ``value`` with the smallest exponent that holds it. Raises DataError beyond the range."""
    _check_sane(value, "LINEAR11")
    if value == 0:
        return 0
    for exponent in range(EXPONENT_MIN, EXPONENT_MAX + 1):
        mantissa = round(math.ldexp(value, -exponent))
        fits_last = exponent == EXPONENT_MAX and mantissa == MANTISSA_MIN
        if abs(mantissa) <= MANTISSA_MAX or fits_last:
            return (exponent & 0x1F) << 11 | (mantissa & 0x7FF)
    raise DataError(f"{value:g} is beyond the range", where="PMBus LINEAR11")


def vout_exponent(vout_mode: int) -> int:
    """Exponent of ULINEAR16 from VOUT_MODE (8.2). Raises DataError where the mode is VID, DIRECT or IEEE 754."""
    if not 0 <= vout_mode <= 0xFF or vout_mode >> 5 & 0b11:
        raise DataError(f"VOUT_MODE {vout_mode:#04x} is not the linear mode", where="PMBus ULINEAR16")
    return _signed(vout_mode, 5)


def decode_ulinear16(word: int, vout_mode: int) -> float:
    """``V 2^N``: V is the whole unsigned word, N comes from VOUT_MODE (8.3.1)."""
    _check_word(word)
    return math.ldexp(word, vout_exponent(vout_mode))


def encode_ulinear16(value: float, vout_mode: int) -> int:
    """The word nearest to ``value``. Raises DataError beyond the range."""
    _check_sane(value, "ULINEAR16")
    word = round(math.ldexp(value, -vout_exponent(vout_mode)))
    if not 0 <= word <= 0xFFFF:
        raise DataError(f"{value:g} is beyond the range", where="PMBus ULINEAR16")
    return word


def decode_direct(word: int, coefficients: Coefficients) -> float:
    """``X = (Y 10^-R - b) / m``: Y is the word in two's complement (7.2)."""
    _check_word(word)
    return _from_direct(_signed(word, 16), coefficients)


def _from_direct(y: float, coefficients: Coefficients) -> float:
    try:
        return (y * 10.0**-coefficients.r - coefficients.b) / coefficients.m
    except (ZeroDivisionError, OverflowError) as error:
        raise DataError(f"{coefficients} cannot be: {error}", where="PMBus DIRECT") from error


def encode_direct(value: float, coefficients: Coefficients) -> int:
    """``Y = (m X + b) 10^R``. Raises DataError beyond the range."""
    _check_sane(value, "DIRECT")
    try:
        y = round((coefficients.m * value + coefficients.b) * 10.0**coefficients.r)
    except OverflowError as error:
        raise DataError(f"{value:g} is beyond the range", where="PMBus DIRECT") from error
    if not -0x8000 <= y <= 0x7FFF:
        raise DataError(f"{value:g} is beyond the range", where="PMBus DIRECT")
    return y & 0xFFFF


def decode_word(data: bytes) -> int:
    """Two bytes, low byte first."""
    if len(data) != 2:
        raise DataError(f"{len(data)} bytes came where a word has 2", where="PMBus")
    return int.from_bytes(data, "little")


def decode_accumulator(data: bytes) -> Accumulator:
    """The six bytes of READ_EIN or READ_EOUT, without the block's length: count, roll-overs, samples (18.13)."""
    if len(data) != 6:
        raise DataError(f"{len(data)} bytes came where an accumulator has 6", where="PMBus READ_EIN")
    return Accumulator(
        int.from_bytes(data[:2], "little"),
        data[2],
        int.from_bytes(data[3:], "little"),
    )


def average_power_w(before: Accumulator, after: Accumulator, coefficients: Coefficients | None = None) -> float:
    """Mean power in W between two readings of an accumulator, over both counters' roll-overs.

    ``coefficients`` are those of the accumulator's DIRECT format, m 1, b 0, R 0 (watts) where not given. Raises
    DataError where no sample came in between, or the supply began anew.
    """
    samples = (after.samples - before.samples) % SAMPLES
    rollovers = (after.rollovers - before.rollovers) % ROLLOVERS
    energy = rollovers * ACCUMULATOR_SPAN + after.count - before.count
    if samples == 0 or energy < 0:
        raise DataError("no power between these two readings: no new sample, or a restart", where="PMBus READ_EIN")
    return _from_direct(energy / samples, coefficients or Coefficients(1, 0, 0))


def packet_error_code(data: bytes) -> int:
    """CRC-8 over a whole transfer, addresses with their read/write bits included (SMBus 2.0, 5.4)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ POLYNOMIAL) & 0xFF if crc & 0x80 else crc << 1
    return crc


def check_read(address: int, command: int, data: bytes) -> bytes:
    """What a read brought, without its packet error code; ``address`` has 7 bits. Raises DataError on a mismatch."""
    if len(data) < 2 or not 0 <= address < 0x80 or not 0 <= command <= 0xFF:
        raise DataError("too short for a packet error code", where="PMBus")
    transfer = bytes((address << 1, command, address << 1 | 1)) + data[:-1]
    wanted = packet_error_code(transfer)
    if wanted != data[-1]:
        raise DataError(f"packet error code {data[-1]:#04x} came, {wanted:#04x} is right", where="PMBus")
    return data[:-1]
