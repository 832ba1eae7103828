"""History: means of a minute and of a quarter of an hour, retention, Parquet segments of what leaves the database.

Segments are hive-partitioned (``level=raw/day=2023-06-01/part-0.parquet``): DuckDB, Polars and Spark read them as one
table. A segment is whole and on disk before its rows are deleted, and both it and the deletion are in one transaction's
list: a crash in between repeats the day, and loses or doubles nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from facility.errors import StoreError
from facility.site import HistorySettings
from facility.store import Store

LATE = timedelta(hours=2)  # readings that come so late still find their way into the means
DAY = timedelta(days=1)
STEPS = {"minutes": timedelta(minutes=1), "quarters": timedelta(minutes=15)}
LEVELS = {"raw": "readings", "minutes": "minutes", "quarters": "quarters"}  # the table of each level
MEANS = """
INSERT INTO {table} SELECT time_bucket(to_seconds($step_s), ts) AS bucket, point,
  avg(value) FILTER (quality <> 'bad'), min(value) FILTER (quality <> 'bad'), max(value) FILTER (quality <> 'bad'),
  arg_max(value, ts) FILTER (quality <> 'bad'), any_value(unit),
  count(value) FILTER (quality <> 'bad'), count(*) FILTER (quality = 'bad' OR value IS NULL), coalesce(run, '')
FROM readings WHERE ts >= $start AND ts < $end GROUP BY bucket, point, coalesce(run, '')
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """What one round of upkeep did."""

    rolled_to: datetime | None
    segments: tuple[Path, ...]
    rows: int  # that went from the database to segments


class History:
    """Roll-ups and retention of one store."""

    def __init__(self, store: Store, folder: Path, settings: HistorySettings) -> None:
        """``folder`` takes the segments."""
        self._store, self._folder, self._settings = store, folder, settings

    def keep(self, now: datetime) -> Kept:
        """One round: roll up what is complete, then let go of what is old. Raises StoreError where the disk is full."""
        rolled_to = {table: self._roll_up(table, step, now) for table, step in STEPS.items()}
        days = {
            "raw": self._settings.raw_days,
            "minutes": self._settings.minute_days,
            "quarters": self._settings.quarter_days,
        }
        segments, rows = [], 0
        for level, kept_days in days.items():
            for day in self._days_before(LEVELS[level], now - timedelta(days=kept_days)):
                path, count = self._retire(level, day, now)
                segments.append(path)
                rows += count
        if segments:
            self._store.checkpoint()
        return Kept(rolled_to["minutes"], tuple(segments), rows)

    # Means --------------------------------------------------------------------------------------------------------

    def _roll_up(self, table: str, step: timedelta, now: datetime) -> datetime | None:
        """Means of all whole buckets; those of the last hours anew, for readings that came late."""
        start = self._edge(f"SELECT max(ts) AS edge FROM {table}")  # noqa: S608 - our own names
        start = start - LATE if start is not None else self._edge("SELECT min(ts) AS edge FROM readings")
        if start is None:
            return None
        first, end = _floor(start, step), _floor(now, step)
        oldest = self._edge("SELECT min(ts) AS edge FROM readings")
        if oldest is None or end <= first:
            return None
        first = max(first, _floor(oldest, step))  # older ones left the database: their means are final
        window = {"start": first, "end": end}
        with self._store.transaction() as kept:
            kept.execute(f"DELETE FROM {table} WHERE ts >= $start AND ts < $end", window)  # noqa: S608
            kept.execute(MEANS.format(table=table), {**window, "step_s": step.total_seconds()})
        return end

    def _edge(self, sql: str) -> datetime | None:
        with self._store.batches(sql, {}) as rows:
            found = rows.read_all()["edge"][0].as_py()
        return None if found is None else found.astimezone(UTC)

    # Retention ----------------------------------------------------------------------------------------------------

    def _days_before(self, table: str, limit: datetime) -> list[date]:
        """Days (UTC) that are wholly before ``limit`` and have rows."""
        end = datetime.combine(limit.astimezone(UTC).date(), time(), UTC)
        sql = f"SELECT DISTINCT CAST(ts AS DATE) AS day FROM {table} WHERE ts < $end ORDER BY day"  # noqa: S608
        with self._store.batches(sql, {"end": end}) as rows:
            found: list[date | None] = rows.read_all()["day"].to_pylist()
        return [day for day in found if day is not None]

    def _retire(self, level: str, day: date, now: datetime) -> tuple[Path, int]:
        table, start = LEVELS[level], datetime.combine(day, time(), UTC)
        window = {"start": start, "end": start + DAY}
        folder = self._folder / f"level={level}" / f"day={day.isoformat()}"
        path = folder / f"part-{self._parts_of(level, day)}.parquet"
        sql = f"SELECT * FROM {table} WHERE ts >= $start AND ts < $end ORDER BY point, ts"  # noqa: S608
        with self._store.batches(sql, window) as rows:
            count = _write(path, rows)
        row = {"level": level, "day": day, "file": str(path.relative_to(self._folder)), "count": count, "now": now}
        with self._store.transaction() as kept:
            kept.execute(f"DELETE FROM {table} WHERE ts >= $start AND ts < $end", window)  # noqa: S608
            kept.execute("INSERT INTO segments VALUES ($level, $day, $file, $count, $now)", row)
        return path, count

    def _parts_of(self, level: str, day: date) -> int:
        sql = "SELECT count(*) AS parts FROM segments WHERE level = $level AND day = $day"
        with self._store.batches(sql, {"level": level, "day": day}) as rows:
            return int(rows.read_all()["parts"][0].as_py())


def _floor(when: datetime, step: timedelta) -> datetime:
    midnight = when.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (when - midnight) // step * step


def _write(path: Path, rows: pa.RecordBatchReader) -> int:
    """A whole file under its name, on disk; returns its rows."""
    draft = path.with_name(f".{path.name}.draft")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(draft, rows.schema, compression="zstd") as writer:
            for batch in _counted(rows):
                writer.write_batch(batch)
                count += batch.num_rows
        _sync(draft)
        draft.replace(path)
        _sync(path.parent)
    except (OSError, pa.ArrowException) as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise StoreError(f"cannot write the segment: {error}", where=str(path), hint="is there free space?") from error
    return count


def _counted(rows: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    for batch in rows:
        if batch.num_rows:
            yield batch


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
