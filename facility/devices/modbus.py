"""Modbus TCP: adjacent registers are read in one request; devices behind one gateway take turns on its line."""

from __future__ import annotations

import asyncio
import struct
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from facility.clock import Clock
from facility.devices.base import ProfileDevice
from facility.errors import DeviceError, DeviceTimeout
from facility.profile import Profile, ProfilePoint
from facility.site import Device

MAX_REGISTERS, MAX_BITS = 125, 2000  # Modbus Application Protocol V1.1b3, sections 6.1 to 6.4
POINT_EXCEPTIONS = (1, 2, 3)  # illegal function, address or value: about the points, not about the device
EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledged, still working",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target did not respond",
}
TYPES = {kind: getattr(AsyncModbusTcpClient.DATATYPE, kind.upper()) for kind in (
    "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")}  # fmt: skip


@dataclass(slots=True)
class Line:
    """One TCP connection; the devices behind it (unit ids) take turns."""

    client: AsyncModbusTcpClient
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: set[int] = field(default_factory=set)


_lines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, int], Line]] = weakref.WeakKeyDictionary()


class PointRefusedError(Exception):
    """The device refused this address; other addresses may do."""


@dataclass(frozen=True, slots=True)
class Block:
    """Adjacent points of one table, read in one request."""

    table: str
    address: int
    points: tuple[ProfilePoint, ...]

    @property
    def count(self) -> int:
        """Registers or bits in the block."""
        return max((point.address or 0) + point.width for point in self.points) - self.address


def blocks_of(points: Sequence[ProfilePoint]) -> list[Block]:
    """Points grouped into runs without holes: a strict device refuses a request that touches an address it lacks."""
    blocks: list[Block] = []
    for point in sorted(points, key=lambda p: (p.table, p.address or 0, p.width)):
        address, last = point.address or 0, blocks[-1] if blocks else None
        limit = MAX_BITS if point.is_bit else MAX_REGISTERS
        if (
            last is not None
            and last.table == point.table
            and address <= last.address + last.count
            and address + point.width - last.address <= limit
        ):
            blocks[-1] = Block(last.table, last.address, (*last.points, point))
        else:
            blocks.append(Block(point.table, address, (point,)))
    return blocks


