"""BACnet/IP requests: one client for each event loop and local address, shared by the devices that use it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from bacpypes3.apdu import (
    ConfirmedRequestPDU,
    ErrorRejectAbortNack,
    IAmRequest,
    RejectPDU,
    UnconfirmedCOVNotificationRequest,
)
from bacpypes3.app import Application
from bacpypes3.appservice import ABORTED, ApplicationServiceAccessPoint
from bacpypes3.comm import bind
from bacpypes3.ipv4.link import NormalLinkLayer
from bacpypes3.local.device import DeviceObject
from bacpypes3.netservice import NetworkServiceAccessPoint, NetworkServiceElement
from bacpypes3.pdu import Address, IPv4Address

from facility.errors import ConfigError

RETRY_MS = 1000  # an unanswered request is sent again after this long, until its caller's deadline
RETRIES = 255
MAX_APDU = 1476  # octets of an unsegmented message over BACnet/IP (ASHRAE 135, clause 20.1.2.5)
NO_ANSWER = ("no-response", "tsm-timeout")  # aborts that our own side makes up
DEFAULT_PORT = 47808  # BAC0h
UNCONFIGURED: Final = 4194303  # the instance of a client that serves nothing; as an address: whichever device is there

Notification = Callable[[Any], None]


class RefusedError(Exception):
    """A device answered with an Error, a Reject or an Abort; ``code`` is its reason in the standard's words."""

    def __init__(self, said: ErrorRejectAbortNack) -> None:
        self.code = str(getattr(said, "errorCode", None) or said.reason)
        kind = type(said).__name__.removesuffix("PDU").partition("(")[0].lower()
        group = getattr(said, "errorClass", None)
        super().__init__(f"{kind} {self.code}" if group is None else f"{group} {self.code}")

    @property
    def is_silence(self) -> bool:
        """Whether nothing was heard at all."""
        return self.code in NO_ANSWER


class Client(Application):  # type: ignore[misc]  # bacpypes3 is not typed
    """Asks, and serves nothing: what others may ask of us is rejected."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__()
        self.listeners: dict[tuple[Address, int], Notification] = {}  # by device and subscriber process
        me = DeviceObject(
            objectIdentifier=("device", UNCONFIGURED),
            objectName="eco-orchestrator",
            maxApduLengthAccepted=MAX_APDU,
            apduTimeout=RETRY_MS,
            numberOfApduRetries=RETRIES,
        )
        address = IPv4Address(listener.getsockname())
        self.asap = ApplicationServiceAccessPoint(me, self.device_info_cache)
        self.nsap = NetworkServiceAccessPoint()
        self.nse = NetworkServiceElement()
        bind(self.nse, self.nsap)
        bind(self, self.asap, self.nsap)
        self._link = NormalLinkLayer(address, bind_socket=listener)
        self.nsap.bind(self._link, address=address)
        self.add_object(me)

    async def ready(self) -> None:
        """Wait until the socket is in the event loop's hands."""
        await self._link.server._local_transport_ready.wait()

    async def ask(self, request: ConfirmedRequestPDU) -> Any:
        """Send a request and wait for its answer, however long; raises RefusedError."""
        try:
            return await self.request(request)
        except ErrorRejectAbortNack as said:  # a BaseException of bacpypes3
            raise RefusedError(said) from None
        except asyncio.CancelledError:
            self._give_up(request)
            raise

    def _give_up(self, request: ConfirmedRequestPDU) -> None:
        """Stop sending again what nobody waits for."""
        for transaction in list(self.asap.clientTransactions):
            mine = (request.apduInvokeID, request.pduDestination)
            if (transaction.invokeID, transaction.pdu_address) == mine:
                transaction.set_state(ABORTED)

    async def indication(self, apdu: Any) -> None:
        """Let in what we asked for."""
        if isinstance(apdu, (IAmRequest, UnconfirmedCOVNotificationRequest)):
            await super().indication(apdu)
        elif isinstance(apdu, ConfirmedRequestPDU):
            await self.response(RejectPDU(reason="unrecognizedService", context=apdu))

    async def do_UnconfirmedCOVNotificationRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3's name
        """Hand a pushed value to its subscriber."""
        notify = self.listeners.get((apdu.pduSource, int(apdu.subscriberProcessIdentifier)))
        if notify is not None:
            notify(apdu)

    async def shut(self) -> None:
        """Close the socket."""
        await self.ready()
        self._link.close()


@dataclass(slots=True)
class Shared:
    """A client and the devices that use it."""

    client: Client
    users: set[int] = field(default_factory=set)


_Clients = dict[tuple[str, int], Shared]
_clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Clients] = weakref.WeakKeyDictionary()


async def join(local: tuple[str, int], user: int) -> Client:
    """The client at a local address (port 0: a free one) in the running loop; raises OSError where that is taken."""
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    if local not in clients:
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            listener.bind(local)
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        clients[local] = Shared(Client(listener))
    shared = clients[local]
    shared.users.add(user)
    await shared.client.ready()
    return shared.client


async def leave(local: tuple[str, int], user: int) -> None:
    """Stop using a client, and close it where nobody else does."""
    clients = _clients.get(asyncio.get_running_loop(), {})
    shared = clients.get(local)
    if shared is None:
        return
    shared.users.discard(user)
    if not shared.users:
        del clients[local]
        await shared.client.shut()


async def resolve(host: str, port: int) -> tuple[str, int]:
    """IPv4 address and port of a host; raises OSError where the name is unknown."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    address = found[0][4]
    return str(address[0]), int(address[1])


def local_address(wanted: str, remote: tuple[str, int]) -> tuple[str, int]:
    """Where to send from: as configured ("10.0.0.5/24:47809"), or the interface that leads to ``remote``, any port.

    Raises ConfigError for an address that cannot be read, OSError where no interface leads there.
    """
    if wanted:
        try:
            host, _, port = wanted.partition(":")
            return str(ipaddress.IPv4Interface(host).ip), int(port or DEFAULT_PORT)
        except ValueError as error:
            raise ConfigError(
                f"not an address: {wanted!r}", where="bacnet.local_address", hint="as in 10.0.0.5/24:47809"
            ) from error
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(remote)  # sends nothing: the system picks the interface
        return str(probe.getsockname()[0]), 0
