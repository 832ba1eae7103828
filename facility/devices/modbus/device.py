"""Modbus TCP: neighbouring registers are read in one request; devices behind one gateway take turns on its line."""

from __future__ import annotations

import asyncio
import logging
import math
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from facility.clock import Clock
from facility.devices.base import ABSENT, Absent, ProfileDevice
from facility.devices.modbus.reach import why_not
from facility.devices.modbus.registers import BITS, Block, Cell, blocks_of, decode_block, encode
from facility.devices.modbus.sunspec import find_model, scaled
from facility.errors import DataError, DeviceError, DeviceTimeout, Reason
from facility.profile import Profile
from facility.profile_point import ProfilePoint
from facility.site import Device

logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # what fails is raised here, and logged once there

DEVICE_FAILURE = 4
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
REASONS = {5: Reason.BUSY, 6: Reason.BUSY, 10: Reason.UNREACHABLE, 11: Reason.TIMEOUT}
REFUSED_AGAIN_S = 600.0  # an address that was refused is asked for again after so long


@dataclass(slots=True)
class Line:
    """One TCP connection; the devices behind it (unit ids) take turns."""

    client: AsyncModbusTcpClient
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: set[int] = field(default_factory=set)


_lines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, int], Line]] = weakref.WeakKeyDictionary()


@dataclass(slots=True)
class Plan:
    """The cells of each point that is wanted (its number, and its scale factor), and the requests for all of them."""

    cells: list[list[Cell]]
    blocks: list[Block]


class PointRefusedError(Exception):
    """The device refused this address; other addresses may do."""


