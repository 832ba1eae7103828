"""`eco bench`: schedulers, twin and store, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from apps.bench_store import bench_store
from apps.commands.output import console, print_json
from facility.site import load_site
from twin.bench import bench

app = typer.Typer(no_args_is_help=True, help="Measure policies, the twin's speed and the store's.")


@app.command()
def twin(
    site: Annotated[Path | None, typer.Option(help="The site file; the reference hall without one.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Halls stepped at once.")] = 1024,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to measure.")] = 3.0,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Hall steps a second on one core, and how much faster than real time that is."""
    _show(bench(load_site(site).hall, batch=batch, seconds=seconds), json)


@app.command()
def store(
    rows: Annotated[int, typer.Option(min=1000, help="Readings to write.")] = 200_000,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Readings a second that the store acknowledges, and how long a query takes meanwhile."""
    _show(bench_store(rows), json)


def _show(result: dict[str, Any], json: bool) -> None:
    if json:
        print_json(result)
        return
    table = Table("figure", "value")
    for name, value in result.items():
        table.add_row(name, f"{value:,.3g}" if isinstance(value, float) else f"{value}")
    console.print(table)
