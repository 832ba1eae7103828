"""What one request asks for and how its words are read, against pymodbus's server, which tells what it was asked."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from facility.devices.modbus.registers import CODES, Block, Cell, blocks_of, decode_block, encode
from facility.errors import DataError
from facility.records import Command
from tests.facility.test_modbus import device_at, values_of
from tests.peers.processes import free_port

GAPPY = """
[profile]
name = "gappy"
protocol = "modbus"
source = "made for this test"
[modbus]
max_gap = 20
byte_order = "little"
[[point]]
name = "supply_air_setpoint_c"
kind = "temperature"
unit = "degC"
address = 40
type = "int16"
exponent_address = 45
writable = true
[[point]]
name = "fan_speed_pct"
kind = "speed"
unit = "%"
address = 43
[[point]]
name = "elsewhere_c"
kind = "temperature"
unit = "degC"
address = 60
optional = true
"""


def _turned(word: int) -> int:
    return (word & 0xFF) << 8 | word >> 8


@asynccontextmanager
async def traced(registers: dict[int, list[int]]) -> AsyncIterator[tuple[int, list[tuple[int, int]]]]:
    """pymodbus's server with some runs of registers; yields the port, and address and count of what it is asked."""
    asked: list[tuple[int, int]] = []

    def trace(sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if not sending:
            asked.append((pdu.address, pdu.count))
        return pdu

    runs = [SimData(start, values=words, datatype=DataType.REGISTERS) for start, words in registers.items()]
    port = free_port()
    server = ModbusTcpServer([SimDevice(1, runs)], address=("127.0.0.1", port), trace_pdu=trace)
    await server.serve_forever(background=True)
    try:
        yield port, asked
    finally:
        await server.shutdown()


async def test_registers_of_no_point_are_read_through_where_the_profile_says_so(tmp_path: Path) -> None:
    path = tmp_path / "gappy.toml"
    path.write_text(GAPPY)
    words = [_turned(word) for word in (225, 0, 0, 65, 0, 0xFFFF)]
    async with traced({40: words + [0] * 14 + [_turned(7)]}) as (port, asked), device_at(port, path) as crah:
        assert values_of(await crah.read()) == {
            "supply_air_setpoint_c": 22.5,
            "fan_speed_pct": 65.0,
            "elsewhere_c": 7.0,
        }
        assert asked == [(40, 21)]
        setpoint = Command("crah-1/supply_air_setpoint_c", 21.3, "degC", "test")
        await crah.write(setpoint)
        assert (await crah.read_back(setpoint)).value == 21.3


async def test_a_gap_that_a_device_refuses_is_not_asked_for_at_every_poll(tmp_path: Path) -> None:
    path = tmp_path / "gappy.toml"
    path.write_text(GAPPY)
    words = [_turned(word) for word in (225, 0, 0, 65, 0, 0xFFFF)]
    async with traced({40: words}) as (port, asked), device_at(port, path) as crah:
        assert values_of(await crah.read()) == {"supply_air_setpoint_c": 22.5, "fan_speed_pct": 65.0}
        asked.clear()
        assert values_of(await crah.read()) == {"supply_air_setpoint_c": 22.5, "fan_speed_pct": 65.0}
        assert asked == [(40, 1), (43, 1), (45, 1)]


ORDERS = st.sampled_from(["big", "little"])


@settings(deadline=None)
@given(st.sampled_from(sorted(CODES)), ORDERS, ORDERS, st.binary(min_size=8, max_size=8))
def test_any_words_are_a_number_and_the_number_gives_the_words_again(
    kind: str, word_order: str, byte_order: str, data: bytes
) -> None:
    cell = Cell("holding", 100, kind, word_order)
    words = list(struct.unpack(">4H", data))
    number = decode_block(Block.of(cell), words, byte_order)[cell]
    if number == number and abs(number) < 2.0**53:  # beyond it a float has not every whole number
        assert encode(cell, number, byte_order) == words[: cell.width]


def test_byte_and_word_orders() -> None:
    number = struct.unpack(">2H", struct.pack(">f", 230.5))  # 4366 8000
    for word_order, byte_order, words in (
        ("big", "big", number),
        ("little", "big", number[::-1]),
        ("big", "little", (0x6643, 0x0080)),
        ("little", "little", (0x0080, 0x6643)),
    ):
        cell = Cell("holding", 0, "float32", word_order)
        assert decode_block(Block.of(cell), words, byte_order) == {cell: 230.5}
        assert encode(cell, 230.5, byte_order) == list(words)


@settings(deadline=None)
@given(st.sampled_from(sorted(CODES)), st.floats())
def test_a_number_that_does_not_fit_is_said_to(kind: str, number: float) -> None:
    cell = Cell("holding", 0, kind)
    try:
        words = encode(cell, number)
    except DataError:
        return
    assert len(words) == cell.width


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["holding", "input"]), st.integers(0, 400), st.sampled_from(sorted(CODES)))),
    st.integers(0, 30),
    st.integers(4, 125),
)
def test_every_cell_is_in_one_block_and_no_block_is_too_long(
    places: list[tuple[str, int, str]], max_gap: int, longest: int
) -> None:
    cells = {Cell(*place) for place in places}
    blocks = blocks_of(cells, max_gap, longest)
    assert sorted(map(hash, cells)) == sorted(hash(cell) for block in blocks for cell in block.cells)
    for block in blocks:
        assert block.count <= longest
        assert all(block.address <= cell.address and cell.end <= block.end for cell in block.cells)


def test_blocks_have_no_holes_and_stay_within_the_protocol() -> None:
    cells = [Cell("holding", address, "float32") for address in [*range(0, 200, 2), 300, 302, 306]]
    blocks = blocks_of(cells)
    assert [(block.address, block.count) for block in blocks] == [(0, 124), (124, 76), (300, 4), (306, 2)]
