"""`eco whatif`: one question of the catalogue, or any change of parameters, asked of the twin of a site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from apps.commands.output import console, parse_time, print_json
from apps.run_config import Sources, resolved
from apps.world import reference_site, signals_of
from facility.errors import ConfigError, DataError
from facility.site import Site, load_site
from twin.model_file import load_model
from twin.scenarios import (
    FREE,
    Answer,
    Band,
    Case,
    Catalogue,
    Ensemble,
    Loss,
    Question,
    Setup,
    World,
    ask,
    load_catalogue,
    parse_settings,
    posterior_ensemble,
    spread_ensemble,
)
from twin.scenarios.ensemble import SEED, SIZE, SPREAD
from twin.signals import synthetic_signals
from twin.signals.openmeteo import read_sky
from twin.signals.table import read_text
from twin.solar import Irradiance

SYNTHETIC_START = parse_time("2024-07-15")
_ALWAYS = ("it_kwh", "pue", "effective_ci_g_kwh", "carbon_kg", "facility_kwh", "cost_usd", "water_l", "peak_kw")
_HISTORY_H = 72


def whatif(
    question: Annotated[str, typer.Option(metavar="ID", help="One of --list; without it only --set counts.")] = FREE,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change the scenario; repeat.")
    ] = None,
    shared: Annotated[
        list[str] | None, typer.Option("--base", metavar="NAME=VALUE", help="Set in baseline and scenario; repeat.")
    ] = None,
    site: Annotated[Path | None, typer.Option(help="The site file; the 1 MW site without one.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model of `eco calibrate`: its hall takes the place of the site's.")
    ] = None,
    carbon: Annotated[list[Path] | None, typer.Option(help="Electricity Maps CSV; repeat for more years.")] = None,
    weather: Annotated[list[Path] | None, typer.Option(help="Open-Meteo JSON or EPW; repeat for more years.")] = None,
    price: Annotated[list[Path] | None, typer.Option(help="Day-ahead prices, CSV.")] = None,
    to_carbon: Annotated[list[Path] | None, typer.Option(help="The same of the other region.")] = None,
    to_weather: Annotated[list[Path] | None, typer.Option(help="The same of the other region.")] = None,
    to_price: Annotated[list[Path] | None, typer.Option(help="The same of the other region.")] = None,
    start: Annotated[
        datetime | None, typer.Option(parser=parse_time, metavar="DATE", help="First day, ISO, UTC.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="Days of weather and signals.")] = 7,
    draws: Annotated[int, typer.Option(min=1, max=512, help="Halls in the band.")] = SIZE,
    spread: Annotated[float, typer.Option(min=0.0, max=0.3, help="How well the hall's figures are known.")] = SPREAD,
    series: Annotated[Path | None, typer.Option(metavar="OUT.parquet", help="Keep both cases hour by hour.")] = None,
    list_them: Annotated[bool, typer.Option("--list", help="Show the catalogue and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Baseline against scenario over the same hours: energy, PUE, carbon, cost, water, limits, each with its band."""
    catalogue = load_catalogue()
    if list_them:
        _show_catalogue(catalogue, json)
        return
    asked, changed, both = catalogue.of(question), parse_settings(settings or []), parse_settings(shared or [])
    asked.cases(changed, both)  # refuses what cannot be before anything is read
    here, there = _sources(carbon, weather, price), _sources(to_carbon, to_weather, to_price)
    chosen = load_site(site) if site else reference_site()
    begin = start or SYNTHETIC_START
    if start is None and (carbon or weather or price):
        raise ConfigError("recorded signals need a first day", where="--start", hint="give --start, e.g. 2022-07-11")
    ensemble = _calibrated(model, draws) if model else spread_ensemble(chosen.hall, draws, spread, SEED)
    chosen = chosen.model_copy(update={"hall": ensemble.halls[0]})
    setup = Setup(
        site=chosen,
        ensemble=ensemble,
        here=_world(here, chosen, begin),
        there=_other(here, there, chosen, begin, days),
        start=begin,
        days=days,
    )
    answer = _ask(setup, asked, changed, both)
    if series is not None:
        draft = series.with_name(f".{series.name}.draft")
        answer.series.write_parquet(draft, compression="zstd")
        draft.replace(series)
    if json:
        print_json(_plain(answer))
    else:
        _show(answer)


def _ask(setup: Setup, asked: Question, changed: dict[str, Any], shared: dict[str, Any]) -> Answer:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("simulating", total=1.0)
        return ask(setup, asked, changed, shared, lambda share: progress.update(bar, completed=share))


def _calibrated(path: Path, draws: int) -> Ensemble:
    """The posterior of a model file; raises DataError where the recording told nothing of a hall."""
    model, card = load_model(path)
    if model.hall is None:
        why = card.get("hall", {}).get("without", "")
        raise DataError(f"the model has no calibrated hall: {why}", where=str(path), hint="leave --model away")
    window = card["window"]
    span = f"{window['start'][:10]} to {window['end'][:10]}"
    return posterior_ensemble(model.hall, date.fromisoformat(window["end"][:10]), span, draws, SEED)


def _sources(carbon: list[Path] | None, weather: list[Path] | None, price: list[Path] | None) -> Sources:
    kinds = (tuple(kind or ()) for kind in (carbon, weather, price))
    return Sources(**dict(zip(("carbon", "weather", "price"), map(resolved, kinds), strict=True)))