class ModbusDevice(ProfileDevice):
    """One unit of a Modbus TCP device or gateway."""

    def __init__(self, device: Device, profile: Profile, clock: Clock) -> None:
        super().__init__(device.name, profile, clock, "modbus")
        self._device = device
        self._line: Line | None = None

    async def _read_raw(self, wanted: Sequence[ProfilePoint]) -> list[float | None]:
        found: dict[str, float | None] = {}
        async with self._turn("read") as client:
            for block in blocks_of(wanted):
                found.update(await self._read_block(client, block))
        return [found[point.name] for point in wanted]

    async def _read_block(self, client: AsyncModbusTcpClient, block: Block) -> dict[str, float | None]:
        try:
            words = await self._request(client, block)
        except PointRefusedError:
            if len(block.points) == 1:
                return {block.points[0].name: None}
            parts = [Block(block.table, point.address or 0, (point,)) for point in block.points]
            apart = [await self._read_block(client, part) for part in parts]
            return {name: raw for part in apart for name, raw in part.items()}
        return {point.name: _raw(point, words[(point.address or 0) - block.address :]) for point in block.points}

    async def _request(self, client: AsyncModbusTcpClient, block: Block) -> Sequence[int | bool]:
        function = {
            "holding": client.read_holding_registers,
            "input": client.read_input_registers,
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
        }[block.table]
        answer = await function(block.address, count=block.count, device_id=self._device.unit_id)
        self._raise_on(answer, f"read {block.table} {block.address}")
        words: Sequence[int | bool] = answer.bits if block.table in ("coil", "discrete") else answer.registers
        if len(words) < block.count:
            raise DeviceError(f"{block.count} registers were asked for, {len(words)} came", where=self.name)
        return words

    async def _write_raw(self, point: ProfilePoint, raw: float) -> None:
        address, unit = point.address or 0, self._device.unit_id
        async with self._turn("write") as client:
            if point.is_bit:
                answer = await client.write_coil(address, bool(round(raw)), device_id=unit)
            else:
                words = self._words(point, raw)
                single = len(words) == 1
                answer = await (
                    client.write_register(address, words[0], device_id=unit)
                    if single
                    else client.write_registers(address, words, device_id=unit)
                )
            try:
                self._raise_on(answer, f"write {point.table} {address}")
            except PointRefusedError as error:
                raise DeviceError(str(error), where=f"{self.name}/{point.name}", hint="check the profile") from error

    def _words(self, point: ProfilePoint, raw: float) -> list[int]:
        number = raw if point.type.startswith("float") else round(raw)
        try:
            return AsyncModbusTcpClient.convert_to_registers(number, TYPES[point.type], word_order=point.word_order)
        except (struct.error, OverflowError, ModbusException) as error:
            raise DeviceError(f"{number} does not fit {point.type}", where=f"{self.name}/{point.name}") from error

    def _raise_on(self, answer: ModbusPDU, request: str) -> None:
        if not answer.isError():
            return
        said = f"{request}: exception {answer.exception_code}, {EXCEPTIONS.get(answer.exception_code, 'unknown')}"
        if answer.exception_code in POINT_EXCEPTIONS:
            raise PointRefusedError(said)
        raise DeviceError(said, where=self.name)

    @asynccontextmanager
    async def _turn(self, operation: str) -> AsyncIterator[AsyncModbusTcpClient]:
        """A connected client that is ours alone; after a failure it is closed, so that the next turn connects anew."""
        line = self._take_line()
        try:
            async with asyncio.timeout(self._device.deadline_s), line.turn:
                try:
                    await self._connect(line.client)
                    yield line.client
                except (TimeoutError, asyncio.CancelledError, ModbusException, OSError):
                    line.client.close()
                    raise
        except TimeoutError as error:
            raise self._timeout(operation) from error
        except ModbusException as error:
            if "No response" in str(error):
                raise self._timeout(operation) from error
            raise DeviceError(f"{operation} failed: {error}", where=self._where()) from error
        except OSError as error:
            raise DeviceError(f"{operation} failed: {error}", where=self._where()) from error

    async def _connect(self, client: AsyncModbusTcpClient) -> None:
        if not client.connected and not await client.connect():
            raise DeviceError("no connection", where=self._where(), hint="is it on, and are host and port right?")

    def _timeout(self, operation: str) -> DeviceTimeout:
        return DeviceTimeout(f"{operation}: no answer within {self._device.deadline_s:g} s", where=self._where())

    def _where(self) -> str:
        return f"{self.name} (modbus {self._device.host}:{self._device.port}, unit {self._device.unit_id})"

    def _take_line(self) -> Line:
        """The line to our host and port in the running loop, shared with the other units behind it."""
        if self._line is None:
            lines = _lines.setdefault(asyncio.get_running_loop(), {})
            address = (self._device.host, self._device.port)
            if address not in lines:
                client = AsyncModbusTcpClient(
                    address[0], port=address[1], timeout=self._device.deadline_s, retries=0, reconnect_delay=0
                )
                lines[address] = Line(client)
            self._line = lines[address]
            self._line.users.add(id(self))
        return self._line

    async def close(self) -> None:
        """Leave the line, and close it where nobody else is on it; does not release."""
        line, self._line = self._line, None
        if line is None:
            return
        line.users.discard(id(self))
        if not line.users:
            line.client.close()
            _lines.get(asyncio.get_running_loop(), {}).pop((self._device.host, self._device.port), None)


def _raw(point: ProfilePoint, words: Sequence[int | bool]) -> float:
    if point.is_bit:
        return float(words[0])
    registers = [int(word) for word in words[: point.width]]
    number = AsyncModbusTcpClient.convert_from_registers(registers, TYPES[point.type], word_order=point.word_order)
    return float(number)  # type: ignore[arg-type]  # a list or text only for types that profiles do not have
