"""uvicorn inside an event loop that belongs to somebody else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI


class GuestServer(uvicorn.Server):
    """Leaves signals to the process that runs the loop: it has an order of its own in which to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def guest_server(app: FastAPI, port: int = 0) -> GuestServer:
    """A server on ``port`` of the loopback interface, or for ``serve(sockets=[...])``."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off", access_log=False)
    return GuestServer(config)
