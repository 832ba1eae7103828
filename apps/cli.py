"""The command line: `eco`. Wiring only: each command parses its options and calls the room that does the work."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from apps.commands import bench, calibrate, forecast, ingest, predict, record, run, site, train, up
from facility.errors import EcoError

app = typer.Typer(
    name="eco",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Eco-Orchestrator: one loop over the cluster, the GPUs and the cooling plant.",
)
app.command("up")(up.up)
app.command("run")(run.run)
app.command("calibrate")(calibrate.calibrate)
app.command("predict")(predict.predict)
app.command("ingest")(ingest.ingest)
app.command("record")(record.record)
app.command("train")(train.train)
app.add_typer(bench.app, name="bench")
app.add_typer(forecast.app, name="forecast")
app.add_typer(site.app, name="site")


@app.callback()
def root(verbose: Annotated[bool, typer.Option("--verbose", help="Show where an error came from.")] = False) -> None:
    """Every command has --json, and exits with 0 only on success."""
    root_options["verbose"] = verbose


root_options = {"verbose": False}


def main() -> None:
    """Entry point: an error that a user can act on is one line, without a traceback."""
    try:
        app()
    except EcoError as error:
        if root_options["verbose"]:
            raise
        Console(stderr=True, soft_wrap=True).print(f"[bold red]eco:[/] {escape(str(error))}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
