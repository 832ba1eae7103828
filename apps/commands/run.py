"""`eco run`: the control-loop service against real devices; in shadow, unless a named person says otherwise."""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from apps.commands.output import parse_duration
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
    mode: Annotated[
        Mode, typer.Option(help="What the loop may do; advisory and active need [service] allow_active.")
    ] = (Mode.SHADOW),
    person: Annotated[str, typer.Option(help="Who starts it: active needs a name, and the audit keeps it.")] = "",
    active_for: Annotated[
        timedelta | None,
        typer.Option(parser=parse_duration, metavar="DURATION", help="Active falls back to shadow after so long."),
    ] = None,
    state: Annotated[Path | None, typer.Option(help="State directory.", show_default="XDG state directory")] = None,
) -> None:
    """Read the site's devices and decide at every tick. In shadow nothing is written: it logs what it would do."""
    if load_site(site).site.emulated:
        raise ConfigError("this site is emulated", where=str(site), hint="use `eco up --site ...`")
    sources = Sources(
        carbon=resolved(tuple(carbon or ())),
        weather=resolved(tuple(weather or ())),
        price=resolved(tuple(price or ())),
        carbon_model="".join(resolved((carbon_model,) if carbon_model else ())),
    )
    directory = StateDir((state or default_state_dir()).resolve()).create()
    start = datetime.now(UTC)
    config = RunConfig(
        run=uuid.uuid4().hex[:12],
        site=str(site.resolve()),
        sources=sources,
        mode=mode,
        person=person,
        active_until=None if active_for is None else start + active_for,
        start=start,
        api_port=api_port,
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with only_one(directory):
        config.save(directory)
        code = asyncio.run(serve(directory))
    raise typer.Exit(code)
