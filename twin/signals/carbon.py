"""Electricity Maps' hourly CSV: carbon intensity in gCO2eq/kWh, UTC."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from facility.errors import DataError
from twin.signals.grid import Rows, on_grid
from twin.signals.plausible import require_sun
from twin.signals.series import CARBON, Series
from twin.signals.table import LINE, Paths, as_paths, column, numbers, read_table, stamps
from twin.signals.zones import canonical_zone

Kind = Literal["direct", "lifecycle"]

STAMP = ("Datetime (UTC)", "Datetime(UTC)")
ZONE = ("Zone Id",)
INTENSITY: dict[Kind, tuple[str, ...]] = {
    "lifecycle": tuple(
        f"Carbon intensity gCO₂eq/kWh ({name})" for name in ("Life cycle", "LCA", "Lifecycle", "Life-cycle")
    ),
    "direct": ("Carbon intensity gCO₂eq/kWh (direct)",),
}
ESTIMATED = ("Data estimated",)
MAX_G_KWH = 2000.0  # beyond any grid: old lignite alone is about 1,400
PUBLIC_AFTER_S = 3600.0  # an hour's intensity is known when the hour is over


def read_electricity_maps(
    paths: Paths, *, zone: str | None = None, kind: Kind = "lifecycle", fill_gaps: bool = False
) -> Series:
    """One or several files of one zone as a Series; ``kind`` chooses direct (combustion) or life-cycle intensity.

    Raises DataError for gaps, duplicates, wrong headers, absurd values, another zone than ``zone`` (aliases such as
    DE-LU for DE are known), and stamps that look like local time.
    """
    tables = [(path, read_table(path)) for path in as_paths(paths)]
    stamped = [(path, table, _stamp_column(table, path)) for path, table in tables]
    found = _zone(tables, zone)
    files = [
        Rows(path, stamps(table, path, stamp), table[LINE].to_numpy(), {CARBON: _intensity(table, path, kind)})
        for path, table, stamp in stamped
    ]
    grid = on_grid(files, CARBON, found, fill_gaps=fill_gaps)
    series = Series(
        quantity=CARBON,
        unit="gCO2eq/kWh",
        zone=found,
        start=grid.start,
        step_s=grid.step_s,
        value=grid.values[CARBON],
        known_lag_s=PUBLIC_AFTER_S,
        source=", ".join(path.name for path, _ in tables) + f" ({kind})",
        kind=kind,
        estimated=sum(_estimated(table) for _, table in tables),
        gaps=grid.gaps,
    )
    require_sun(series)
    return series


def _stamp_column(table: pl.DataFrame, path: Path) -> str:
    """The UTC time column; a time column that does not say UTC is refused, because local time shifts every result."""
    for name in table.columns:
        if "datetime" in name.casefold() and "utc" not in name.casefold():
            raise DataError(
                f"the column {name!r} does not say that its times are UTC: expected {STAMP[0]!r}",
                where=f"{path}, line 1",
                hint="convert the times to UTC and rename the column",
            )
    return column(table, path, STAMP, "the time in UTC")


def _zone(tables: list[tuple[Path, pl.DataFrame]], wanted: str | None) -> str:
    """The one zone of all files, in its canonical name; raises DataError where it is not ``wanted``."""
    first = ""
    for path, table in tables:
        name = column(table, path, ZONE, "the zone")
        for row, cell in enumerate(table[name]):
            if cell == first:
                continue
            expected = wanted or first or cell
            if canonical_zone(cell) != canonical_zone(expected):
                raise DataError(
                    f"the file holds zone {cell!r} and {expected!r} is wanted",
                    where=f"{path}, line {table[LINE][row]}",
                    hint=f"give the file of {expected}, or ask for zone {cell}",
                )
            first = cell
    return canonical_zone(first)


def _intensity(table: pl.DataFrame, path: Path, kind: Kind) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    name = column(table, path, INTENSITY[kind], f"the {kind} carbon intensity")
    value = numbers(table, path, name)
    least = 0.0 if kind == "direct" else 1e-9  # nothing has a life cycle without emissions
    wrong = np.flatnonzero((value < least) | (value > MAX_G_KWH))
    if len(wrong):
        row = int(wrong[0])
        more = f", nor can {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise DataError(
            f"{value[row]:g} gCO2eq/kWh cannot be{more}",
            where=f"{path}, line {table[LINE][row]}",
            hint=f"expected above 0 and up to {MAX_G_KWH:g}; an empty cell means missing",
        )
    if np.nanmax(value, initial=0.0) < 1.5:
        raise DataError(
            f"the largest intensity is {np.nanmax(value, initial=0.0):g}",
            where=str(path),
            hint="values look like kg/kWh; give g/kWh",
        )
    return value


def _estimated(table: pl.DataFrame) -> int:
    """Rows that the source marks as estimated; 0 where the file has no such column."""
    wanted = {name.casefold() for name in ESTIMATED}
    for name in table.columns:
        if name.casefold() in wanted:
            return int(table[name].str.to_lowercase().is_in(["true", "1", "yes"]).sum())
    return 0
