"""Serves the API beside the loop: where it listens, and the file that says so."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

from apps.api import make_api
from apps.auth import Gate
from apps.run_config import RunConfig
from apps.service_view import ServiceView
from apps.state_dir import StateDir, write_json
from apps.tokens import Role, Tokens
from apps.web import guest_server, listen_on
from facility.errors import ConfigError
from facility.site import Site, resolve_path


@contextlib.asynccontextmanager
async def serve_api(
    service: ServiceView, state: StateDir, config: RunConfig, site: Site
) -> AsyncIterator[asyncio.Task[None]]:
    """The API of ``service`` for as long as the block lasts; yields the serving task.

    The run's own token is an administrator's for an emulated building alone: on a real site persons act by name.
    """
    settings = site.service.api
    own_role = Role.ADMIN if site.site.emulated else Role.VIEWER
    app = make_api(service, Gate(state.token("api"), own_role, Tokens(state.tokens)), settings)
    cert, key = resolve_path(settings.tls_cert), resolve_path(settings.tls_key)
    server = guest_server(app, cert, key)
    listener = _listen(config, site)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.02)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"{'https' if cert else 'http'}://{host}:{listener.getsockname()[1]}"
    write_json(state.api, {"url": url, "pid": os.getpid(), "ca": cert})
    try:
        yield serving
    finally:
        state.api.unlink(missing_ok=True)
        server.should_exit = True
        await asyncio.wait([serving])


def _listen(config: RunConfig, site: Site) -> socket.socket:
    """The configured port; beside an emulated building any other where that was taken: api.json says which."""
    host = site.service.api.host
    try:
        return listen_on(config.api_port, host)
    except ConfigError:
        if not site.site.emulated:
            raise
        return listen_on(0, host)
