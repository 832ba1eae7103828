"""PMBus numbers: published vectors, round trips, and random bytes."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facility import pmbus
from facility.errors import DataError
from facility.pmbus import Accumulator, Coefficients, Command, StatusWord

LINEAR11 = {
    0xF3AC: 235.0,
    0xF39A: 230.5,
    0x0107: 263.0,
    0xCA7C: 4.96875,
    0xDB20: 25.0,
    0xBA80: 1.25,
    0xEBC0: 120.0,
    0xFFFF: -0.5,
    0x0400: -1024.0,
    0x7FFF: -32768.0,
}
WORDS = st.integers(0, 0xFFFF)
ANY_INT = st.integers(-(10**6), 10**6)
COEFFICIENTS = st.builds(Coefficients, ANY_INT, ANY_INT, st.integers(-400, 400))


@pytest.mark.parametrize(("word", "value"), LINEAR11.items())
def test_linear11_decodes(word: int, value: float) -> None:
    assert pmbus.decode_linear11(word) == value


@pytest.mark.parametrize(
    ("value", "word"), [(230, 0xF398), (35.5, 0xE238), (1500, 0x0AEE), (-40, 0xE580), (0, 0), (-(2**25), 0x7C00)]
)
def test_linear11_encodes_with_the_finest_exponent(value: float, word: int) -> None:
    assert pmbus.encode_linear11(value) == word
    assert pmbus.decode_linear11(word) == value


def test_ulinear16_takes_its_exponent_from_vout_mode() -> None:
    assert pmbus.decode_ulinear16(0x1866, 0x17) == 12.19921875
    assert pmbus.decode_ulinear16(0x0C00, 0x18) == 12.0
    assert pmbus.decode_ulinear16(0x3000, 0x1E) == 3072.0
    assert pmbus.encode_ulinear16(12.0, 0x18) == 0x0C00
    with pytest.raises(DataError, match="not the linear mode"):
        pmbus.decode_ulinear16(0x1866, 0x40)


def test_direct() -> None:
    assert pmbus.decode_direct(0x0BB8, Coefficients(19199, 0, -2)) == pytest.approx(15.6258, abs=1e-4)
    assert pmbus.decode_direct(0x0800, Coefficients(806, 20475, -1)) == pytest.approx(0.006203, abs=1e-6)
    assert pmbus.encode_direct(15.6258, Coefficients(19199, 0, -2)) == 0x0BB8
    with pytest.raises(DataError, match="cannot be"):
        pmbus.decode_direct(1, Coefficients(0, 0, 0))


def test_mean_power_from_two_readings_of_the_accumulator() -> None:
    before = pmbus.decode_accumulator(bytes.fromhex("e87f01100000"))
    after = pmbus.decode_accumulator(bytes.fromhex("200302740000"))
    assert before == Accumulator(32744, 1, 16)
    assert pmbus.average_power_w(before, after) == pytest.approx(8.23)


def test_accumulator_counters_begin_again() -> None:
    before, after = Accumulator(32000, 255, 0xFFFFFE), Accumulator(233, 0, 0x000008)
    assert pmbus.average_power_w(before, after) == pytest.approx(100.0)
    with pytest.raises(DataError, match="no new sample"):
        pmbus.average_power_w(before, before)
    with pytest.raises(DataError, match="restart"):
        pmbus.average_power_w(Accumulator(900, 0, 10), Accumulator(5, 0, 12))


def test_packet_error_code() -> None:
    assert pmbus.packet_error_code(bytes.fromhex("b097b10701")) == 0x18
    assert pmbus.check_read(0x58, 0x97, bytes.fromhex("070118")) == bytes.fromhex("0701")
    with pytest.raises(DataError, match="0x18 is right"):
        pmbus.check_read(0x58, 0x97, bytes.fromhex("070119"))


def test_formats_follow_from_the_command() -> None:
    known = {
        Command.READ_PIN: "linear11",
        Command.READ_VOUT: "ulinear16",
        Command.READ_EIN: "ein",
        Command.STATUS_WORD: "word",
        Command.STATUS_FANS_1_2: "byte",
        Command.VOUT_MODE: "byte",
    }
    assert {command: pmbus.default_format(command) for command in known} == known
    with pytest.raises(DataError, match="MFR_ID: holds no number"):
        pmbus.default_format(Command.MFR_ID)


def test_a_supply_without_input_says_so_in_its_status() -> None:
    status = StatusWord(pmbus.decode_word(bytes.fromhex("4828")))
    assert StatusWord.INPUT in status
    assert StatusWord.OFF in status
    assert StatusWord.FANS not in status


@given(WORDS)
def test_every_word_of_linear11_comes_back(word: int) -> None:
    value = pmbus.decode_linear11(word)
    assert math.isfinite(value)
    assert pmbus.decode_linear11(pmbus.encode_linear11(value)) == value


@given(st.floats())
def test_whatever_is_encoded_is_near_or_refused(value: float) -> None:
    try:
        back = pmbus.decode_linear11(pmbus.encode_linear11(value))
    except DataError:
        return
    assert back == pytest.approx(value, rel=1 / 1023, abs=2**-17)


@given(st.binary(max_size=10), st.integers(-5, 300), st.integers(-5, 300), COEFFICIENTS)
def test_random_bytes_give_a_value_or_a_typed_error(data: bytes, a: int, b: int, coefficients: Coefficients) -> None:
    number = int.from_bytes(data, "little")
    for decode in (
        lambda: pmbus.decode_linear11(number),
        lambda: pmbus.decode_ulinear16(number, a),
        lambda: pmbus.decode_direct(number, coefficients),
        lambda: pmbus.decode_word(data),
        lambda: pmbus.decode_accumulator(data),
        lambda: pmbus.check_read(a, b, data),
        lambda: pmbus.default_format(b),
        lambda: pmbus.average_power_w(Accumulator(a, b, number), Accumulator(b, a, number + b), coefficients),
        lambda: pmbus.encode_direct(float(number), coefficients),
        lambda: pmbus.encode_ulinear16(float(number), a),
    ):
        with contextlib.suppress(DataError):
            decode()
