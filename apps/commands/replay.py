"""`eco replay`: a past window decided again, from the store or from a recording."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from apps.commands.output import console, parse_time, print_json
from apps.replay import Replayed, Tally, replay_store
from apps.replay_recording import Window, replay_recording
from apps.run_config import Sources, resolved
from facility.errors import ConfigError, EcoError
from facility.queries import BEGINNING, END
from facility.site import Site, load_site


def replay(
    recording: Annotated[Path | None, typer.Argument(help="A recording: folder or Parquet file.")] = None,
    store: Annotated[Path | None, typer.Option(help="A store, eco.duckdb, while no service runs.")] = None,
    policy: Annotated[
        str, typer.Option(help="JOBS+PLANT, or one of both; without it the one that ran, or the site's.")
    ] = "",
    start: Annotated[
        datetime | None, typer.Option("--from", parser=parse_time, metavar="TIME", help="Begin here, ISO, UTC.")
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", parser=parse_time, metavar="TIME", help="End before this, ISO, UTC.")
    ] = None,
    site: Annotated[Path | None, typer.Option(help="The site file; a store knows that of its runs.")] = None,
    run: Annotated[str | None, typer.Option(help="Of this run of the store alone.")] = None,
    carbon: Annotated[list[Path] | None, typer.Option(help="Electricity Maps CSV, for a recording.")] = None,
    weather: Annotated[list[Path] | None, typer.Option(help="Open-Meteo JSON or EPW, for a recording.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write each decision as a line of JSON to this file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Decide a past window again; with the policy that ran every decision must have the bytes that were recorded.

    Exits with 1 where one differs. With another policy it is counterfactual: predicted effects carry bands.
    """
    if (recording is None) == (store is None):
        raise ConfigError("give a recording, or --store", where="eco replay")
    if recording is not None:
        sources = Sources(carbon=resolved(tuple(carbon or ())), weather=resolved(tuple(weather or ())))
        ticks = _of_recording(recording, load_site(site), policy, Window(start, end), sources)
    else:
        assert store is not None  # noqa: S101 - one of the two is given
        ticks = replay_store(store, policy, start or BEGINNING, end or END, site, run)
    tally = _count(ticks, out)
    if json:
        print_json(tally.to_json())
    else:
        console.print_json(data=tally.to_json())
    if tally.differing:
        times = ", ".join(tally.differing[:3])
        raise EcoError(f"{len(tally.differing)} of {tally.ticks} decisions differ from the recorded ones", where=times)


def _count(ticks: Iterator[Replayed], out: Path | None) -> Tally:
    tally = Tally()
    draft = None if out is None else out.with_name(f".{out.name}.draft")
    columns = (SpinnerColumn(), TextColumn("{task.completed} decisions, {task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        file = None if draft is None else draft.open("wb")
        try:
            for tick in ticks:
                tally.add(tick)
                if file is not None:
                    file.write(tick.line() + b"\n")
                progress.update(task, advance=1, description=f"{tick.at:%Y-%m-%d %H:%M}")
        finally:
            if file is not None:
                file.close()
    if draft is not None and out is not None:
        draft.replace(out)
    return tally


def _of_recording(path: Path, site: Site, policy: str, window: Window, sources: Sources) -> Iterator[Replayed]:
    """The asynchronous replay, one decision at a time."""
    ticks = replay_recording(path, site, policy, window, sources)
    with asyncio.Runner() as runner:
        while True:
            found = runner.run(_next(ticks))
            if found is None:
                return
            yield found


async def _next(ticks: AsyncIterator[Replayed]) -> Replayed | None:
    return await anext(ticks, None)
