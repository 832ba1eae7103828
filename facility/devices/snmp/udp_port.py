"""What can be learned of a silent agent: whether its port is closed, or whether it is there and minds the community."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum

ANSWER_S = 0.5  # an ICMP "port unreachable" comes at once where it comes at all, and a report soon
# SNMPv3 discovery (RFC 3414, 4): no user, no engine, an empty get. Whoever speaks v3 reports its engine to anybody.
DISCOVERY = bytes.fromhex(
    "303e 020103"  # SNMPMessage, version 3
    "3011 020445434f31 020300ffe3 040104 020103"  # ID, largest message, reportable without security, USM
    "0410 300e 0400 020100 020100 0400 0400 0400"  # engine, boots, time, user and keys: none
    "3014 0400 0400 a00e 020445434f31 020100 020100 3000"  # no context; GetRequest of nothing
)


class Port(Enum):
    """What a port says when it is knocked at."""

    SILENT = "silent"
    CLOSED = "closed"
    ANSWERS = "answers"


class _Listener(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Future[Port] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._say(Port.ANSWERS)

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, ConnectionRefusedError):
            self._say(Port.CLOSED)

    def _say(self, said: Port) -> None:
        if not self.heard.done():
            self.heard.set_result(said)


async def knock(host: str, port: int) -> Port:
    """Whether an agent is there: closed where the host says that nobody listens, silent also behind a firewall."""
    loop = asyncio.get_running_loop()
    try:
        transport, listener = await loop.create_datagram_endpoint(_Listener, remote_addr=(host, port))
    except OSError:
        return Port.SILENT
    try:
        transport.sendto(DISCOVERY)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                return await listener.heard
        return Port.SILENT
    finally:
        transport.close()
