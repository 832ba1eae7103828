"""Files as the inputs of the learned forecast, and in words how each of them is used."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray
from twin.forecasting.inputs import HOUR_S, Inputs
from twin.forecasting.kinds import Scope
from twin.forecasting.weather_ahead import WeatherAhead, has_issue_times, read_weather_ahead
from twin.signals.carbon import STAMP, read_electricity_maps
from twin.signals.grid import Rows, on_grid
from twin.signals.load import check_place
from twin.signals.openmeteo import read_open_meteo
from twin.signals.price import read_prices
from twin.signals.series import Series
from twin.signals.table import LINE, Paths, as_paths, column, numbers, read_table, read_text, stamps

SHARES = {"renewable_pct": "renewable percentage", "low_carbon_pct": "low carbon percentage"}
WINDS = ("wind_speed_10m", "windspeed_10m")
CLOUDS = ("cloud_cover", "cloudcover")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Inputs, and what is said about each."""

    inputs: Inputs
    notes: tuple[str, ...]


def load_inputs(
    carbon: Paths, price: Paths | None = None, weather: Paths | None = None, scope: Scope = Scope.DIRECT
) -> Loaded:
    """Carbon (Electricity Maps CSV) of one scope, with its shares of the mix, prices and weather where given.

    Gaps of at most 3 h are filled. Raises DataError where a file cannot be read or does not fit the others.
    """
    series = read_electricity_maps(carbon, kind=scope.value, fill_gaps=True)
    shares = _shares(carbon, series)
    notes = [f"carbon: {scope} average intensity, each hour public when it is over"]
    if shares:
        notes.append("renewable and low-carbon share: lagged, public with the carbon of their hour")
    prices = None
    if price:
        prices = read_prices(price, series.zone, fill_gaps=True)
        notes.append("day-ahead price: for the hours ahead whose price is out, from 13:00 local on the day before")
    ahead, observed = _weather(weather, series.zone)
    if ahead is not None:
        notes.append("weather forecast: the newest run issued before, for the hour itself")
    if observed:
        notes.append("weather without a time of issue: lagged only, never for an hour ahead")
    return Loaded(Inputs(series, prices, (*shares, *observed), ahead), tuple(notes))


def _weather(weather: Paths | None, zone: str) -> tuple[WeatherAhead | None, tuple[Series, ...]]:
    if not weather:
        return None, ()
    paths = as_paths(weather)
    issued = [path for path in paths if has_issue_times(path)]
    rest = [path for path in paths if path not in issued]
    return (read_weather_ahead(issued) if issued else None), (_observed(rest, zone) if rest else ())


def _observed(paths: list[Path], zone: str) -> tuple[Series, ...]:
    """Dry bulb, and wind and cloud where the files have them."""
    for path in paths:
        if not read_text(path).lstrip().startswith("{"):
            raise DataError(
                "neither Open-Meteo JSON nor a CSV with the column issued_utc",
                where=str(path),
                hint="a typical year tells nothing of a certain day; give what was observed, or forecasts as issued",
            )
    record = read_open_meteo(paths, zone=zone, fill_gaps=True)
    check_place(record, zone)
    documents = sorted((json.loads(read_text(path)) for path in paths), key=lambda one: str(one["hourly"]["time"][0]))
    found = [record.drybulb]
    for quantity, unit, names in (("wind_km_h", "km/h", WINDS), ("cloud_pct", "%", CLOUDS)):
        value = _hourly(documents, names)
        if value is not None and len(value) == len(record.drybulb.value):
            found.append(replace(record.drybulb, quantity=quantity, unit=unit, value=value))
    return tuple(found)


def _hourly(documents: list[dict[str, Any]], names: tuple[str, ...]) -> FloatArray | None:
    """A quantity under one of its names, all files together; None where any of them lacks it."""
    parts = []
    for document in documents:
        cells = next((document["hourly"][name] for name in names if name in document["hourly"]), None)
        if cells is None:
            return None
        parts.append(np.array([np.nan if cell is None else float(cell) for cell in cells], np.float64))
    return np.concatenate(parts)


def _shares(carbon: Paths, series: Series) -> tuple[Series, ...]:
    """Shares of the mix that stand beside the intensity, on its grid; none where a file lacks them."""
    tables = [(path, read_table(path)) for path in as_paths(carbon)]
    found = []
    for quantity, header in SHARES.items():
        names = [next((name for name in table.columns if name.casefold() == header), None) for _, table in tables]
        if None in names:
            continue
        rows = [
            Rows(
                path,
                stamps(table, path, column(table, path, STAMP, "the time in UTC")),
                table[LINE].to_numpy(),
                {quantity: numbers(table, path, str(name))},
            )
            for (path, table), name in zip(tables, names, strict=True)
        ]
        grid = on_grid(rows, quantity, series.zone, fill_gaps=True)
        if grid.start == series.start and grid.step_s == HOUR_S:
            found.append(
                replace(series, quantity=quantity, unit="%", value=grid.values[quantity], kind="", gaps=grid.gaps)
            )
    return tuple(found)