class ModbusDevice(ProfileDevice):
    """One unit of a Modbus TCP device or gateway."""

    def __init__(self, device: Device, profile: Profile, clock: Clock) -> None:
        super().__init__(device.name, profile, clock, "modbus")
        self._device = device
        self._ways = profile.modbus
        self._line: Line | None = None
        self._origin: int | None = None if self._ways.sunspec_models else 0  # what addresses count from
        self._plan: Plan | None = None  # for reading every point
        self._was_refused = False
        self._ask_again_at: datetime | None = None

    @property
    def line(self) -> str:
        """The line that the devices behind one host and port share, one at a time."""
        return f"modbus {self._device.host}:{self._device.port}"

    async def _read_raw(self, wanted: Sequence[ProfilePoint]) -> list[float | Absent | None]:
        plan = self._plan_all(wanted) if len(wanted) == len(self._by_name) else self._plan_for(wanted)
        async with self._turn("read") as client:
            await self._locate(client)
            found = await self._fetch(client, plan)
        return [self._value(point, cells, found) for point, cells in zip(wanted, plan.cells, strict=True)]

    def _plan_all(self, wanted: Sequence[ProfilePoint]) -> Plan:
        """How all points are read; made anew some time after addresses were refused."""
        if self._ask_again_at is not None and self._clock.now() >= self._ask_again_at:
            self._plan, self._ask_again_at = None, None
        if self._plan is None:
            self._plan = self._plan_for(wanted)
        return self._plan

    def _plan_for(self, wanted: Sequence[ProfilePoint]) -> Plan:
        cells = [_cells(point) for point in wanted]
        asked = {cell for pair in cells for cell in pair}
        return Plan(cells, blocks_of(asked, self._ways.max_gap, self._ways.max_registers))

    async def _fetch(self, client: AsyncModbusTcpClient, plan: Plan) -> dict[Cell, float]:
        """The numbers of the cells that the device has. What it refused, gaps included, is not in the plan again."""
        found: dict[Cell, float] = {}
        self._was_refused = False
        for block in plan.blocks:
            await self._fetch_block(client, block, found)
        if found and self._was_refused:  # who refuses everything may just be starting
            plan.blocks = blocks_of(found, 0, self._ways.max_registers)
            self._ask_again_at = self._clock.now() + timedelta(seconds=REFUSED_AGAIN_S)
        return found

    async def _fetch_block(self, client: AsyncModbusTcpClient, block: Block, found: dict[Cell, float]) -> None:
        """Ask for a block; where it is refused ask for less: without gaps first, then for each cell."""
        try:
            words = await self._request(client, block)
        except PointRefusedError:
            self._was_refused = True
            runs = blocks_of(block.cells)
            parts = runs if len(runs) > 1 else [Block.of(cell) for cell in block.cells]
            for part in parts if len(block.cells) > 1 else ():
                await self._fetch_block(client, part, found)
        else:
            found.update(decode_block(block, words, self._ways.byte_order))

    def _value(self, point: ProfilePoint, cells: Sequence[Cell], found: Mapping[Cell, float]) -> float | Absent | None:
        raw = found.get(cells[0])
        if raw is None or (self._ways.sunspec_models and (raw in point.sentinels or math.isnan(raw))):
            return ABSENT  # by SunSpec, a sentinel says that the point is not implemented
        if len(cells) == 1 or raw in point.sentinels:
            return raw
        exponent = found.get(cells[1])
        self._learn_rollover(point, exponent)
        return scaled(raw, exponent)

    def _learn_rollover(self, point: ProfilePoint, exponent: float | None) -> None:
        """Where a counter begins again depends on its scale factor, which only the device tells."""
        if point.rollover is None:
            return
        name, rollover = f"{self.name}/{point.name}", scaled(point.rollover * point.scale, exponent)
        if rollover is not None and self._points[name].rollover != rollover:
            self._points[name] = replace(self._points[name], rollover=rollover)

    async def _locate(self, client: AsyncModbusTcpClient) -> int:
        """What addresses count from: 0, or the ID register of the profile's SunSpec model."""
        if self._origin is None:
            self._origin = await find_model(
                lambda address, count: self._words_at(client, address, count), self._ways.sunspec_models, self._where()
            )
        return self._origin

    async def _words_at(self, client: AsyncModbusTcpClient, address: int, count: int) -> list[int] | None:
        """Words, or None where there are none; some devices call an address that they lack a failure of theirs."""
        answer = await client.read_holding_registers(address, count=count, device_id=self._device.unit_id)
        if answer.isError() and answer.exception_code in (*POINT_EXCEPTIONS, DEVICE_FAILURE):
            return None
        self._raise_on(answer, f"read holding {address}")
        return list(answer.registers)

    async def _request(self, client: AsyncModbusTcpClient, block: Block) -> Sequence[int | bool]:
        function = {
            "holding": client.read_holding_registers,
            "input": client.read_input_registers,
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
        }[block.table]
        address = block.address + (self._origin or 0)
        answer = await function(address, count=block.count, device_id=self._device.unit_id)
        self._raise_on(answer, f"read {block.table} {address}")
        words: Sequence[int | bool] = answer.bits if block.table in BITS else answer.registers
        if len(words) < block.count:
            raise DeviceError(f"{block.count} registers were asked for, {len(words)} came", where=self.name)
        return words

    async def _write_raw(self, point: ProfilePoint, raw: float) -> None:
        unit = self._device.unit_id
        async with self._turn("write") as client:
            address = (point.address or 0) + await self._locate(client)
            if point.is_bit:
                answer = await client.write_coil(address, bool(round(raw)), device_id=unit)
            else:
                words = await self._encode(client, point, raw)
                answer = await (
                    client.write_register(address, words[0], device_id=unit)
                    if len(words) == 1
                    else client.write_registers(address, words, device_id=unit)
                )
            try:
                self._raise_on(answer, f"write {point.table} {address}")
            except PointRefusedError as error:
                raise DeviceError(str(error), where=f"{self.name}/{point.name}", hint="check the profile") from error

    async def _encode(self, client: AsyncModbusTcpClient, point: ProfilePoint, raw: float) -> list[int]:
        cell, *exponents = _cells(point)
        mantissa: float | None = raw
        if exponents:
            exponent = (await self._fetch(client, self._plan_for([point]))).get(exponents[0])
            mantissa = None if exponent is None else scaled(raw, -exponent)
        if mantissa is None:
            raise DeviceError("the device gives no scale factor for it", where=f"{self.name}/{point.name}")
        try:
            return encode(cell, mantissa, self._ways.byte_order)
        except DataError as error:
            raise DeviceError(error.what, where=f"{self.name}/{point.name}") from error

    def _raise_on(self, answer: ModbusPDU, request: str) -> None:
        if not answer.isError():
            return
        said = f"{request}: exception {answer.exception_code}, {EXCEPTIONS.get(answer.exception_code, 'unknown')}"
        if answer.exception_code in POINT_EXCEPTIONS:
            raise PointRefusedError(said)
        raise DeviceError(said, where=self.name, reason=REASONS.get(answer.exception_code))

    @asynccontextmanager
    async def _turn(self, operation: str) -> AsyncIterator[AsyncModbusTcpClient]:
        """A connected client that is ours alone; after a failure it is closed, so that the next turn connects anew.

        The deadline runs from our turn. Waiting for it is bounded, too: by what the others on the line may take.
        """
        line = self._take_line()
        await self._queue(line, operation)
        try:
            async with asyncio.timeout(self._device.deadline_s):
                await self._connect(line.client)
                yield line.client
        except BaseException as error:
            self._forget(line, error)
            if isinstance(error, TimeoutError) or "No response" in str(error):
                raise self._timeout(operation) from error
            if isinstance(error, (ModbusException, OSError)):
                raise DeviceError(f"{operation} failed: {error}", where=self._where()) from error
            raise
        finally:
            line.turn.release()

    async def _queue(self, line: Line, operation: str) -> None:
        longest_s = self._device.deadline_s * (len(line.users) + 1)
        try:
            async with asyncio.timeout(longest_s):
                await line.turn.acquire()
        except TimeoutError as error:
            said = f"{operation}: its turn on the line did not come within {longest_s:g} s"
            raise DeviceTimeout(said, where=self._where()) from error

    def _forget(self, line: Line, error: BaseException) -> None:
        """After a failure nothing is taken for granted: an answer may still come, another device may have moved in."""
        if not isinstance(error, (PointRefusedError, DeviceError)):
            line.client.close()
        if self._ways.sunspec_models:
            self._origin = None

    async def _connect(self, client: AsyncModbusTcpClient) -> None:
        if not client.connected and not await client.connect():
            reason = await why_not(self._device.host, self._device.port)
            hint = "is it on, and are host and port right?"
            raise DeviceError("no connection", where=self._where(), hint=hint, reason=reason)

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


def _cells(point: ProfilePoint) -> list[Cell]:
    """Where a point is: its number, and its scale factor where it has one."""
    cells = [Cell(point.table, point.address or 0, point.type, point.word_order)]
    if point.exponent_address is not None:
        cells.append(Cell(point.table, point.exponent_address, "int16"))
    return cells
