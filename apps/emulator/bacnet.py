"""The BACnet/IP face of one emulated device: the objects of its profile, over the state that Modbus shows too."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Any

from bacpypes3.app import Application
from bacpypes3.appservice import ApplicationServiceAccessPoint
from bacpypes3.comm import bind
from bacpypes3.ipv4.link import NormalLinkLayer
from bacpypes3.local.device import DeviceObject
from bacpypes3.netservice import NetworkServiceAccessPoint, NetworkServiceElement
from bacpypes3.pdu import IPv4Address

from apps.emulator.bacnet_objects import LOWEST_PRIORITY, AnalogOutput, make_object
from apps.emulator.building import Building
from facility.profile import load_profile
from facility.profile_point import ProfilePoint

PROFILE = "emulated-crah-bacnet"
LOOK_S = 0.5  # wall seconds between looks for changes that somebody subscribed to


class PriorityTable:
    """The priority arrays of a device's setpoints.

    A slot is kept beside its setpoint in what was written to the device ("supply_air_setpoint_c@13"): so it is saved
    with the building, and forgotten when the device falls back. A value that came over Modbus stands at priority 16.
    """

    def __init__(self, building: Building, device: str) -> None:
        self._building, self._device = building, device
        self._written = building.remotes[device].written

    def array(self, name: str) -> list[float | None]:
        """The 16 slots of a setpoint, highest priority first."""
        slots = [self._written.get(_slot(name, level)) for level in range(1, LOWEST_PRIORITY + 1)]
        in_command = self._written.get(name)
        if in_command == _highest(slots):
            return slots
        return self._fill(name, [*(None for _ in range(LOWEST_PRIORITY - 1)), in_command])

    def command(self, name: str, value: float | None, priority: int) -> None:
        """Fill a slot, or empty it with None; the highest that is filled is the written setpoint."""
        slots = self.array(name)
        slots[priority - 1] = value
        in_command = _highest(slots)
        if in_command is None:
            self._written.pop(name, None)
        else:
            self._building.write(self._device, name, in_command)
        self._fill(name, slots)

    def _fill(self, name: str, slots: list[float | None]) -> list[float | None]:
        for level, held in enumerate(slots, start=1):
            self._written.pop(_slot(name, level), None)
            if held is not None:
                self._written[_slot(name, level)] = held
        return slots


class DeviceServer(Application):  # type: ignore[misc]  # bacpypes3 is not typed
    """One emulated air handler as a BACnet device; every request sees the present state."""

    def __init__(
        self,
        listener: socket.socket,
        instance: int,
        building: Building,
        device: str,
        catch_up: Callable[[], None],
        mark: Callable[[], None],
    ) -> None:
        super().__init__()
        self._building, self._device, self._catch_up, self._mark = building, device, catch_up, mark
        self._table = PriorityTable(building, device)
        self._served: list[tuple[ProfilePoint, Any]] = []
        self._connect(listener, instance)
        values = building.values(device)
        for point in load_profile(PROFILE).point:
            served = make_object(point, values[point.name], self._take)
            self.add_object(served)
            self._served.append((point, served))
        self._looking = asyncio.create_task(self._look_for_changes())

    def _connect(self, listener: socket.socket, instance: int) -> None:
        me = DeviceObject(
            objectIdentifier=("device", instance),
            objectName=f"{self._device} (emulated)",
            modelName="computer-room air handler",
        )
        address = IPv4Address(listener.getsockname())
        self.asap = ApplicationServiceAccessPoint(me, self.device_info_cache)
        self.nsap, self.nse = NetworkServiceAccessPoint(), NetworkServiceElement()
        bind(self.nse, self.nsap)
        bind(self, self.asap, self.nsap)
        self._link = NormalLinkLayer(address, bind_socket=listener)
        self.nsap.bind(self._link, address=address)
        self.add_object(me)

    async def indication(self, apdu: Any) -> None:
        """Bring all objects to the present, then answer."""
        self._refresh()
        await super().indication(apdu)

    def _refresh(self) -> None:
        self._catch_up()
        values, local = self._building.values(self._device), self._building.remotes[self._device].local
        for point, served in self._served:
            if isinstance(served, AnalogOutput):
                served.command(self._table.array(point.name), local[point.name])
            else:
                served.show(values[point.name])

    def _take(self, point: ProfilePoint, value: float | None, priority: int) -> None:
        if point.object.startswith("analog-output"):
            self._table.command(point.name, value, priority)
        elif value is not None:
            self._building.write(self._device, point.name, value)
        self._mark()
        self._refresh()

    async def _look_for_changes(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if self._cov_detections:
                self._refresh()

    async def ready(self) -> None:
        """Wait until the socket is in the event loop's hands."""
        await self._link.server._local_transport_ready.wait()

    async def shut(self) -> None:
        """Stop answering and close the socket."""
        self._looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._looking
        await self.ready()
        self._link.close()


async def start_bacnet(
    listener: socket.socket,
    instance: int,
    building: Building,
    device: str,
    catch_up: Callable[[], None],
    mark: Callable[[], None],
) -> DeviceServer:
    """Serve an air handler ("crah-1") on a bound UDP socket as device ``instance``; end it with ``shut``.

    ``catch_up`` brings the building to the present before each request, ``mark`` hears of every write. The state is
    the building's own: what is written over Modbus is seen here and the other way round.
    """
    server = DeviceServer(listener, instance, building, device, catch_up, mark)
    await server.ready()
    return server


def _slot(name: str, priority: int) -> str:
    return f"{name}@{priority}"


def _highest(slots: Sequence[float | None]) -> float | None:
    return next((held for held in slots if held is not None), None)
