"""uvicorn inside an event loop that belongs to somebody else."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from facility.errors import ConfigError


class GuestServer(uvicorn.Server):
    """Leaves signals to the process that runs the loop: it has an order of its own in which to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def guest_server(app: FastAPI) -> GuestServer:
    """A server for ``serve(sockets=[...])``."""
    return GuestServer(uvicorn.Config(app, log_level="warning", lifespan="off", access_log=False))


def listen_on(port: int) -> socket.socket:
    """A socket on ``port`` of the loopback interface; raises ConfigError where another process has it."""
    # The protocol is named because asyncio turns Nagle's delay off only on sockets that say they are TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        hint = "choose another --api-port, or stop what listens there"
        raise ConfigError(f"cannot listen: {error.strerror}", where=f"127.0.0.1:{port}", hint=hint) from error
    listener.setblocking(False)
    return listener
