"""A recording: long-format Parquet (ts, point, value, quality) with points.csv beside it."""

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


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """All rows of one point in the order of measurement; NaN where there was no value."""

    ts_us: NDArray[np.int64]  # since 1970, UTC
    value: NDArray[np.float64]
    quality: NDArray[np.int8]  # index into QUALITIES

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


def load_recording(path: Path) -> Recording:
    """A folder with telemetry.parquet and points.csv, or the Parquet file itself; raises DataError."""
    parquet = path / "telemetry.parquet" if path.is_dir() else path
    points = _load_points(parquet.parent / "points.csv")
    rows = _load_rows(parquet)
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
    return rows.with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC"))).sort("ts", maintain_order=True)


def _track(rows: pl.DataFrame) -> Track:
    codes = {quality.value: code for code, quality in enumerate(QUALITIES)}
    return Track(
        rows["ts"].dt.epoch("us").to_numpy(),
        rows["value"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
        rows["quality"].replace_strict(codes, return_dtype=pl.Int8).to_numpy(),
    )


def _load_points(path: Path) -> dict[str, Point]:
    try:
        table = pl.read_csv(path, schema_overrides={"description": pl.String, "min": pl.Float64, "max": pl.Float64})
        points = [_point(row) for row in table.iter_rows(named=True)]
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"cannot read the points: {error}", where=str(path)) from error
    except (KeyError, ValueError) as error:
        raise DataError(f"not a list of points: {error}", where=str(path)) from error
    return {point.name: point for point in points}


def _point(row: dict[str, object]) -> Point:
    low, high = row["min"], row["max"]
    return Point(
        name=str(row["point"]),
        kind=str(row["kind"]),
        unit=str(row["unit"]),
        equipment=str(row["equipment"]),
        description=str(row["description"] or ""),
        writable=str(row["writable"]).lower() in ("1", "true"),
        min=None if low is None else float(str(low)),
        max=None if high is None else float(str(high)),
    )


def _microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)
