"""Whether nobody listens on a UDP port: the one thing that a silent datagram service can be known by."""

from __future__ import annotations

import asyncio
import contextlib

ANSWER_S = 0.3  # an ICMP "port unreachable" comes at once where it comes at all


class _Listener(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.refused = asyncio.Event()

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, ConnectionRefusedError):
            self.refused.set()


async def is_refused(host: str, port: int) -> bool:
    """Whether the host says that nothing listens on the port; False also where it says nothing (a firewall)."""
    loop = asyncio.get_running_loop()
    try:
        transport, listener = await loop.create_datagram_endpoint(_Listener, remote_addr=(host, port))
    except OSError:
        return False
    try:
        transport.sendto(b"\x30\x00")  # an empty BER sequence: no agent takes it for a request
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await listener.refused.wait()
        return listener.refused.is_set()
    finally:
        transport.close()
