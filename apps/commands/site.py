"""`eco site check`: validate a site file, then try every device; `eco site discover` asks a host what it is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from apps.commands.discover import discover
from apps.commands.output import console, print_json
from facility.clock import WallClock
from facility.devices import open_device
from facility.errors import EcoError
from facility.records import Quality
from facility.site import Device, load_site

app = typer.Typer(no_args_is_help=True, help="Work with site files.")
app.command()(discover)


@app.callback()
def site() -> None:
    """Work with site files."""


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="SITE", help="The site file.")],
    offline: Annotated[bool, typer.Option(help="Only validate the file; reach no device.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Validate SITE, then read every point of every device once. Nothing is written. Exits with 1 where one fails."""
    checked = load_site(path)
    rows = [] if offline else asyncio.run(_try_all(checked.device))
    if json:
        print_json({"site": checked.site.name, "devices": rows})
    else:
        _show(checked.site.name, rows)
    if any(row["error"] for row in rows):
        raise typer.Exit(1)


async def _try_all(devices: tuple[Device, ...]) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*(_try(device) for device in devices)))


async def _try(settings: Device) -> dict[str, Any]:
    row: dict[str, Any] = {"device": settings.name, "protocol": settings.protocol, "points": 0, "good": 0, "error": ""}
    try:
        device = open_device(settings, WallClock())
        try:
            async with asyncio.timeout(settings.deadline_s):
                readings = await device.read()
        finally:
            await device.close()
    except TimeoutError:
        row["error"] = f"no answer from {settings.host}:{settings.port} within {settings.deadline_s:g} s"
    except EcoError as error:
        row["error"] = str(error)
    else:
        good = sum(reading.quality is Quality.GOOD for reading in readings)
        row.update(points=len(readings), good=good)
    return row


def _show(name: str, rows: list[dict[str, Any]]) -> None:
    console.print(f"{name}: the site file is valid.")
    if not rows:
        return
    table = Table("device", "protocol", "points", "good", "error")
    for row in rows:
        table.add_row(row["device"], row["protocol"], str(row["points"]), str(row["good"]), row["error"])
    console.print(table)
