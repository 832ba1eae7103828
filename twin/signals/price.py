"""Day-ahead prices: CSV with a UTC stamp and USD/MWh; negative prices are real."""

from __future__ import annotations

import re
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from facility.errors import DataError
from twin.signals.grid import Rows, on_grid
from twin.signals.series import PRICE, Series
from twin.signals.table import LINE, Paths, as_paths, column, numbers, read_table, stamps
from twin.signals.zones import ZONES, canonical_zone, find_zone

STAMP = ("utc", "Datetime (UTC)", "time_utc", "timestamp_utc")
VALUE = ("price_usd_mwh", "Price (USD/MWh)")
MAX_USD_MWH = 20_000.0  # above every harmonised price cap
LEAST_LEAD_S = 11 * 3600.0  # from 13:00 to the midnight at which the day begins


def read_prices(paths: Paths, zone: str, timezone: str | None = None, *, fill_gaps: bool = False) -> Series:
    """Day-ahead prices of ``zone``; local day D (in ``timezone``, else the zone's own) is public at 13:00 local on
    D-1.

    The files carry no zone, so one that names another known zone in its file name is refused with DataError.
    """
    clock = _timezone(zone, timezone)
    files = [_rows(path, zone) for path in as_paths(paths)]
    grid = on_grid(files, PRICE, zone, fill_gaps=fill_gaps)
    return Series(
        quantity=PRICE,
        unit="USD/MWh",
        zone=canonical_zone(zone),
        start=grid.start,
        step_s=grid.step_s,
        value=grid.values[PRICE],
        known_lag_s=-LEAST_LEAD_S,
        source=", ".join(rows.path.name for rows in files),
        day_ahead_tz=clock,
        gaps=grid.gaps,
    )


def _timezone(zone: str, timezone: str | None) -> str:
    listed = find_zone(zone)
    clock = timezone or (listed.timezone if listed is not None else None)
    if clock is None:
        raise DataError(
            f"the market clock of zone {zone!r} is not known",
            where="prices",
            hint="give its time zone, such as Europe/Berlin",
        )
    try:
        ZoneInfo(clock)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise DataError(f"{clock!r} is not a time zone", where="prices", hint="write it as Europe/Berlin") from error
    return clock


def _rows(path: Path, zone: str) -> Rows:
    _require_name(path, zone)
    table = read_table(path)
    stamp = column(table, path, STAMP, "the time in UTC")
    value = numbers(table, path, column(table, path, VALUE, "the price in USD/MWh"))
    wrong = np.flatnonzero(np.abs(value) > MAX_USD_MWH)
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{value[row]:g} USD/MWh cannot be",
            where=f"{path}, line {table[LINE][row]}",
            hint=f"expected at most {MAX_USD_MWH:g}",
        )
    return Rows(path, stamps(table, path, stamp), table[LINE].to_numpy(), {PRICE: value})


def _require_name(path: Path, zone: str) -> None:
    """Refuse a file whose name says another zone."""
    words = {word.casefold() for word in re.split(r"[_.\s]+", path.name)}
    named = {entry.name for entry in ZONES for alias in (entry.name, *entry.aliases) if alias.casefold() in words}
    if named and canonical_zone(zone) not in named:
        raise DataError(
            f"the file name says zone {', '.join(sorted(named))} and {zone!r} is wanted",
            where=str(path),
            hint="give the price file of the same zone as the carbon file",
        )
