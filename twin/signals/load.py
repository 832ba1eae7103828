"""All signals of a site at once, and the checks between them."""

from __future__ import annotations

from facility.errors import DataError
from twin.signals.carbon import Kind, read_electricity_maps
from twin.signals.epw import read_epw
from twin.signals.openmeteo import read_open_meteo
from twin.signals.price import read_prices
from twin.signals.record import WeatherRecord
from twin.signals.series import Signals
from twin.signals.table import Paths, as_paths, read_text
from twin.signals.zones import find_zone


def read_weather(paths: Paths, year: int | None = None, *, zone: str = "", fill_gaps: bool = False) -> WeatherRecord:
    """Weather from Open-Meteo JSON or EPW by content; ``year`` is what an EPW typical year is stamped as."""
    chosen = as_paths(paths)
    heads = [read_text(path).lstrip()[:8] for path in chosen]
    if all(head.startswith("{") for head in heads):
        return read_open_meteo(chosen, zone=zone, fill_gaps=fill_gaps)
    if len(chosen) == 1 and heads[0] == "LOCATION":
        return read_epw(chosen[0], year, zone=zone, fill_gaps=fill_gaps)
    wrong = next((path for path, head in zip(chosen, heads, strict=True) if not head.startswith("{")), chosen[0])
    raise DataError(
        "neither Open-Meteo JSON nor a single EPW file",
        where=str(wrong),
        hint="give JSON as downloaded from Open-Meteo, or one .epw",
    )


def check_place(record: WeatherRecord, zone: str) -> None:
    """Raise DataError where the weather is not of the carbon zone; a zone that is not listed cannot be checked."""
    listed = find_zone(zone)
    if listed is None or listed.contains(record.latitude_deg, record.longitude_deg):
        return
    raise DataError(
        f"the weather is of {record.latitude_deg:g}, {record.longitude_deg:g} and lies outside zone {listed.name}",
        where=record.drybulb.source,
        hint=f"give weather between {listed.south_deg:g} and {listed.north_deg:g} north, "
        f"{listed.west_deg:g} and {listed.east_deg:g} east, or the carbon file of the weather's zone",
    )


def load_signals(
    carbon: Paths,
    weather: Paths,
    price: Paths | None = None,
    *,
    zone: str | None = None,
    timezone: str | None = None,
    kind: Kind = "lifecycle",
    year: int | None = None,
    altitude_m: float | None = None,
    fill_gaps: bool = False,
) -> Signals:
    """Carbon, weather and price of one zone, each checked on its own and against the others.

    ``zone`` None takes the carbon file's; ``altitude_m`` None the weather's; ``year`` None stamps an EPW typical year
    as the year in which the carbon series begins. Raises DataError where any does not fit, or where they have no time
    in common.
    """
    intensity = read_electricity_maps(carbon, zone=zone, kind=kind, fill_gaps=fill_gaps)
    record = read_weather(weather, year or intensity.start.year, zone=intensity.zone, fill_gaps=fill_gaps)
    check_place(record, intensity.zone)
    prices = None if price is None else read_prices(price, intensity.zone, timezone, fill_gaps=fill_gaps)
    signals = Signals(
        intensity, record.drybulb, record.rh, prices, record.altitude_m if altitude_m is None else altitude_m
    )
    if signals.start >= signals.end:
        spans = "; ".join(
            f"{s.source}: {s.start:%Y-%m-%d} to {s.end:%Y-%m-%d}"
            for s in (intensity, record.drybulb, prices)
            if s is not None
        )
        raise DataError("the signals have no time in common", where=spans, hint="give files of the same span")
    return signals
