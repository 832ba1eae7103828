"""Sockets on loopback: the wished port, or a free one where that is taken."""

from __future__ import annotations

import contextlib
import socket

from facility.errors import EcoError


def listen_tcp(preferred: int) -> socket.socket:
    """A TCP socket bound on loopback: on ``preferred``, or on a free port where that is taken."""
    return _bound(socket.SOCK_STREAM, socket.IPPROTO_TCP, preferred)


def listen_udp(preferred: int) -> socket.socket:
    """A UDP socket bound on loopback: on ``preferred``, or on a free port where that is taken."""
    return _bound(socket.SOCK_DGRAM, socket.IPPROTO_UDP, preferred)


def _bound(kind: socket.SocketKind, protocol: int, preferred: int) -> socket.socket:
    # The protocol is named because asyncio turns Nagle's delay off only on sockets that say they are TCP.
    for port in (preferred, 0):
        listener = socket.socket(socket.AF_INET, kind, protocol)
        if kind is socket.SOCK_STREAM:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            listener.setblocking(False)
            return listener
        listener.close()
    raise EcoError("no free port on the loopback interface")
