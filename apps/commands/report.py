"""`eco report`: key figures of a span in the forms that standards and authorities ask for."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from apps.commands.output import console, parse_time, print_json
from apps.reports.gather import Asked, gather
from apps.reports.page import to_html
from apps.reports.recording import RecordingSource
from apps.reports.source import Source
from apps.reports.stored import about_site, open_service, open_state
from apps.reports.table import to_csv, write
from apps.run_config import resolved
from apps.state_dir import default_state_dir
from facility.errors import ConfigError
from facility.site import load_site, resolve_secret
from twin.reports.build import STANDARDS, TITLES, Report, build

STANDARD_NAMES = (*STANDARDS, "all")
TOKEN = "env:ECO_API_TOKEN"  # noqa: S105 - where it is, not what it is


def report(
    standard: Annotated[str, typer.Option(help=f"One of {', '.join(STANDARD_NAMES)}.")] = "iso30134",
    start: Annotated[
        datetime | None,
        typer.Option("--from", parser=parse_time, metavar="TIME", help="ISO, UTC without offset; else the first."),
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option("--to", parser=parse_time, metavar="TIME", help="Up to this time; else the last reading's."),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="State directory.", show_default="XDG state directory")
    ] = None,
    recording: Annotated[
        Path | None, typer.Option(metavar="DIR/FILE.parquet", help="A recording with points.csv beside it.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="A live service, e.g. http://127.0.0.1:8400.")] = None,
    token: Annotated[
        str | None, typer.Option(help="Its token: env:NAME or file:PATH.", show_default="env:ECO_API_TOKEN")
    ] = None,
    site: Annotated[Path | None, typer.Option(help="Site file with [roles] and [report].")] = None,
    carbon: Annotated[list[Path] | None, typer.Option(help="Electricity Maps CSV; repeat for more years.")] = None,
    gpu_hours: Annotated[float | None, typer.Option(min=0, help="GPU-hours delivered, for SCI.")] = None,
    jobs_done: Annotated[float | None, typer.Option(min=0, help="Jobs finished, for SCI.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="OUT", help="Write a page that needs nothing beside it.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="OUT", help="Write a table.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Key figures with category and coverage; what is missing is named, with where to get it.

    Of a live service, of a state directory, or of a recording. Of less than a year they are interim, and say so.
    """
    if standard not in STANDARD_NAMES:
        raise ConfigError(f"no standard {standard!r}", where="--standard", hint=f"one of {', '.join(STANDARD_NAMES)}")
    files = tuple(Path(path) for path in resolved(tuple(carbon or ())))
    asked = Asked(start, end, files, gpu_hours, jobs_done)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task("reading meters")
        made = _make(_opener(state, recording, url, token), site, asked, standard)
    for path, render in ((html, to_html), (csv, to_csv)):
        if path is not None:
            _write(path, render(made))
    if json:
        print_json(made.to_json())
    elif html is None and csv is None:
        _show(made)


class _Opener:
    """Which source was asked for; opened late, so that its errors come after those of the options."""

    def __init__(self, state: Path | None, recording: Path | None, url: str | None, token: str | None) -> None:
        self._given = (state, recording, url)
        self._token = token

    def open(self) -> Source:
        state, recording, url = self._given
        if recording is not None:
            return RecordingSource(recording)
        if url is not None:
            return open_service(url.rstrip("/"), resolve_secret(self._token or TOKEN))
        return open_state(state or default_state_dir())


def _opener(state: Path | None, recording: Path | None, url: str | None, token: str | None) -> _Opener:
    if sum(one is not None for one in (state, recording, url)) > 1:
        hint = "give one of them"
        raise ConfigError("--state, --recording and --url name several sources", where="eco report", hint=hint)
    return _Opener(state, recording, url, token)


def _make(opener: _Opener, site: Path | None, asked: Asked, standard: str) -> Report:
    chosen = STANDARDS if standard == "all" else tuple(one for one in STANDARDS if one == standard)
    configured = None if site is None else about_site(load_site(site))
    source = opener.open()
    try:
        said = source.about()
        about = said if configured is None else replace(configured, name=configured.name or said.name)
        return build(gather(source, about, asked), chosen)
    finally:
        source.close()


def _write(path: Path, text: str) -> None:
    try:
        write(path, text)
    except OSError as error:
        raise ConfigError(f"cannot write: {error.strerror}", where=str(path), hint="choose another place") from error
    console.print(f"wrote {path}", highlight=False, markup=False)


def _show(made: Report) -> None:
    """Figures and fields that there are as tables, the others as lines; the whole notes are in the other forms."""
    inputs, shown = made.inputs, Console()
    interim = " (interim: less than a year)" if inputs.is_interim else ""
    span = f"{inputs.start:%Y-%m-%d %H:%M} to {inputs.end:%Y-%m-%d %H:%M} UTC{interim}"
    shown.print(f"{inputs.site or 'site without a name'}, {inputs.source}\n{span}", highlight=False, markup=False)
    for name, figures in made.figures.items():
        table = Table("figure", "value", "unit", "category", "coverage", title=TITLES[name], title_justify="left")
        for one in figures:
            if one.value is not None:
                category = "" if one.category is None else str(one.category)
                table.add_row(one.name, f"{one.value:,.5g}", one.unit, category, f"{one.coverage_pct:.1f} %")
        _print(shown, table, [(one.name, one.missing) for one in figures if one.missing])
    if made.fields:
        table = Table("item", "symbol", "field", "value", "unit", title="Annexes I and II", title_justify="left")
        for row in made.fields:
            if row.value is not None:
                value = row.value if isinstance(row.value, str) else f"{row.value:,.6g}"
                table.add_row(f"{row.annex} {row.item}", row.symbol, row.name, escape(value), row.unit)
        _print(shown, table, [(one.symbol or one.name, one.missing) for one in made.fields if one.missing])


def _print(shown: Console, table: Table, missing: list[tuple[str, str]]) -> None:
    if table.row_count:
        shown.print(table)
    for name, where in missing:
        shown.print(f"  missing: {name}: {where}", highlight=False, markup=False, soft_wrap=True)
