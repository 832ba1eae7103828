"""PMBus supplies behind a BMC, read by Master Write-Read (IPMI 2.0, 22.11)."""

from __future__ import annotations

from facility import pmbus
from facility.devices.base import ABSENT, Absent
from facility.devices.ipmi.link import IpmiLink
from facility.devices.ipmi.points import Supply
from facility.errors import DataError

APP, MASTER_WRITE_READ = 0x06, 0x52
NAK = 0x83  # nobody is at that address, or it does not know the command
UNKNOWN_COMMAND = 0xC1  # the BMC has no Master Write-Read
FLOATING = b"\xff\xff"  # what a bus reads that nobody drives


class Supplies:
    """Registers of supplies; keeps what a number depends on: the exponent of the voltage, the energy read before."""

    def __init__(self, link: IpmiLink) -> None:
        self._link = link
        self._session = -1
        self._vout_modes: dict[tuple[int, int], int] = {}
        self._energy: dict[Supply, pmbus.Accumulator] = {}

    async def read(self, register: Supply) -> float | Absent | None:
        """The number in a register; None where there is none now: a bus error, no linear VOUT_MODE, a first energy."""
        data = await self._bytes(register)
        if not isinstance(data, bytes):
            return data
        try:
            return await self._number(register, data)
        except DataError:
            return None

    async def _number(self, register: Supply, data: bytes) -> float | None:
        match register.format:
            case "byte":
                return float(data[0])
            case "ein":
                return self._power(register, pmbus.decode_accumulator(data[1:]))
            case "direct" if register.coefficients is not None:
                return pmbus.decode_direct(pmbus.decode_word(data), register.coefficients)
        if data == FLOATING:
            return None
        word = pmbus.decode_word(data)
        if register.format == "linear11":
            return pmbus.decode_linear11(word)
        return float(word) if register.format == "word" else pmbus.decode_ulinear16(word, await self._mode(register))

    def _power(self, register: Supply, now: pmbus.Accumulator) -> float | None:
        """Mean power in W since the reading before."""
        before = self._energy.get(register)
        if before is not None and before.samples == now.samples:
            return None
        self._energy[register] = now
        return None if before is None else pmbus.average_power_w(before, now, register.coefficients)

    async def _mode(self, register: Supply) -> int:
        """VOUT_MODE of the supply, asked for once a session. Raises DataError where it does not say."""
        if self._session != self._link.sessions:
            self._vout_modes.clear()
            self._session = self._link.sessions
        where = (register.bus, register.address)
        if where not in self._vout_modes:
            vout_mode = Supply(*where, pmbus.Command.VOUT_MODE, "byte", None, register.has_pec)
            data = await self._bytes(vout_mode)
            if not isinstance(data, bytes):
                raise DataError("no VOUT_MODE", where=f"PMBus {register.address:#04x}")
            self._vout_modes[where] = data[0]
        return self._vout_modes[where]

    async def _bytes(self, register: Supply) -> bytes | Absent | None:
        """What a register holds, checked; ABSENT where nobody answers for it."""
        answer = await self._link.ask(APP, MASTER_WRITE_READ, register.request())
        if answer.code in (NAK, UNKNOWN_COMMAND):
            return ABSENT
        if answer.code or len(answer.data) != register.length + register.has_pec:
            return None
        if not register.has_pec:
            return answer.data
        try:
            return pmbus.check_read(register.address, register.command, answer.data)
        except DataError:
            return None
