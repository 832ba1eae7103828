"""The Modbus TCP server of the emulated building: one listener, one unit id for each device."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from apps.emulator.registers import Unit, WriteRefusedError
from facility.errors import EcoError

READS, WRITES = (3, 4), (6, 16)  # holding and input registers show the same content; a write is echoed by a read


async def start_modbus(units: Mapping[int, Unit], port: int, catch_up: Callable[[], None]) -> ModbusTcpServer:
    """Listen on loopback; ``catch_up`` brings the building to the present before each request."""
    devices = [_device(unit_id, unit, catch_up) for unit_id, unit in units.items()]
    server = ModbusTcpServer(devices, address=("127.0.0.1", port))
    try:
        await server.serve_forever(background=True)
    except RuntimeError as error:
        raise EcoError(
            f"Modbus cannot listen: {error}", where=f"127.0.0.1:{port}", hint="is the port taken?"
        ) from error
    return server


def _device(unit_id: int, unit: Unit, catch_up: Callable[[], None]) -> SimDevice:
    async def answer(
        function: int, first: int, address: int, count: int, registers: list[int], new: list[int] | list[bool] | None
    ) -> ExcCodes | None:
        catch_up()
        if new is not None:
            return _write(unit, function, address, [int(word) for word in new])
        if function not in READS + WRITES:
            return ExcCodes.ILLEGAL_FUNCTION
        for place, word in unit.words().items():
            registers[place - first] = word
        return None

    return SimDevice(unit_id, [_span(*span) for span in _merged(unit)], action=answer)


def _write(unit: Unit, function: int, address: int, words: list[int]) -> ExcCodes | None:
    if function not in WRITES:
        return ExcCodes.ILLEGAL_FUNCTION
    try:
        unit.write(address, words)
    except WriteRefusedError as refused:
        return ExcCodes.ILLEGAL_VALUE if refused.illegal_value else ExcCodes.ILLEGAL_ADDRESS
    return None


def _merged(unit: Unit) -> list[tuple[int, int]]:
    """Runs of adjacent registers; what lies between them does not exist."""
    runs: list[tuple[int, int]] = []
    for address, count in sorted(unit.spans):
        if runs and runs[-1][0] + runs[-1][1] == address:
            runs[-1] = (runs[-1][0], runs[-1][1] + count)
        else:
            runs.append((address, count))
    return runs


def _span(address: int, count: int) -> SimData:
    return SimData(address, count=count, values=0, datatype=DataType.REGISTERS)
