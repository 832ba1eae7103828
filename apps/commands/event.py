"""`eco event`: the grid or the feeder needs the site to take less for a while."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from apps.commands.output import console, parse_duration, print_json
from apps.event_record import Phase
from apps.event_report import REBOUND_S
from apps.local_api import LocalApi
from apps.state_dir import StateDir, default_state_dir
from facility.errors import EcoError

LOOK_S = 0.5
OVER = (Phase.DONE, Phase.STOPPED)
FIGURES = (
    ("response_s", "response", "s"),
    ("held_pct", "readings that held it", "%"),
    ("mean_shed_kw", "mean shed", "kW"),
    ("shed_kwh", "energy shed", "kWh"),
    ("rebound_kwh", "rebound, half an hour", "kWh"),
    ("rebound_peak_kw", "rebound, peak", "kW"),
    ("delay_s", "longest delay of a job", "s"),
)


def event(
    shed_kw: Annotated[float | None, typer.Option("--shed-kw", min=0.0, help="So much less at the main meter.")] = None,
    duration: Annotated[
        timedelta | None,
        typer.Option("--for", parser=parse_duration, metavar="DURATION", help="For so long, e.g. 30m."),
    ] = None,
    why: Annotated[str, typer.Option(help="Why; the audit keeps it.")] = "ordered at the command line",
    end: Annotated[bool, typer.Option("--end", help="End the event that is under way, in order.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is over and its rebound was measured.")] = True,
    state: Annotated[Path | None, typer.Option(help="State directory.", show_default="XDG state directory")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Shed load at once in the running service: caps, suspension of flexible jobs, a warmer supply; then back by steps.

    Without --shed-kw the last event is reported.
    """
    if (shed_kw is None) != (duration is None) or (end and shed_kw is not None):
        raise EcoError("--shed-kw and --for go together, and not with --end", where="eco event")
    with LocalApi(StateDir((state or default_state_dir()).resolve())) as api:
        if shed_kw is not None and duration is not None:
            wish = {"shed_kw": shed_kw, "for_s": duration.total_seconds(), "why": why}
            report = api.send("POST", "/v1/event", wish)
        else:
            report = api.send("DELETE", "/v1/event") if end else api.get("/v1/event")
        if wait and (shed_kw is not None or end):
            report = _until_over(api)
    if json:
        print_json(report)
    else:
        _show(report)
    if report["phase"] in OVER and not end and report["response_s"] is None:
        raise EcoError(f"the meter never fell by {report['wanted_kw']:g} kW", where="eco event", hint="ask for less")


def _until_over(api: LocalApi) -> dict[str, Any]:
    report: dict[str, Any] = api.get("/v1/event")
    start = datetime.fromisoformat(report["started_at"])
    last_s = (datetime.fromisoformat(report["until"]) - start).total_seconds() + REBOUND_S
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("event", total=last_s)
        while report["phase"] not in OVER:
            time.sleep(LOOK_S)
            report = api.get("/v1/event")
            now = datetime.fromisoformat(api.get("/v1/health")["now"])
            progress.update(bar, completed=(now - start).total_seconds(), description=f"event: {report['phase']}")
    return report


def _show(report: dict[str, Any]) -> None:
    table = Table(title=f"Event {report['name']} by {report['person']}: {report['phase']}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_row("baseline", f"{report['baseline_kw']:.1f} kW")
    table.add_row("wanted", f"{report['wanted_kw']:.1f} kW")
    for key, words, unit in FIGURES:
        value = report[key]
        table.add_row(words, "not known" if value is None else f"{value:.1f} {unit}")
    table.add_row("jobs capped / suspended", f"{report['jobs_capped']} / {report['jobs_suspended']}")
    table.add_row("jobs late because of it", ", ".join(report["jobs_late"]) or "none")
    console.print(table)
    for error in report["errors"]:
        console.print(f"[yellow]{error}[/]", highlight=False)
