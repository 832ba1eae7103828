"""Reads a recording: long-format Parquet (ts, point, value, quality) and the points.csv beside it.

Rows keep the order of the file, which is the order in which they arrived: of rows with the same time the last counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from facility.errors import DataError
from facility.records import FloatArray, Point

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

COLUMNS = ("ts", "point", "value", "quality")
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of one point by time; NaN where there was no value."""

    ts_us: IntArray  # since 1970, UTC
    value: FloatArray
    good: BoolArray  # the source called the value good
    late: int = 0  # rows that arrived after younger ones
    repeats_us: IntArray = field(
        default_factory=lambda: np.zeros(0, dtype=np.int64)
    )  # times of rows replaced by a later
    # arrival of the same time

    def until(self, end_us: int) -> Rows:
        """The rows measured before ``end_us``."""
        count = int(np.searchsorted(self.ts_us, end_us, side="left"))
        return replace(
            self,
            ts_us=self.ts_us[:count],
            value=self.value[:count],
            good=self.good[:count],
            repeats_us=self.repeats_us[self.repeats_us < end_us],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Telemetry:
    """A recording: what is measured, the rows of each point, and a hash of the file."""

    points: Mapping[str, Point]
    rows: Mapping[str, Rows]
    sha256: str = ""

    @property
    def start_us(self) -> int:
        """Time of the first row."""
        return min(int(rows.ts_us[0]) for rows in self.rows.values())

    @property
    def end_us(self) -> int:
        """Time of the last row."""
        return max(int(rows.ts_us[-1]) for rows in self.rows.values())

    def until(self, end_us: int) -> Telemetry:
        """The same recording as it was before ``end_us``."""
        kept = {name: rows.until(end_us) for name, rows in self.rows.items()}
        return replace(self, rows={name: rows for name, rows in kept.items() if len(rows.ts_us)})


def read_telemetry(telemetry: Path, points: Path) -> Telemetry:
    """Reads both files; raises DataError where one cannot be read or is no recording."""
    listed = read_points(points)
    table = _table(telemetry)
    groups = table.partition_by("point", as_dict=True, maintain_order=True)
    rows = {str(key[0]): _rows(group) for key, group in groups.items() if str(key[0]) in listed}
    if not rows:
        raise DataError("no row belongs to a point of the list", where=str(telemetry), hint=f"the list is {points}")
    return Telemetry(listed, rows, hashlib.sha256(telemetry.read_bytes()).hexdigest())


def read_points(path: Path) -> dict[str, Point]:
    """The points of a points.csv by name; columns min, max and writable may be missing or empty."""
    try:
        table = pl.read_csv(path, infer_schema=False).fill_null("")
        points = [_point(row) for row in table.iter_rows(named=True)]
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"cannot read the points: {error}", where=str(path)) from error
    except (KeyError, ValueError) as error:
        raise DataError(f"not a list of points: {error}", where=str(path), hint="columns: point, kind, unit") from error
    return {point.name: point for point in points}


def _point(row: dict[str, str]) -> Point:
    low, high = row.get("min", ""), row.get("max", "")
    return Point(
        name=row["point"],
        kind=row["kind"].strip().lower(),
        unit=row["unit"].strip(),
        equipment=row.get("equipment") or row["point"].split("/")[0],
        description=row.get("description", ""),
        writable=row.get("writable", "").lower() in ("1", "true"),
        min=float(low) if low else None,
        max=float(high) if high else None,
    )


def _table(path: Path) -> pl.DataFrame:
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"cannot read the recording: {error}", where=str(path)) from error
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"columns are missing: {', '.join(missing)}", where=str(path), hint=f"expected {COLUMNS}")
    stamp = table.schema["ts"]
    if not isinstance(stamp, pl.Datetime) or stamp.time_zone != "UTC":
        raise DataError(f"column 'ts' must be a UTC time, got {stamp}", where=str(path))
    if table.is_empty() or table["ts"].null_count():
        raise DataError("the recording has no rows, or rows without a time", where=str(path))
    return table.select(
        pl.col("ts").cast(pl.Datetime("us", "UTC")),
        pl.col("point").cast(pl.String),
        pl.col("value").cast(pl.Float64),
        (pl.col("quality") == "good").fill_null(False).alias("good"),
    )


def _rows(table: pl.DataFrame) -> Rows:
    ts = table["ts"].dt.epoch("us").to_numpy().astype(np.int64)
    value = table["value"].fill_null(float("nan")).to_numpy().astype(np.float64)
    good = table["good"].to_numpy().astype(np.bool_)
    order = np.argsort(ts, kind="stable")
    sorted_ts = ts[order]
    last = np.append(sorted_ts[1:] != sorted_ts[:-1], True)  # of equal times the last to arrive
    late = int((ts < np.maximum.accumulate(ts)).sum())
    kept = order[last]
    return Rows(ts[kept], np.where(np.isfinite(value[kept]), value[kept], np.nan), good[kept], late, sorted_ts[~last])
