"""The command line: `eco`. Wiring only: each command parses its options and calls the room that does the work.

A command's module, and the libraries behind it, are imported when it is called: `eco site check` must not wait for
those of `eco bench`.
"""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from facility.errors import EcoError

COMMANDS = {
    "up": "up",
    "run": "run",
    "replay": "replay",
    "site": "app",
    "ingest": "ingest",
    "record": "record",
    "calibrate": "calibrate",
    "predict": "predict",
    "forecast": "app",
    "train": "train",
    "bench": "app",
    "whatif": "whatif",
    "report": "report",
    "agent": "agent",
    "controller": "controller",
    "job": "app",
    "event": "event",
    "token": "app",
}
"""What each command is called in its module, ``apps.commands.NAME``."""


class Commands(TyperGroup):
    """The commands, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One command; None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        found = getattr(importlib.import_module(f"apps.commands.{cmd_name}"), COMMANDS[cmd_name])
        if not isinstance(found, typer.Typer):
            function, found = found, typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
            found.command(cmd_name)(function)
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="eco",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Eco-Orchestrator: one loop over the cluster, the GPUs and the cooling plant.",
)


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
