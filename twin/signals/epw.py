"""EnergyPlus weather (EPW): a typical year in local standard time, hour 1 to 24, re-stamped onto one UTC year."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray
from twin.signals.grid import Rows, on_grid
from twin.signals.record import DRYBULB_RANGE_C, RH_RANGE_PCT, WeatherRecord, make_record, require_range
from twin.signals.series import DRYBULB, RH
from twin.signals.table import read_text

HOURS = 8760
HEADER_LINES = 8
DRYBULB_CELL, RH_CELL = 6, 8  # EnergyPlus Auxiliary Programs, "EPW CSV format"
MISSING = {DRYBULB_CELL: 99.9, RH_CELL: 999.0}  # at or above: missing, ibid.
FEBRUARY_28_END_H = 59 * 24


@dataclass(frozen=True, slots=True, eq=False)
class _Body:
    """The rows as they stand in the file: stamps (year, month, day, hour), values and lines."""

    stamp: list[tuple[int, int, int, int]]
    value: dict[int, FloatArray]
    line: list[int]


def read_epw(path: str | Path, year: int | None = None, *, zone: str = "", fill_gaps: bool = False) -> WeatherRecord:
    """A typical year onto ``year``, from its first to its last hour UTC; the year wraps around where the offset
    shifts it.

    EPW's hour h is the observation at h:00 local standard time. A leap year repeats 28 February. ``year`` may be left
    out where all rows are of one real year. Raises DataError for anything but 8,760 hours numbered 1 to 24 in order.
    """
    path = Path(path)
    rows = list(csv.reader(read_text(path).splitlines()))
    place, offset_h = _location(path, rows)
    body = _body(path, rows)
    chosen = _year(path, body, year)
    values = {DRYBULB: body.value[DRYBULB_CELL], RH: body.value[RH_CELL]}
    labels = ["{:02d}-{:02d} hour {}".format(*stamp[1:]) for stamp in body.stamp]
    require_range(values[DRYBULB], DRYBULB_RANGE_C, "degC", labels, str(path))
    require_range(values[RH], RH_RANGE_PCT, "%", labels, str(path))
    # Element 0 of the file is 01:00 local, which is 01:00 - offset UTC: roll it there, so that element 0 is 00:00 UTC.
    rolled = {name: np.roll(value, round(1.0 - offset_h)) for name, value in values.items()}
    leap = datetime(chosen, 12, 31).timetuple().tm_yday == 366  # noqa: DTZ001 - a calendar question
    if leap:
        rolled = {name: _with_29_february(value) for name, value in rolled.items()}
    seconds = int(datetime(chosen, 1, 1, tzinfo=UTC).timestamp()) + 3600 * np.arange(
        len(rolled[DRYBULB]), dtype=np.int64
    )
    grid = on_grid(
        [Rows(path, seconds, np.arange(len(seconds), dtype=np.int64), rolled)], "weather", zone, fill_gaps=fill_gaps
    )
    typical = "typical year" if len({stamp[0] for stamp in body.stamp}) > 1 else f"year {body.stamp[0][0]}"
    notes = (f"{typical} stamped as {chosen}",) + (("29 February repeats 28 February",) if leap else ())
    return make_record(grid, f"{path.name} ({typical} stamped as {chosen})", place, zone, notes)


def _location(path: Path, rows: list[list[str]]) -> tuple[tuple[float, float, float], float]:
    """Latitude, longitude and altitude, and the offset from UTC in hours, of the LOCATION line."""
    if not rows or rows[0][:1] != ["LOCATION"]:
        raise DataError("the first line does not begin with LOCATION", where=f"{path}, line 1", hint="give an EPW file")
    try:
        latitude, longitude, offset, altitude = (float(cell) for cell in rows[0][6:10])
    except ValueError as error:
        raise DataError(
            "LOCATION lacks latitude, longitude, time zone or elevation",
            where=f"{path}, line 1",
            hint="download the file again",
        ) from error
    if not offset.is_integer():
        raise DataError(
            f"the offset {offset:g} h from UTC is not whole",
            where=f"{path}, line 1",
            hint="only whole hours are supported",
        )
    return (latitude, longitude, altitude), offset


def _body(path: Path, rows: list[list[str]]) -> _Body:
    """The hourly rows, with missing values as NaN; raises DataError where hours are missing or numbered otherwise."""
    stamp: list[tuple[int, int, int, int]] = []
    value: dict[int, list[float]] = {DRYBULB_CELL: [], RH_CELL: []}
    lines: list[int] = []
    for number, row in enumerate(rows[HEADER_LINES:], start=HEADER_LINES + 1):
        if not row:
            continue
        try:
            year, month, day, hour = (int(cell) for cell in row[:4])
            cells = {cell: float(row[cell]) for cell in value}
        except (ValueError, IndexError) as error:
            raise DataError(
                "not an hourly EPW row", where=f"{path}, line {number}", hint="download the file again"
            ) from error
        expected = len(stamp) % 24 + 1
        if hour != expected:
            raise DataError(
                f"hour {hour} where hour {expected} is expected",
                where=f"{path}, line {number}",
                hint="EPW numbers hours 1 to 24; a row is missing or doubled",
            )
        stamp.append((year, month, day, hour))
        lines.append(number)
        for cell, kept in value.items():
            kept.append(np.nan if cells[cell] >= MISSING[cell] else cells[cell])
    if len(stamp) != HOURS:
        raise DataError(
            f"{len(stamp)} hours where a typical year has {HOURS}", where=str(path), hint="download the file again"
        )
    return _Body(stamp, {cell: np.array(kept) for cell, kept in value.items()}, lines)


def _year(path: Path, body: _Body, year: int | None) -> int:
    years = {stamp[0] for stamp in body.stamp}
    if year is not None:
        return year
    if len(years) == 1:
        return years.pop()
    raise DataError(
        f"a typical year of months from {min(years)} to {max(years)}",
        where=str(path),
        hint="say onto which year to stamp it",
    )


def _with_29_february(value: FloatArray) -> FloatArray:
    day = value[FEBRUARY_28_END_H - 24 : FEBRUARY_28_END_H]
    return np.concatenate([value[:FEBRUARY_28_END_H], day, value[FEBRUARY_28_END_H:]])
