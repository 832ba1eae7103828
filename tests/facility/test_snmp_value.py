"""Whatever an agent sends is a number, nothing, or a typed error: values, texts, walks."""

from __future__ import annotations

import asyncio
import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pysnmp.proto import rfc1902, rfc1905

from facility.devices.snmp.value import like, number_of, text_of
from facility.devices.snmp.walk import Walker
from facility.errors import DeviceError

NUMBERS = st.one_of(
    st.builds(rfc1902.Integer32, st.integers(-(2**31), 2**31 - 1)),
    st.builds(rfc1902.Counter64, st.integers(0, 2**64 - 1)),
    st.builds(rfc1902.Gauge32, st.integers(0, 2**32 - 1)),
    st.builds(rfc1902.TimeTicks, st.integers(0, 2**32 - 1)),
)
OTHERS = st.one_of(
    st.builds(rfc1902.OctetString, st.binary(max_size=40)),
    st.builds(rfc1902.OctetString, st.from_regex(r"[-+ .,0-9eExXnaifNAI_]{0,12}").map(lambda text: text.encode())),
    st.builds(rfc1902.Opaque, st.binary(max_size=16)),
    st.builds(rfc1902.Opaque, st.binary(min_size=4, max_size=4).map(lambda four: b"\x9f\x78\x04" + four)),
    st.builds(rfc1902.IpAddress, st.just("49.50.51.52")),
    st.builds(rfc1902.ObjectIdentifier, st.just("1.3.6.1")),
    st.sampled_from([rfc1905.NoSuchObject(""), rfc1905.NoSuchInstance(""), rfc1905.EndOfMibView(""), None]),
)


@given(NUMBERS)
def test_every_whole_number_is_read_as_it_is(value: object) -> None:
    assert number_of(value) == float(int(value))  # type: ignore[call-overload]


@given(OTHERS)
def test_other_values_are_a_finite_number_or_none(value: object) -> None:
    number = number_of(value)
    assert number is None or math.isfinite(number)
    assert isinstance(text_of(value), str)


@pytest.mark.parametrize(
    ("text", "number"),
    [("23.5", 23.5), (" -4 ", -4.0), ("1e3", 1000.0), ("0012", 12.0), ("5\0", 5.0), (".5", 0.5)]
    + [(text, None) for text in ("", "nan", "inf", "1_000", "0x10", "23,5", "23.5 C", "notsupported", "--", "1e999")],
)
def test_texts_that_are_numbers(text: str, number: float | None) -> None:
    assert number_of(rfc1902.OctetString(text.encode())) == number


@given(st.floats(allow_nan=True, allow_infinity=True), OTHERS.filter(lambda value: value is not None))
def test_what_cannot_be_written_is_a_typed_error(raw: float, current: object) -> None:
    try:
        like(current, raw)
    except ValueError:
        return


@given(st.lists(st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers()), max_size=60), st.data())
def test_a_walk_ends_or_fails_by_name(pairs: list[tuple[list[int], int]], data: st.DataObject) -> None:
    """Whatever an agent answers, a column is walked to its end or the walk stops with a DeviceError."""

    async def bulk(cursor: str, rows: int) -> list[tuple[str, int]]:
        count = data.draw(st.integers(0, min(rows, len(pairs))))
        return [(".".join(map(str, (1, 3, *oid))), value) for oid, value in pairs[:count]]

    walker = Walker(bulk, "agent")
    with contextlib.suppress(DeviceError):
        rows = asyncio.run(walker.column("1.3"))
        assert len(rows) <= len(pairs)
