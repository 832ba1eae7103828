"""`eco site check`: validate a site file, then try every device; `eco site discover` asks a host what it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from apps.commands.discover import discover
from apps.commands.output import console, print_json
from apps.try_devices import WITHIN_S, Tried, try_all
from facility.site import load_site

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Work with site files.")
app.command()(discover)


@app.callback()
def site() -> None:
    """Work with site files."""


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="SITE", help="The site file.")],
    offline: Annotated[bool, typer.Option(help="Only validate the file; reach no device.")] = False,
    within_s: Annotated[float, typer.Option(min=2.0, help="The longest that one device may take.")] = WITHIN_S,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Validate SITE, then read every point of every device once, all at the same time. Nothing is written.

    Says of each device whether it is ok, or why not: timeout, refused, unreachable, credentials, certificate,
    unknown_model, wrong_device, busy, config or error. Exits with 1 where one fails.
    """
    checked = load_site(path)
    tried: list[Tried] = []
    if not offline:
        with console.status(f"asking {len(checked.device)} devices, at most {within_s:g} s"):
            tried = asyncio.run(try_all(checked.device, within_s))
    if json:
        print_json({"site": checked.site.name, "devices": [one.to_json() for one in tried]})
    else:
        _show(checked.site.name, tried)
    if not all(one.ok for one in tried):
        raise typer.Exit(1)


def _show(name: str, tried: Sequence[Tried]) -> None:
    console.print(f"{escape(name)}: the site file is valid.")
    if not tried:
        return
    table = Table("device", "protocol", "", "points", "good", "uncertain", "bad", "s", "why")
    for one in tried:
        counts = [str(count) if one.ok else "" for count in (one.points, one.good, one.uncertain, one.bad)]
        why = one.error or "; ".join(one.notes)
        table.add_row(one.device, one.protocol, one.reason or "ok", *counts, f"{one.took_s:.1f}", escape(why))
    console.print(table)
