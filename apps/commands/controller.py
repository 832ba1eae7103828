"""`eco controller`: holds, places, pauses and caps labelled jobs of a Kubernetes cluster; a dry run by default."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import uuid
from pathlib import Path
from typing import Annotated

import typer

from apps.commands.output import print_json
from apps.controller_config import load_config
from apps.controller_process import LEASE_S, Options, Process
from apps.state_dir import default_state_dir
from facility.clock import WallClock
from facility.errors import ConfigError
from facility.records import Mode
from scheduler.cluster.api import Kube, connect


def controller(
    config: Annotated[Path | None, typer.Option(help="controller.toml; see docs/cluster.md.")] = None,
    mode: Annotated[
        Mode, typer.Option(envvar="ECO_CONTROLLER_MODE", help="Jobs are touched in 'active' alone.")
    ] = Mode.SHADOW,
    kubeconfig: Annotated[
        str, typer.Option(envvar="KUBECONFIG", help="File with the way to the API server.", show_default="in cluster")
    ] = "",
    namespace: Annotated[
        str, typer.Option(envvar="POD_NAMESPACE", help="Of the Lease and the profiles.", show_default="as configured")
    ] = "",
    receipts: Annotated[Path | None, typer.Option(help="Folder below which jobs may name a receipt file.")] = None,
    state: Annotated[Path | None, typer.Option(help="State directory.", show_default="XDG state directory")] = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Serve health, metrics and the webhook.")] = "",
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate of the webhook.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key.")] = None,
    lease_s: Annotated[float, typer.Option(min=1.0, max=300.0, help="Duration of the Lease.")] = LEASE_S,
    passes: Annotated[int | None, typer.Option(min=1, help="End after so many looks at the cluster.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Health and metrics as JSON, at the end.")] = False,
) -> None:
    """Plan labelled jobs by the carbon forecast, and give each its receipt."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if (tls_cert is None) != (tls_key is None):
        raise ConfigError("certificate and key go together", where="--tls-cert, --tls-key", hint="give both or none")
    found = load_config(config)
    if namespace:
        found = found.model_copy(update={"cluster": found.cluster.model_copy(update={"namespace": namespace})})
    options = Options(
        identity=f"{os.environ.get('POD_NAME') or socket.gethostname()}-{uuid.uuid4().hex[:8]}",
        mode=mode,
        state=(state or default_state_dir()) / "controller",
        receipts=receipts,
        listen=_address(listen) if listen else None,
        tls=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
        lease_s=lease_s,
        passes=passes,
    )
    kube = Kube(connect(kubeconfig))

    async def serve() -> int:
        process = Process(kube, found, options, WallClock())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, process.stop)
        code = await process.run()
        if as_json:
            print_json({"health": process.health(), "metrics": process.metrics()})
        return code

    raise typer.Exit(asyncio.run(serve()))


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{text!r} is no address", where="--listen", hint="write for example 0.0.0.0:8443")
    return host, int(port)
