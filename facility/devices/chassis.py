"""The power switch of a node, behind its BMC, as an actuator: 1 is on, 0 off.

A point of its own, because switching a node off belongs to parking it: it is asked softly, never cut off, and only if
a last question just before it says that nothing is in the way. Given back, a node is switched on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from facility.devices.ipmi import IpmiDevice
from facility.devices.redfish import RedfishDevice
from facility.errors import ConfigError, DeviceError
from facility.records import Actuator, Command, Point, Reading, Verdict, VerdictKind

QUANTITY = "power_switch_flag"
KIND = "switch"
LOOK_S = 0.5  # wall seconds between two looks whether a node has followed

Veto = Callable[[], Awaitable[str]]
"""Why a node must stay on, in words; empty where nothing is in the way."""


class Bmc(Protocol):
    """What switches a node."""

    flag: str  # the point that says whether it is on

    @property
    def device(self) -> Actuator:
        """What reads ``flag``."""
        ...

    async def switch(self, is_on: bool) -> None:
        """Ask for it; raises DeviceError where it is refused."""
        ...


class IpmiBmc:
    """Chassis control over IPMI 2.0."""

    def __init__(self, device: IpmiDevice) -> None:
        self.device = device
        self.flag = f"{device.name}/power_on_flag"

    async def switch(self, is_on: bool) -> None:
        """On, or a soft shutdown by the operating system."""
        await self.device.set_power("on" if is_on else "soft")


class RedfishBmc:
    """ComputerSystem.Reset over Redfish; ``system`` is its Id, ``flag`` the point that reads its PowerState."""

    def __init__(self, device: RedfishDevice, flag: str, system: str = "") -> None:
        self.device, self.flag, self._system = device, flag, system

    async def switch(self, is_on: bool) -> None:
        """On, or a graceful shutdown."""
        await self.device.reset("On" if is_on else "GracefulShutdown", self._system)


def bmc_of(device: Actuator, flag: str = "", system: str = "") -> Bmc:
    """The switch behind a configured device; raises ConfigError for one that has none."""
    if isinstance(device, IpmiDevice):
        return IpmiBmc(device)
    if isinstance(device, RedfishDevice) and flag:
        return RedfishBmc(device, f"{device.name}/{flag}", system)
    hint = "an ipmi device, or a redfish one with the name of its power_on_flag"
    raise ConfigError("the device cannot switch a node", where=device.name, hint=hint)


class ChassisSwitch:
    """The power of ``node``; ``veto`` is asked right before it is switched off."""

    restores = True  # it goes back to what it was: on

    def __init__(self, node: str, bmc: Bmc, veto: Veto, follow_s: float) -> None:
        """``follow_s``: wall seconds that a shutdown or a start may take until the BMC tells of it."""
        self.name = f"{node} (power switch)"
        self.point = f"{node}/{QUANTITY}"
        self._bmc, self._veto, self._follow_s = bmc, veto, follow_s
        self.was_asked = False  # whether the last write reached the BMC
        self._points = {self.point: Point(self.point, KIND, "1", node, "1 on, 0 off", True, 0.0, 1.0)}

    @property
    def points(self) -> Mapping[str, Point]:
        """The one point."""
        return self._points

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        """Whether the node is on. Raises DeviceError."""
        if points is not None and list(points) != [self.point]:
            raise DeviceError("the node's switch has no such point", where=", ".join(points))
        (reading,) = await self._bmc.device.read([self._bmc.flag])
        return [replace(reading, point=self.point, source=self.name)]

    def check(self, command: Command) -> Verdict:
        """On or off."""
        if command.value not in (None, 0.0, 1.0):
            return Verdict(command, VerdictKind.REJECTED, None, "range", "a switch is 0 or 1")
        return Verdict(command, VerdictKind.ACCEPTED, command.value)

    async def write(self, command: Command) -> None:
        """Switch, where it is not so already. Raises DeviceError where something is in the way."""
        wanted = command.value != 0.0
        self.was_asked = False
        (now,) = await self.read()
        if now.value == float(wanted):
            return
        why = "" if wanted else await self._veto()
        if why:
            raise DeviceError(f"not switched off: {why}", where=self.point)
        self.was_asked = True
        await self._bmc.switch(wanted)

    async def read_back(self, command: Command) -> Reading:
        """What the BMC tells when the node has followed, or when the time for it is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._follow_s
        while True:
            (reading,) = await self.read()
            if reading.value == command.value or loop.time() >= until:
                return reading
            await asyncio.sleep(LOOK_S)

    async def release(self, points: Sequence[str] | None = None) -> None:
        """Switch the node on. Raises DeviceError."""
        await self.write(Command(self.point, 1.0, "1", "given back"))

    async def close(self) -> None:
        """The BMC's connection is its device's."""
