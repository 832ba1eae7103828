"""uvicorn inside an event loop that belongs to somebody else."""

from __future__ import annotations

import contextlib
import socket
import ssl
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


def guest_server(app: FastAPI, cert: str = "", key: str = "") -> GuestServer:
    """A server for ``serve(sockets=[...])``; with PEM files it speaks TLS alone.

    Raises ConfigError where they cannot be used.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        lifespan="off",
        access_log=False,
        server_header=False,
        ssl_certfile=cert or None,
        ssl_keyfile=key or None,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        hint = "give a PEM certificate and its key, readable by this user"
        raise ConfigError(f"cannot use the certificate: {error}", where=f"{cert}, {key}", hint=hint) from error
    return GuestServer(config)


def listen_on(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A socket on ``port`` of ``host``, by default loopback; raises ConfigError where another process has it."""
    # The protocol is named because asyncio turns Nagle's delay off only on sockets that say they are TCP.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        hint = "choose another --api-port, or stop what listens there"
        raise ConfigError(f"cannot listen: {error.strerror}", where=f"{host}:{port}", hint=hint) from error
    listener.setblocking(False)
    return listener
