"""IPMI 2.0 over RMCP+: a BMC's sensors, its power reading and limit (DCMI), chassis power, and the supplies behind it.

Addresses are explained in ``facility.devices.ipmi.points``. Chassis power is switched by ``set_power`` alone, never by
writing a point: it belongs to parking a node, which is a sequence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from facility.clock import Clock
from facility.devices.base import ABSENT, Absent, ProfileDevice
from facility.devices.ipmi import dcmi, sdr
from facility.devices.ipmi.link import Answer, Bmc, IpmiLink
from facility.devices.ipmi.points import Named, Plain, Supply, instances, parse
from facility.devices.ipmi.sensors import SensorList
from facility.devices.ipmi.supplies import Supplies
from facility.errors import ConfigError, DataError, DeviceError, DeviceTimeout
from facility.profile import Profile
from facility.profile_point import ProfilePoint
from facility.site import Device
from facility.site.base import resolve_secret

SENSOR_EVENT, GET_SENSOR_READING = 0x04, 0x2D
CHASSIS, GET_CHASSIS_STATUS, CHASSIS_CONTROL = 0x00, 0x01, 0x02
POWER_ON = 0x01  # bit of the chassis status
POWER_CONTROLS = {"off": 0x00, "on": 0x01, "soft": 0x05}  # IPMI 2.0, 28.3
NOT_THERE = (0xC1, 0xCB, 0xCC)  # completion codes: no such command, no such sensor, no such parameter

PowerControl = Literal["on", "off", "soft"]
Raw = float | Absent | None


class IpmiDevice(ProfileDevice):
    """One BMC."""

    def __init__(self, device: Device, profile: Profile, clock: Clock) -> None:
        """Raises ConfigError: no credentials, or an address in the profile that is none."""
        super().__init__(device.name, profile, clock, "ipmi")
        if device.ipmi is None:
            raise ConfigError("an ipmi device needs a table 'ipmi' with user and password", where=device.name)
        for point in profile.point:
            parse(point.sensor)
        password = resolve_secret(device.ipmi.password)
        self._bmc = Bmc(device.name, device.host, device.port, device.ipmi.user, password, device.deadline_s)
        self._link = IpmiLink(self._bmc)
        self._sensors = SensorList(self._link)
        self._supplies = Supplies(self._link)

    # Reading ------------------------------------------------------------------------------------------------------

    async def _read_raw(self, wanted: Sequence[ProfilePoint]) -> list[Raw]:
        said: dict[str, Raw] = {}  # one request may tell more than one point
        raws: list[Raw] = []
        async with self._deadline("read"):
            for point in wanted:
                address = parse(point.sensor)
                if isinstance(address, Named):
                    raws.append(await self._sensor(point, address))
                elif isinstance(address, Supply):
                    raws.append(await self._supplies.read(address))
                else:
                    if address not in said:
                        said |= await self._plain(address)
                    raws.append(said[address])
        return raws

    async def _expand(self, templates: Sequence[ProfilePoint]) -> list[ProfilePoint]:
        async with self._deadline("the list of sensors is still being read"):
            sensors = await self._sensors.get()
        return [point for template in templates for point in instances(template, sensors)]

    @property
    def _has_begun(self) -> bool:
        return self._link.sessions > 0

    async def _sensor(self, point: ProfilePoint, address: Named) -> Raw:
        try:
            sensor = address.find(await self._sensors.get())
        except DataError as error:
            raise DeviceError(error.what, where=f"{self.name}/{point.name}", hint=error.hint) from error
        if sensor is None:
            return ABSENT
        if sensor.unit not in ("", point.unit):
            return None  # a number of another quantity is no value
        answer = await self._link.ask(SENSOR_EVENT, GET_SENSOR_READING, bytes((sensor.number,)), sensor.lun)
        return sdr.reading(sensor, answer.data) if answer.code == 0 else _missing(answer)

    async def _plain(self, address: Plain) -> dict[str, Raw]:
        """What one request tells, by address."""
        if address == "chassis:power":
            answer = await self._link.ask(CHASSIS, GET_CHASSIS_STATUS)
            return {address: _value(answer, lambda data: float(data[0] & POWER_ON))}
        if address == "dcmi:power":
            answer = await self._link.ask(dcmi.NETFN, dcmi.POWER_READING, dcmi.POWER_REQUEST)
            return {address: _value(answer, dcmi.decode_power)}
        answer = await self._link.ask(dcmi.NETFN, dcmi.GET_LIMIT, dcmi.LIMIT_REQUEST)
        if answer.code == dcmi.NO_ACTIVE_LIMIT:  # what is set but not in force limits nothing
            return {"dcmi:limit": None, "dcmi:limit-active": 0.0}
        watts = _value(answer, lambda data: float(dcmi.decode_limit(data).watts))
        return {"dcmi:limit": watts, "dcmi:limit-active": 1.0 if answer.code == 0 else watts}

    # Writing ------------------------------------------------------------------------------------------------------

    async def _write_raw(self, point: ProfilePoint, raw: float) -> None:
        async with self._deadline("write"):
            match parse(point.sensor):
                case "dcmi:limit":
                    await self._set_limit(point, raw)
                case "dcmi:limit-active":
                    await self._done(point, dcmi.ACTIVATE_LIMIT, dcmi.encode_activation(bool(round(raw))))
                case _:
                    raise DeviceError("can only be read over IPMI", where=f"{self.name}/{point.name}")

    async def _set_limit(self, point: ProfilePoint, watts: float) -> None:
        """Set the limit and put it in force, with what the BMC has for correction time and sampling period."""
        answer = await self._link.ask(dcmi.NETFN, dcmi.GET_LIMIT, dcmi.LIMIT_REQUEST)
        try:
            before = dcmi.decode_limit(answer.data)
        except DataError:  # some BMCs give none while no limit is in force
            before = dcmi.DEFAULT_LIMIT
        try:
            request = dcmi.encode_limit(watts, before)
        except DataError as error:
            raise DeviceError(error.what, where=f"{self.name}/{point.name}") from error
        await self._done(point, dcmi.SET_LIMIT, request)
        await self._done(point, dcmi.ACTIVATE_LIMIT, dcmi.encode_activation(True))

    async def _done(self, point: ProfilePoint, command: int, data: bytes) -> None:
        answer = await self._link.ask(dcmi.NETFN, command, data)
        if answer.code:
            said = dcmi.REFUSALS.get(answer.code, "the BMC refused it")
            raise DeviceError(f"{said} (completion code {answer.code:#04x})", where=f"{self.name}/{point.name}")

    async def set_power(self, control: PowerControl) -> None:
        """Switch the chassis: ``soft`` asks the operating system to shut down, ``off`` does not ask.

        Returns when the BMC has taken the request; ``chassis:power`` tells when it is done. Raises DeviceError.
        """
        async with self._deadline(f"power {control}"):
            answer = await self._link.ask(CHASSIS, CHASSIS_CONTROL, bytes((POWER_CONTROLS[control],)))
        if answer.code:
            said = f"power {control} was refused (completion code {answer.code:#04x})"
            raise DeviceError(said, where=self._bmc.where, hint="it needs the privilege of an operator")

    @asynccontextmanager
    async def _deadline(self, operation: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._bmc.deadline_s):
                yield
        except TimeoutError as error:
            said = f"{operation}: no answer within {self._bmc.deadline_s:g} s"
            raise DeviceTimeout(said, where=self._bmc.where) from error

    async def close(self) -> None:
        """Log out and end the process that holds the session; does not release."""
        await self._sensors.close()
        await self._link.close()


def _missing(answer: Answer) -> Absent | None:
    """What a completion code that is not success says of a point."""
    return ABSENT if answer.code in NOT_THERE else None


def _value(answer: Answer, decode: Callable[[bytes], float | None]) -> Raw:
    """The value in an answer; None where it is none of its kind."""
    if answer.code:
        return _missing(answer)
    try:
        return decode(answer.data)
    except (DataError, IndexError):
        return None
