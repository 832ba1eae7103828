"""A recording: long-format Parquet (ts, point, value, quality) with points.csv beside it.

It is one file, ``telemetry.parquet``, or the parts that a recorder writes: ``telemetry-00001.parquet`` and so on. Where
both are there, the one file holds the parts already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from facility.errors import DataError
from facility.records import Point, Quality

QUALITIES = tuple(Quality)
COLUMNS = ("ts", "point", "value", "quality")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WHOLE = "telemetry.parquet"
PARTS = "telemetry-*.parquet"
POINTS = "points.csv"


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """All rows of one point in the order of measurement; NaN where there was no value."""

    ts_us: NDArray[np.int64]  # since 1970, UTC
    value: NDArray[np.float64]
    quality: NDArray[np.int8]  # index into QUALITIES
    row: NDArray[np.int64]  # where in the whole recording, by time

    def at(self, now: datetime) -> tuple[datetime, float | None, Quality] | None:
        """The newest row at or before ``now``; of rows measured at the same time the last one recorded."""
        row = int(np.searchsorted(self.ts_us, _microseconds(now), side="right")) - 1
        if row < 0:
            return None
        value = float(self.value[row])
        measured_at = EPOCH + timedelta(microseconds=int(self.ts_us[row]))
        return measured_at, None if np.isnan(value) else value, QUALITIES[int(self.quality[row])]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Points and their rows, from the first to the last moment recorded."""

    points: Mapping[str, Point]
    tracks: Mapping[str, Track]
    start: datetime
    end: datetime


def recording_parts(path: Path) -> list[Path]:
    """The Parquet files of a recording's folder in their order; none where it is no such folder."""
    whole = path / WHOLE
    return [whole] if whole.is_file() else sorted(path.glob(PARTS))


def load_recording(path: Path) -> Recording:
    """A folder with telemetry.parquet, or parts of it, and points.csv, or the Parquet file itself; raises DataError."""
    parts = (recording_parts(path) or [path / WHOLE]) if path.is_dir() else [path]
    parquet = parts[0]
    points = load_points(parquet.parent / POINTS)
    rows = pl.concat([_load_rows(part) for part in parts]).sort("ts", maintain_order=True).with_row_index("row")
    tracks = {str(key[0]): _track(group) for key, group in rows.group_by("point", maintain_order=True)}
    unknown = sorted(set(tracks) - set(points))
    if unknown:
        raise DataError(f"points.csv does not list {', '.join(unknown[:5])}", where=str(parquet))
    first = min(int(track.ts_us[0]) for track in tracks.values())
    last = max(int(track.ts_us[-1]) for track in tracks.values())
    return Recording(points, tracks, EPOCH + timedelta(microseconds=first), EPOCH + timedelta(microseconds=last))


def _load_rows(path: Path) -> pl.DataFrame:
    try:
        rows = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"cannot read the recording: {error}", where=str(path)) from error
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        raise DataError(f"columns are missing: {', '.join(missing)}", where=str(path), hint=f"expected {COLUMNS}")
    stamp = rows.schema["ts"]
    if not isinstance(stamp, pl.Datetime) or stamp.time_zone != "UTC":
        raise DataError(f"column 'ts' must be a UTC time, got {stamp}", where=str(path))
    if rows.is_empty():
        raise DataError("the recording has no rows", where=str(path))
    known = [quality.value for quality in QUALITIES]
    strange = rows.filter(~pl.col("quality").is_in(known))["quality"].unique().to_list()
    if strange or rows["quality"].null_count() or rows["point"].null_count() or rows["ts"].null_count():
        raise DataError(f"rows without time, point or a known quality: {strange[:5]}", where=str(path))
    return rows.select(
        pl.col("ts").cast(pl.Datetime("us", "UTC")), "point", pl.col("value").cast(pl.Float64), "quality"
    )


def _track(rows: pl.DataFrame) -> Track:
    codes = {quality.value: code for code, quality in enumerate(QUALITIES)}
    return Track(
        rows["ts"].dt.epoch("us").to_numpy(),
        rows["value"].fill_null(float("nan")).to_numpy(),
        rows["quality"].replace_strict(codes, return_dtype=pl.Int8).to_numpy(),
        rows["row"].cast(pl.Int64).to_numpy(),
    )


def load_points(path: Path) -> dict[str, Point]:
    """The points of a points.csv by name; raises DataError where it cannot be read or is no such list."""
    try:
        table = pl.read_csv(path, infer_schema=False).fill_null("")  # no types are guessed: "007" is a name
        points = [_point(row) for row in table.iter_rows(named=True)]
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"cannot read the points: {error}", where=str(path)) from error
    except (KeyError, ValueError) as error:
        raise DataError(f"not a list of points: {error}", where=str(path)) from error
    return {point.name: point for point in points}


def _point(row: dict[str, str]) -> Point:
    low, high = row["min"], row["max"]
    return Point(
        name=row["point"],
        kind=row["kind"],
        unit=row["unit"],
        equipment=row["equipment"],
        description=row["description"],
        writable=row["writable"].lower() in ("1", "true"),
        min=float(low) if low else None,
        max=float(high) if high else None,
    )


def _microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)
