"""`eco run`: the control-loop service against real devices, in shadow."""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from apps.run_config import RunConfig, Sources, resolved
from apps.service import serve
from apps.state_dir import StateDir, default_state_dir, only_one
from facility.errors import ConfigError
from facility.records import Mode
from facility.site import load_site


def run(
    site: Annotated[Path, typer.Option(help="The site file.")],
    carbon: Annotated[list[Path] | None, typer.Option(help="Electricity Maps CSV; repeat for more years.")] = None,
    weather: Annotated[list[Path] | None, typer.Option(help="Open-Meteo JSON or EPW; repeat for more years.")] = None,
    price: Annotated[list[Path] | None, typer.Option(help="Day-ahead prices, CSV.")] = None,
    carbon_model: Annotated[Path | None, typer.Option(help="Carbon forecast made by `eco forecast fit`.")] = None,
    api_port: Annotated[
        int, typer.Option(min=1024, max=65535, help="Port of the API on the loopback interface.")
    ] = 8400,
    state: Annotated[Path | None, typer.Option(help="State directory.", show_default="XDG state directory")] = None,
) -> None:
    """Read the site's devices, decide at every tick, and log what would be done: shadow mode, nothing is written."""
    if load_site(site).site.emulated:
        raise ConfigError("this site is emulated", where=str(site), hint="use `eco up --site ...`")
    sources = Sources(
        carbon=resolved(tuple(carbon or ())),
        weather=resolved(tuple(weather or ())),
        price=resolved(tuple(price or ())),
        carbon_model="".join(resolved((carbon_model,) if carbon_model else ())),
    )
    directory = StateDir((state or default_state_dir()).resolve()).create()
    config = RunConfig(
        run=uuid.uuid4().hex[:12],
        site=str(site.resolve()),
        sources=sources,
        mode=Mode.SHADOW,
        start=datetime.now(UTC),
        api_port=api_port,
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with only_one(directory):
        config.save(directory)
        code = asyncio.run(serve(directory))
    raise typer.Exit(code)
