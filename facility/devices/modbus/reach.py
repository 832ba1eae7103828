"""Why a TCP connection cannot be had: pymodbus keeps that to itself, so that the system is asked once more."""

from __future__ import annotations

import asyncio
import socket

from facility.errors import Reason, network_reason


async def why_not(host: str, port: int) -> Reason:
    """What the system says of connecting there; takes as long as the caller lets it."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(found[0][0], socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            await loop.sock_connect(probe, found[0][4])
    except OSError as error:
        return network_reason(error)
    return Reason.ERROR
