"""`eco forecast`: fit the carbon forecast, judge it over the past, and show it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from apps.commands.forecast_tables import show_comparison, show_forecast, show_scores
from apps.commands.many_files import ManyFiles
from apps.commands.output import console, parse_time, print_json
from facility.errors import DataError
from facility.records import Forecast
from twin.backtest import backtest
from twin.forecasting.comparison import Comparison, compare
from twin.forecasting.files import load_inputs
from twin.forecasting.inputs import HOUR_S, Inputs
from twin.forecasting.issue import Forecaster, fit
from twin.forecasting.kinds import Scope
from twin.forecasting.model_file import load_model, save_model
from twin.forecasting.rolling import REFIT_D
from twin.forecasting.table import write_issued
from twin.signals import read_electricity_maps

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The carbon forecast.")

Carbon = Annotated[list[Path], typer.Option(help="Electricity Maps CSV of one zone; several years.")]
Price = Annotated[list[Path] | None, typer.Option(help="Day-ahead prices, CSV.")]
Weather = Annotated[list[Path] | None, typer.Option(help="Open-Meteo JSON (lagged), or CSV with issued_utc (ahead).")]
Kind = Annotated[Scope, typer.Option("--kind", help="Direct or life-cycle intensity.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def forecast() -> None:
    """The carbon forecast."""


@app.command("backtest", cls=ManyFiles)
def run_backtest(
    carbon: Carbon,
    price: Price = None,
    weather: Weather = None,
    test_from: Annotated[str, typer.Option(metavar="DATE", help="Judge the learned forecast from here on.")] = "",
    test_to: Annotated[str, typer.Option(metavar="DATE", help="Until here; default: the end of the carbon.")] = "",
    kind: Kind = Scope.DIRECT,
    refit_days: Annotated[int, typer.Option(min=1, help="Days between fits.")] = REFIT_D,
    out: Annotated[Path | None, typer.Option(help="Parquet: issue_ts, target_ts, value, low, high.")] = None,
    hour_utc: Annotated[int, typer.Option(min=0, max=23, help="Without --test-from: hour of issue.")] = 8,
    every_days: Annotated[int, typer.Option(min=1, help="Without --test-from: days between issues.")] = 3,
    json: Json = False,
) -> None:
    """Issue forecasts over the past, each from what was public then, and hold them against what came.

    With --test-from the learned forecast, fitted to what was public before, stands beside persistence and the weekly
    naive; without it, the forecasts that need no training are compared.
    """
    if not test_from:
        scores = backtest(read_electricity_maps(carbon, kind=kind.value), hour_utc=hour_utc, every_days=every_days)
        print_json({"rows": [asdict(score) for score in scores]}) if json else show_scores(scores)
        return
    loaded = load_inputs(carbon, price, weather, kind)
    first = parse_time(test_from)
    last = parse_time(test_to) if test_to else loaded.inputs.carbon.end
    with console.status("reading") as status:
        comparison = compare(loaded.inputs, first, last, refit_d=refit_days, progress=status.update)
    if out is not None:
        write_issued(comparison.issued, loaded.inputs.carbon.start, out)
    if json:
        print_json(_described(loaded.inputs, comparison) | {"notes": loaded.notes})
    else:
        show_comparison(comparison, loaded.notes)


def _described(inputs: Inputs, comparison: Comparison) -> dict[str, Any]:
    return {
        "zone": inputs.carbon.zone,
        "kind": str(inputs.kind),
        "inputs": inputs.names,
        "test_from": comparison.first,
        "test_to": comparison.last,
        "issue_hours_utc": comparison.issue_hours_utc,
        "refit_days": comparison.refit_d,
        "forecasters": [asdict(score) for score in comparison.scores],
        "best_naive_mape_pct": comparison.best_naive_mape_pct,
        "better_than_best_naive_pct": comparison.better_pct,
    }


@app.command("fit", cls=ManyFiles)
def run_fit(
    carbon: Carbon,
    until: Annotated[str, typer.Option(metavar="TIME", help="Nothing that was not public then is learnt from.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")],
    price: Price = None,
    weather: Weather = None,
    kind: Kind = Scope.DIRECT,
    using: Annotated[
        list[str] | None, typer.Option("--input", help="Only these inputs, e.g. carbon; default: all in the files.")
    ] = None,
    json: Json = False,
) -> None:
    """Fit the learned forecast and write it to a model file (plain arrays: reading it runs no code)."""
    if not out.parent.is_dir():
        raise DataError(f"there is no folder {out.parent}", where=str(out), hint="create it first")
    loaded = load_inputs(carbon, price, weather, kind)
    with console.status("fitting"):
        model = fit(loaded.inputs.only(using) if using else loaded.inputs, parse_time(until))
        save_model(model, out)
    summary = {
        "out": str(out),
        "zone": model.zone,
        "kind": str(model.kind),
        "since": model.since,
        "until": model.until,
        "inputs": model.inputs,
        "notes": loaded.notes,
    }
    if json:
        print_json(summary)
    else:
        Console().print(f"wrote {out}: {model.source}", soft_wrap=True)


@app.command("show", cls=ManyFiles)
def run_show(
    model: Annotated[Path, typer.Option(help="Model file of `eco forecast fit`.")],
    carbon: Carbon,
    at: Annotated[
        str, typer.Option(metavar="TIME", help="Time of issue; default: when the newest carbon is out.")
    ] = "",
    price: Price = None,
    weather: Weather = None,
    json: Json = False,
) -> None:
    """The forecast for the next 96 hours with its 90 % band, and what it was made from."""
    fitted = load_model(model)
    loaded = load_inputs(carbon, price, weather, fitted.kind.scope)
    now = parse_time(at) if at else loaded.inputs.carbon.end
    with console.status("forecasting"):
        issued = Forecaster(fitted).issue(loaded.inputs, now)
    used = _used(loaded.inputs, now)
    if json:
        print_json(
            _hours(issued) | {"inputs": used, "notes": loaded.notes, "zone": fitted.zone, "kind": str(fitted.kind)}
        )
    else:
        show_forecast(issued, used)


def _used(inputs: Inputs, now: datetime) -> list[dict[str, Any]]:
    """Each input and the moment up to which it was known."""
    given = [inputs.carbon, *([inputs.price] if inputs.price else []), *inputs.lagged]
    used: list[dict[str, Any]] = [
        {"input": series.quantity, "known_until": series.published(now), "source": series.source} for series in given
    ]
    if inputs.ahead is not None:
        runs = inputs.ahead.known_at(now).runs
        issued = datetime.fromtimestamp(runs[-1].issued_s, UTC) if runs else None
        used.append({"input": "weather forecast", "issued_at": issued, "source": inputs.ahead.source})
    return used


def _hours(issued: Forecast) -> dict[str, Any]:
    start = [issued.start + timedelta(seconds=issued.step_s * step) for step in range(len(issued.value))]
    missing = [None] * len(issued.value)
    low = missing if issued.low is None else issued.low.tolist()
    high = missing if issued.high is None else issued.high.tolist()
    return {
        "quantity": issued.quantity,
        "unit": issued.unit,
        "issued_at": issued.issued_at,
        "step_s": HOUR_S,
        "source": issued.source,
        "hours": [
            {"from": when, "value": value, "low": below, "high": above}
            for when, value, below, above in zip(start, issued.value.tolist(), low, high, strict=True)
        ],
    }
