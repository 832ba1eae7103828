"""`eco predict`: forecasts of a calibrated building over a recording, each from what was known when it was issued."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from apps.commands.calibrate import parse_horizons
from apps.commands.output import console, parse_time, print_json
from facility.errors import DataError
from twin.drift_alarm import DriftAlarm, find_drift
from twin.model_file import load_model
from twin.prediction import Forecasts
from twin.prediction import predict as forecast
from twin.telemetry.reading import MINUTE_US, read_telemetry

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STAMP = pl.Datetime("us", "UTC")
_KNOWN = ("it", "setpoints")


def predict(
    model: Annotated[Path, typer.Option(help="Model file of `eco calibrate`.")],
    telemetry: Annotated[Path, typer.Option(help="Recording: Parquet with ts, point, value, quality.")],
    points: Annotated[Path, typer.Option(help="points.csv of the recording.")],
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help="First time of issue.")],
    out: Annotated[Path, typer.Option(help="Parquet: issue_ts, target_ts, point, mean, lo90, hi90.")],
    horizons: Annotated[str, typer.Option(help="Minutes ahead, separated by commas.")] = "5,15,30,60",
    known: Annotated[str, typer.Option(help="What is known up to the target: it, setpoints, or none.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON.")] = False,
) -> None:
    """Forecast facility power, PUE and the hottest rack inlet each five minutes, with 90 % bands."""
    from_us = (parse_time(begin) - _EPOCH) // timedelta(microseconds=1)
    ahead = parse_known(known)
    if not out.parent.is_dir():
        raise DataError(f"there is no folder {out.parent}", where=str(out), hint="create it first")
    with console.status("forecasting"):
        building, _ = load_model(model)
        recording = read_telemetry(telemetry, points)
        forecasts = list(forecast(building, recording, from_us, parse_horizons(horizons), ahead))
        write_forecasts(forecasts, out)
        drifts = find_drift(building, recording, from_us)
    summary = [_summary(part) for part in forecasts]
    if json:
        print_json({"out": str(out), "forecasts": summary, "drift": [asdict(drift) for drift in drifts]})
    else:
        _show(summary, drifts, out)


def parse_known(text: str) -> frozenset[str]:
    """``it,setpoints``; raises typer.BadParameter for anything else."""
    names = frozenset(part.strip() for part in text.split(",")) - {"", "none"}
    if not names <= set(_KNOWN):
        raise typer.BadParameter(
            f"{', '.join(sorted(names - set(_KNOWN)))} cannot be known; choose of {', '.join(_KNOWN)}"
        )
    return names


def write_forecasts(forecasts: Iterable[Forecasts], path: Path) -> None:
    """One row for each issue, point and horizon; a forecast that could not be made has no row."""
    parts = [
        pl.DataFrame(
            {
                "issue_ts": part.issue_us,
                "target_ts": part.issue_us + part.horizon_min * MINUTE_US,
                "point": [part.point] * len(part.mean),
                "mean": part.mean,
                "lo90": part.low,
                "hi90": part.high,
            }
        ).filter(pl.col("mean").is_finite())
        for part in forecasts
    ]
    pl.concat(parts).with_columns(pl.col("issue_ts", "target_ts").cast(_STAMP)).write_parquet(path)


def _summary(part: Forecasts) -> dict[str, Any]:
    """Against the measurement, which has its own noise: a quick look, not a score."""
    both = np.isfinite(part.mean) & np.isfinite(part.measured)
    error = (part.mean - part.measured)[both]
    inside = ((part.measured >= part.low) & (part.measured <= part.high))[both]
    return {
        "point": part.point,
        "horizon_min": part.horizon_min,
        "forecasts": int(np.isfinite(part.mean).sum()),
        "missing": int((~np.isfinite(part.mean)).sum()),
        "mae": float(np.abs(error).mean()) if both.any() else None,
        "inside_band": float(inside.mean()) if both.any() else None,
    }


def _show(summary: list[dict[str, Any]], drifts: Sequence[DriftAlarm], out: Path) -> None:
    table = Table("point", "minutes ahead", "forecasts", "missing", "MAE to measured", "measured inside band")
    for row in summary:
        mae = "" if row["mae"] is None else f"{row['mae']:.3g}"
        inside = "" if row["inside_band"] is None else f"{row['inside_band']:.1%}"
        table.add_row(row["point"], str(row["horizon_min"]), str(row["forecasts"]), str(row["missing"]), mae, inside)
    Console().print(table)
    for drift in drifts:
        Console().print(f"drift: {drift.words}", soft_wrap=True)
    Console().print(f"wrote {out}", soft_wrap=True)
