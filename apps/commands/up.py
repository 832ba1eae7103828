"""`eco up`: the embedded default."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from apps.commands.output import console, parse_duration, parse_time, print_json
from apps.run_config import Sources, resolved
from apps.state_dir import default_state_dir
from apps.up import Up, UpOptions
from facility.errors import EcoError


def up(
    speed: Annotated[float, typer.Option(min=0.01, max=3600, help="Simulated seconds a real second.")] = 60.0,
    duration: Annotated[
        timedelta | None,
        typer.Option(
            "--for", parser=parse_duration, metavar="DURATION", help="Simulated time after which to end, e.g. 2h."
        ),
    ] = None,
    no_ui: Annotated[bool, typer.Option("--no-ui", help="Without the page.")] = False,
    carbon: Annotated[list[Path] | None, typer.Option(help="Electricity Maps CSV; repeat for more years.")] = None,
    weather: Annotated[list[Path] | None, typer.Option(help="Open-Meteo JSON or EPW; repeat for more years.")] = None,
    price: Annotated[list[Path] | None, typer.Option(help="Day-ahead prices, CSV.")] = None,
    carbon_model: Annotated[Path | None, typer.Option(help="Carbon forecast made by `eco forecast fit`.")] = None,
    jobs: Annotated[Path | None, typer.Option(help="Job trace: PAI, Alibaba 2023 or Philly form.")] = None,
    start: Annotated[
        datetime | None,
        typer.Option(parser=parse_time, metavar="TIME", help="Simulated time at which to begin, ISO, UTC."),
    ] = None,
    site: Annotated[Path | None, typer.Option(help="A site file that says emulated = true.")] = None,
    state: Annotated[Path | None, typer.Option(help="State directory.", show_default="XDG state directory")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON at the end.")] = False,
) -> None:
    """Run a building on loopback, the control loop and the twin; Ctrl-C stops all in order.

    Without files the grid, the climate and the jobs are synthetic, and labelled so everywhere.
    """
    sources = Sources(
        carbon=resolved(tuple(carbon or ())),
        weather=resolved(tuple(weather or ())),
        price=resolved(tuple(price or ())),
        jobs="".join(resolved((jobs,) if jobs else ())),
        carbon_model="".join(resolved((carbon_model,) if carbon_model else ())),
    )
    options = UpOptions(
        state=(state or default_state_dir()).resolve(),
        site=site,
        sources=sources,
        speed=speed,
        duration=duration,
        page=not no_ui,
        start=start,
    )
    summary = Up(options, lambda text: console.print(text, highlight=False)).run()
    if summary is None and duration is not None:
        raise EcoError("the run was stopped before its end, so there is no summary", where="eco up")
    if summary is not None and json:
        print_json(summary)
    elif summary is not None:
        console.print_json(data=summary)
