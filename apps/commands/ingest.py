"""`eco ingest`: files into the store."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from apps.commands.output import console, parse_time, print_json
from apps.ingest_signals import signal_formats
from apps.state_dir import StateDir, default_state_dir, read_json
from facility.errors import ConfigError, StoreLocked
from facility.ingest import Account, Format, Intake, MappedTables, Recordings, Result, SdrDumps, load_mapping
from facility.store import Store

SHOWN = 20  # lines of a table on a terminal


def ingest(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="Files, folders and tar archives.")],
    store: Annotated[Path | None, typer.Option(help="The DuckDB file; the state directory's without one.")] = None,
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="State directory whose store it is.")] = None,
    mapping: Annotated[Path | None, typer.Option(metavar="M.toml", help="What the columns of CSV files mean.")] = None,
    at: Annotated[
        datetime | None,
        typer.Option(parser=parse_time, metavar="TIME", help="Time of dumps that carry none; ISO, UTC without offset."),
    ] = None,
    zone: Annotated[str | None, typer.Option(help="Zone of prices; files of another zone are refused.")] = None,
    year: Annotated[
        int | None, typer.Option(min=1970, max=2200, help="Year that a typical year is stamped as.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also files that were taken in before.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Recordings, `ipmitool sdr` dumps, CSV with a mapping, carbon, prices, weather and job traces into the store.

    A file is kept whole or not at all. Exits with 1 where one failed; the others are kept.
    """
    if store is not None and state is not None:
        raise ConfigError("--store and --state name two stores", where="eco ingest", hint="give one of them")
    formats = _formats(mapping, at, zone, year)
    opened = _open(store, StateDir(state or default_state_dir()))
    try:
        result = _run(opened, formats, files, again=again)
    finally:
        opened.close()
    if json:
        print_json(summary(result))
    else:
        _show(result)
    if result.failed:
        raise typer.Exit(1)


def _formats(mapping: Path | None, at: datetime | None, zone: str | None, year: int | None) -> list[Format]:
    mapped = [] if mapping is None else [MappedTables(load_mapping(mapping))]
    return [Recordings(), *mapped, SdrDumps(at), *signal_formats(zone, year)]


def _open(path: Path | None, state: StateDir) -> Store:
    """The store; where a service owns it, the error says how to reach it."""
    try:
        return Store.open(path if path is not None else state.create().database)
    except StoreLocked as error:
        address = read_json(state.api) if path is None else None
        if not isinstance(address, dict):
            raise
        hint = (
            f"stop the service, ingest into another --store, or POST readings as an Arrow stream to "
            f"{address['url']}/v1/readings with the token in {state.root / 'api.token'}"
        )
        raise StoreLocked(error.what, where=error.where, hint=hint) from error


def _run(store: Store, formats: list[Format], files: list[Path], *, again: bool) -> Result:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("reading")
        return Intake(store, formats, again=again, done=lambda name: progress.update(bar, description=name)).take(files)


def summary(result: Result) -> dict[str, Any]:
    """The result as JSON data: totals first, then every file."""
    counts: Counter[str] = Counter()
    for account in result.ingested:
        counts.update(account.counts)
    return {
        "files": len(result.ingested),
        "readings": sum(account.readings for account in result.ingested),
        "readings_by_quality": {
            name: sum(getattr(account, name) for account in result.ingested) for name in ("good", "bad", "uncertain")
        },
        "points": len(result.points),
        "other_rows": sum(account.other_rows for account in result.ingested),
        "counts": dict(counts),
        "time_from": dict(Counter(account.time_from for account in result.ingested)),
        "failed": [{"file": name, "error": str(error)} for name, error in result.failed],
        "skipped": result.skipped,
        "ingested": [
            asdict(account)
            | {"first": account.first and account.first.isoformat(), "last": account.last and account.last.isoformat()}
            for account in result.ingested
        ],
    }


def _show(result: Result) -> None:
    """The files as lines on standard error, the totals as a table on standard output."""
    for account in result.ingested[:SHOWN]:
        console.print(f"{account.file}: {_words(account)}", highlight=False, markup=False)
    if len(result.ingested) > SHOWN:
        console.print(f"and {len(result.ingested) - SHOWN} more; --json lists them all")
    for _, error in result.failed:
        console.print(f"failed: {error}", highlight=False, markup=False)
    if result.skipped:
        console.print(f"{len(result.skipped)} files were taken in before; --again takes them in once more")
    data = summary(result)
    table = Table("figure", "value")
    figures = {name: data[name] for name in ("files", "readings")} | data["readings_by_quality"]
    figures |= {"points": data["points"], **data["counts"], "failed": len(result.failed)}
    for name, value in figures.items():
        table.add_row(name, f"{value:,}")
    Console().print(table)


def _words(account: Account) -> str:
    """One file in a line: what it is, what it held, and where its times are from."""
    held = f"{account.readings:,} readings" if account.readings or not account.other_rows else ""
    other = f"{account.other_rows:,} rows" if account.other_rows else ""
    spoilt = [f"{number:,} {name}" for name in ("bad", "uncertain") if (number := getattr(account, name))]
    counts = [f"{number:,} {what}" for what, number in account.counts.items()]
    parts = [account.kind, held, other, *spoilt, *counts, f"times from: {account.time_from}", *account.notes]
    return ", ".join(part for part in parts if part)