def _world(sources: Sources, site: Site, start: datetime) -> World:
    """Signals of files, the rest synthetic, and the sun that the weather's files know of."""
    return World(signals_of(sources, site, start, year=start.year), site.site, _irradiance(sources))


def _other(here: Sources, sources: Sources, site: Site, start: datetime, days: int) -> Callable[[str], World]:
    """The world of another zone: its files, or a synthetic grid and climate beside another synthetic one."""

    def world(zone: str) -> World:
        moved = site.model_copy(update={"site": site.site.model_copy(update={"zone": zone, "altitude_m": 0.0})})
        if sources.carbon or sources.weather or sources.price:
            return _world(sources, moved, start)
        if here.carbon or here.weather or here.price:
            raise ConfigError(
                f"no signals of {zone}",
                where="--to-carbon, --to-weather",
                hint="recorded signals are not compared with made-up ones: give the files of the other region",
            )
        begin = start.replace(hour=0, minute=0, second=0, microsecond=0)
        return World(synthetic_signals(zone, begin, days + 2, SEED), site.site)

    return world


def _irradiance(sources: Sources) -> Irradiance | None:
    paths = [Path(path) for path in sources.weather]
    if not paths or not all(read_text(path).lstrip().startswith("{") for path in paths):
        return None
    sky = read_sky(paths)
    return None if sky is None else Irradiance(sky)


def _plain(answer: Answer) -> dict[str, Any]:
    """Without the hourly series, which has its own file."""
    plain = {
        name: getattr(answer, name)
        for name in ("hall", "uncertainty", "calibrated", "start", "days", "step_s", "signals", "is_synthetic")
    }
    outcomes = {
        name: {**asdict(one), "case": one.case.model_dump()}
        for name, one in (("baseline", answer.baseline), ("scenario", answer.scenario))
    }
    return {
        "question": {"id": answer.question.id, "text": answer.question.text, "look_at": answer.question.look_at},
        **plain,
        **outcomes,
        "delta": {name: None if band is None else asdict(band) for name, band in answer.delta.items()},
        "loss": None if answer.loss is None else asdict(answer.loss),
    }


def _show_catalogue(catalogue: Catalogue, json: bool) -> None:
    if json:
        print_json(
            {
                "questions": [one.model_dump() for one in catalogue.question],
                "parameters": Case.model_json_schema()["properties"],
            }
        )
        return
    table = Table("question", "text", "changes")
    for one in catalogue.question:
        table.add_row(one.id, one.text, "\n".join(f"{change.name}={change.value}" for change in one.change))
    Console().print(table)


def _show(answer: Answer) -> None:
    """The figures that the question is about, then the others that moved; limits and doubts in words."""
    shown, question = Console(soft_wrap=True), answer.question
    shown.print(f"[bold]{question.text}[/] {question.note}".rstrip())
    columns = ("baseline", "scenario", "difference", "90 % of the draws")
    table = Table(*(Column(name, no_wrap=True) for name in ("figure", *columns)))
    moved = [name for name, band in answer.delta.items() if band is not None and abs(band.mean) > 1e-9]
    for name in dict.fromkeys((*_ALWAYS, *question.look_at, *moved)):
        before, after, delta = (
            part.get(name) for part in (answer.baseline.account, answer.scenario.account, answer.delta)
        )
        band = "-" if delta is None else f"{_signed(delta.lo90)} to {_signed(delta.hi90)}"
        table.add_row(name, _mean(before), _mean(after), "-" if delta is None else _signed(delta.mean), band)
    shown.print(table)
    for name, one in (("baseline", answer.baseline), ("scenario", answer.scenario)):
        shown.print(f"{name}: {one.binding}", highlight=False)
        for note in one.notes:
            shown.print(f"  {note}", highlight=False)
    if answer.loss is not None:
        _show_loss(shown, answer.loss)
    calibrated = f"calibrated {answer.calibrated}" if answer.calibrated else "not calibrated"
    kind = "synthetic signals" if answer.is_synthetic else "signals"
    shown.print(f"hall {answer.hall}, {calibrated}: {answer.uncertainty}", highlight=False)
    shown.print(
        f"{answer.days} days from {answer.start:%Y-%m-%d %H:%M} UTC; {kind}: {'; '.join(answer.signals)}",
        highlight=False,
    )


def _show_loss(shown: Console, loss: Loss) -> None:
    for one in loss.reach:
        reached = f"after {one.minutes.mean:.1f} min" if one.minutes is not None else "not within two hours"
        shown.print(f"{one.inlet_c:g} C: {reached} ({one.reached_pct:.0f} % of the draws)", highlight=False)
    rise = f"rise in 15 min {loss.rise_15_min_k.mean:.1f} K, in an hour {loss.rise_60_min_k.mean:.1f} K"
    shown.print(f"{rise}; rate breached in {loss.rate_breached_pct:.0f} % of the draws", highlight=False)
    shown.print(f"  {loss.note}", highlight=False)


def _mean(band: Band | None) -> str:
    return "-" if band is None else f"{band.mean:,.5g}" if abs(band.mean) < 1e5 else f"{band.mean:,.0f}"


def _signed(value: float) -> str:
    return "0" if abs(value) < 1e-9 else f"{value:+,.3g}" if abs(value) < 1000 else f"{value:+,.0f}"
