"""A BACnet/IP device on bacpypes3: ``python -m tests.peers.bacnet_device PORT INSTANCE [OPTION...]``.

Options: ``no-rpm`` (no ReadPropertyMultiple), ``shy`` (no I-Am), ``max-apdu=206`` (unsegmented messages of that size),
``no-cov``. Prints READY when it listens, SUBSCRIBED with each subscription. Setpoints take 10 to 30 and refuse the
rest with value-out-of-range.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

from bacpypes3.app import Application
from bacpypes3.appservice import ApplicationServiceAccessPoint
from bacpypes3.basetypes import PropertyIdentifier, Segmentation, StatusFlags
from bacpypes3.comm import bind
from bacpypes3.errors import PropertyError, UnrecognizedService
from bacpypes3.ipv4.link import NormalLinkLayer
from bacpypes3.local.analog import AnalogInputObject, AnalogOutputObject, AnalogValueObject
from bacpypes3.local.binary import BinaryInputObject, BinaryOutputObject
from bacpypes3.local.cmd import Commandable
from bacpypes3.local.device import DeviceObject
from bacpypes3.local.multistate import MultiStateValueObject
from bacpypes3.netservice import NetworkServiceAccessPoint, NetworkServiceElement
from bacpypes3.pdu import IPv4Address
from bacpypes3.primitivedata import Null

MANY = 60  # analog inputs from instance 100 on, each with its own number as its value


class InRange:
    """Refuses a present value outside 10 to 30."""

    async def write_property(self, attr: Any, value: Any, index: Any = None, priority: Any = None) -> None:
        is_value = attr in ("presentValue", PropertyIdentifier.presentValue)
        if is_value and not isinstance(value, Null) and not 10.0 <= float(value) <= 30.0:
            raise PropertyError("valueOutOfRange")
        await super().write_property(attr, value, index, priority)  # type: ignore[misc]


class ReadOnly:
    """Refuses every write of the present value, as an input in service does."""

    async def write_property(self, attr: Any, value: Any, index: Any = None, priority: Any = None) -> None:
        raise PropertyError("writeAccessDenied")


class Input(ReadOnly, AnalogInputObject):
    """Measured."""


class OverriddenInput(Input):
    """Somebody turned the switch at the device."""

    @property
    def statusFlags(self) -> Any:  # noqa: N802 - bacpypes3's name
        return StatusFlags([0, 0, 1, 0])

    @statusFlags.setter
    def statusFlags(self, value: Any) -> None:  # noqa: N802
        """It stays overridden."""


class Setpoint(InRange, AnalogOutputObject):
    """Commandable, in range."""


class CommandableValue(Commandable, AnalogValueObject):
    """An analog value with a priority array."""


class Device(Application):  # type: ignore[misc]  # bacpypes3 is not typed
    """A device with some services missing."""

    options: frozenset[str] = frozenset()

    async def do_ReadPropertyMultipleRequest(self, apdu: Any) -> None:  # noqa: N802
        if "no-rpm" in self.options:
            raise UnrecognizedService("no ReadPropertyMultiple")
        await super().do_ReadPropertyMultipleRequest(apdu)

    async def do_SubscribeCOVRequest(self, apdu: Any) -> None:  # noqa: N802
        if "no-cov" in self.options:
            raise UnrecognizedService("no SubscribeCOV")
        print("SUBSCRIBED", flush=True)
        await super().do_SubscribeCOVRequest(apdu)

    async def do_WhoIsRequest(self, apdu: Any) -> None:  # noqa: N802
        if "shy" not in self.options:
            await super().do_WhoIsRequest(apdu)


def objects() -> list[Any]:
    """All objects but the device itself."""
    celsius = {"units": "degreesCelsius", "eventState": "normal", "outOfService": False, "covIncrement": 0.1}
    flat = {**celsius, "units": "noUnits"}
    switch = {"eventState": "normal", "outOfService": False, "polarity": "normal"}
    found = [
        Input(objectIdentifier=("analogInput", 1), objectName="supply air", presentValue=18.5, **celsius),
        Input(
            objectIdentifier=("analogInput", 2),
            objectName="broken",
            presentValue=99.0,
            reliability="noSensor",
            **celsius,
        ),
        Input(
            objectIdentifier=("analogInput", 3),
            objectName="in hand",
            presentValue=21.0,
            **{**celsius, "outOfService": True},
        ),
        OverriddenInput(objectIdentifier=("analogInput", 4), objectName="overridden", presentValue=22.0, **celsius),
        Input(
            objectIdentifier=("analogInput", 5),
            objectName="fahrenheit",
            presentValue=68.0,
            **{**celsius, "units": "degreesFahrenheit"},
        ),
        Input(
            objectIdentifier=("analogInput", 6),
            objectName="power",
            presentValue=12.5,
            **{**celsius, "units": "kilowatts"},
        ),
        Setpoint(
            objectIdentifier=("analogOutput", 1),
            objectName="supply air setpoint",
            presentValue=24.0,
            relinquishDefault=24.0,
            **celsius,
        ),
        AnalogValueObject(objectIdentifier=("analogValue", 1), objectName="plain", presentValue=5.0, **flat),
        CommandableValue(
            objectIdentifier=("analogValue", 2),
            objectName="offset",
            presentValue=1.0,
            relinquishDefault=1.0,
            **flat,
        ),
        BinaryInputObject(objectIdentifier=("binaryInput", 1), objectName="running", presentValue="active", **switch),
        BinaryOutputObject(
            objectIdentifier=("binaryOutput", 1),
            objectName="enable",
            presentValue="inactive",
            relinquishDefault="inactive",
            **switch,
        ),
        MultiStateValueObject(
            objectIdentifier=("multiStateValue", 1),
            objectName="mode",
            presentValue=2,
            numberOfStates=4,
            eventState="normal",
            outOfService=False,
        ),
    ]
    found += [
        Input(objectIdentifier=("analogInput", 100 + n), objectName=f"input {n}", presentValue=float(n), **flat)
        for n in range(MANY)
    ]
    return found


async def serve(port: int, instance: int, options: frozenset[str]) -> None:
    """Answer for ever."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", port))
    listener.setblocking(False)
    address = IPv4Address(listener.getsockname())
    size = next((int(each.removeprefix("max-apdu=")) for each in options if each.startswith("max-apdu=")), 0)
    small = {"maxApduLengthAccepted": size, "segmentationSupported": Segmentation.noSegmentation} if size else {}
    me = DeviceObject(objectIdentifier=("device", instance), objectName="peer", **small)
    device = Device()
    device.options = options
    device.asap = ApplicationServiceAccessPoint(me, device.device_info_cache)
    device.nsap = NetworkServiceAccessPoint()
    device.nse = NetworkServiceElement()
    bind(device.nse, device.nsap)
    bind(device, device.asap, device.nsap)
    device.nsap.bind(NormalLinkLayer(address, bind_socket=listener), address=address)
    device.add_object(me)
    for each in objects():
        device.add_object(each)
    print("READY", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), frozenset(sys.argv[3:])))
