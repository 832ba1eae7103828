"""Numbers in Modbus registers: which requests fetch them, and how their words are put together. No I/O."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from facility.errors import DataError
from facility.profile_point import REGISTERS

MAX_REGISTERS, MAX_BITS = 125, 2000  # Modbus Application Protocol V1.1b3, sections 6.1 to 6.4
BITS = ("coil", "discrete")
CODES = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One number: where it is and how it is written."""

    table: str
    address: int  # zero-based
    type: str = "uint16"
    word_order: str = "big"

    @property
    def width(self) -> int:
        """Registers, or bits, that it takes."""
        return 1 if self.table in BITS else REGISTERS[self.type]

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.address + self.width


@dataclass(slots=True)
class Block:
    """Cells of one table that are fetched in one request, from ``address`` up to ``end``."""

    table: str
    address: int
    end: int
    cells: list[Cell] = field(default_factory=list)

    @classmethod
    def of(cls, cell: Cell) -> Block:
        """The request for one cell."""
        return cls(cell.table, cell.address, cell.end, [cell])

    @property
    def count(self) -> int:
        """Registers or bits in the request."""
        return self.end - self.address

    def add(self, cell: Cell) -> None:
        """One more cell, which does not begin before the block."""
        self.cells.append(cell)
        self.end = max(self.end, cell.end)


def blocks_of(cells: Iterable[Cell], max_gap: int = 0, max_registers: int = MAX_REGISTERS) -> list[Block]:
    """The fewest requests that fetch the cells, reading through at most ``max_gap`` registers that nobody asked for.

    By default through none: a strict device refuses a request that touches an address which it does not have.
    """
    blocks: list[Block] = []
    for cell in sorted(set(cells), key=lambda c: (c.table, c.address, c.width)):
        last = blocks[-1] if blocks else None
        limit = MAX_BITS if cell.table in BITS else max_registers
        is_near = last is not None and last.table == cell.table and cell.address <= last.end + max_gap
        if last is not None and is_near and max(cell.end, last.end) - last.address <= limit:
            last.add(cell)
        else:
            blocks.append(Block.of(cell))
    return blocks


@functools.cache
def _packing(kind: str) -> struct.Struct:
    return struct.Struct(f">{CODES[kind]}")


def decode_block(block: Block, words: Sequence[int | bool], byte_order: str = "big") -> dict[Cell, float]:
    """The number in each cell of a block, from the words of its answer; ``byte_order`` is that within a register."""
    if block.table in BITS:
        return {cell: float(words[cell.address - block.address]) for cell in block.cells}
    data = struct.pack(f"{'>' if byte_order == 'big' else '<'}{len(words)}H", *words)
    return {cell: _number(cell, data, 2 * (cell.address - block.address)) for cell in block.cells}


def _number(cell: Cell, data: bytes, start: int) -> float:
    packing = _packing(cell.type)
    if cell.word_order == "little" and packing.size > 2:
        data, start = _turned(data[start : start + packing.size]), 0
    return float(packing.unpack_from(data, start)[0])


def encode(cell: Cell, number: float, byte_order: str = "big") -> list[int]:
    """The words that hold a number, rounded for a whole-number cell; raises DataError where it does not fit."""
    try:
        data = _packing(cell.type).pack(number if cell.type.startswith("float") else round(number))
    except (struct.error, OverflowError, ValueError) as error:
        raise DataError(f"{number!r} does not fit {cell.type}") from error
    if cell.word_order == "little":
        data = _turned(data)
    return list(struct.unpack(f"{'>' if byte_order == 'big' else '<'}{len(data) // 2}H", data))


def _turned(data: bytes) -> bytes:
    """The words in reverse order, each with its bytes as they are."""
    return b"".join(data[i : i + 2] for i in range(len(data) - 2, -1, -2))
