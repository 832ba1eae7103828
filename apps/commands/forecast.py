"""`eco forecast`: how good the carbon forecast is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from apps.commands.output import print_json
from twin.backtest import Score, backtest
from twin.signals import read_electricity_maps

app = typer.Typer(no_args_is_help=True, help="The carbon forecast.")


@app.callback()
def forecast() -> None:
    """The carbon forecast."""


@app.command("backtest")
def run_backtest(
    carbon: Annotated[list[Path], typer.Option(help="Electricity Maps CSV; repeat for more years.")],
    hour_utc: Annotated[int, typer.Option(min=0, max=23, help="Hour of issue, UTC.")] = 8,
    every_days: Annotated[int, typer.Option(min=1, help="Days between issues.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Issue forecasts over the past, each from what was public then, and hold them against what came."""
    scores = backtest(read_electricity_maps(carbon), hour_utc=hour_utc, every_days=every_days)
    if json:
        print_json({"rows": [asdict(score) for score in scores]})
    else:
        _show(scores)


def _show(scores: list[Score]) -> None:
    table = Table("forecaster", "zone", "issues", "MAPE, days 1-4 (%)", "truth inside the 90 % band, days 1-4 (%)")
    for score in scores:
        mape, inside = (
            " / ".join(f"{value:.1f}" for value in part) for part in (score.mape_pct, score.inside_band_pct)
        )
        table.add_row(score.forecaster, score.zone, str(score.issues), mape, inside)
    Console().print(table)
