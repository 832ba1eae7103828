"""Writes a recording: parts of bounded size while it runs, one file at an orderly end.

A part appears under its name only when it is whole and on disk, so a crash loses at most the part that was being
gathered. ``points.csv`` is on disk before the first part that needs it.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from facility.errors import ConfigError, DataError
from facility.recording import COLUMNS, PARTS, POINTS, WHOLE, recording_parts
from facility.records import Point, Quality, Reading

PART_ROWS = 200_000
PART_S = 60.0  # wall seconds that a part gathers: what a crash may lose
MERGE_ROWS = 5_000_000  # a longer recording stays in parts: joining it would take gigabytes of memory
HEADER = ("point", "kind", "unit", "equipment", "description", "writable", "min", "max")
SCHEMA: dict[str, Any] = {"ts": pl.Datetime("us", "UTC"), "point": pl.String, "value": pl.Float64, "quality": pl.String}


@dataclass(frozen=True, slots=True)
class Summary:
    """What a recording holds."""

    folder: Path
    rows: int
    good: int
    bad: int
    uncertain: int
    points: int  # with at least one row
    first: datetime | None
    last: datetime | None
    files: int
    size_bytes: int


class Recorder:
    """Gathers readings into a recording; to be closed at the end. Not safe for several threads at a time."""

    def __init__(self, folder: Path, *, part_rows: int = PART_ROWS, part_s: float = PART_S) -> None:
        """Raises ConfigError where the folder cannot be made, or holds a recording already."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot make the folder: {error.strerror}", where=str(folder)) from error
        if recording_parts(folder) or (folder / POINTS).exists():
            hint = "give another folder, or move the recording away"
            raise ConfigError("the folder holds a recording already", where=str(folder), hint=hint)
        self._folder = folder
        self._part_rows, self._part_s = part_rows, part_s
        self._gathered: list[Reading] = []
        self._since = time.monotonic()
        self._points: dict[str, Point] = {}
        self._is_listed = False
        self._parts = 0
        self._by_quality: Counter[Quality] = Counter()
        self._seen: set[str] = set()
        self._first: datetime | None = None
        self._last: datetime | None = None

    def add(self, readings: Sequence[Reading], points: Mapping[str, Point]) -> None:
        """Keep readings of ``points``; others, such as a collector's own, are not the building's and are left out.

        Left out is also what has no source: a replay has it for points whose first row is yet to come.
        """
        for name, point in points.items():
            if name not in self._points:
                self._points[name] = point
                self._is_listed = False
        kept = [reading for reading in readings if reading.point in points and reading.source]
        if not self._gathered:
            self._since = time.monotonic()
        self._gathered += kept
        self._note(kept)
        if len(self._gathered) >= self._part_rows or time.monotonic() - self._since >= self._part_s:
            self.roll()

    def roll(self) -> None:
        """Write what was gathered as a part; raises DataError where the disk does not take it."""
        if not self._is_listed:
            _write(self._folder / POINTS, _list(self._points.values()))
            self._is_listed = True
        if not self._gathered:
            return
        self._parts += 1
        name = PARTS.replace("*", f"{self._parts:06d}")
        _write(self._folder / name, _parquet(_frame(self._gathered)))
        self._gathered = []

    def close(self) -> Summary:
        """Write the last part and join all into one file, unless that would be too large; says what there is."""
        self.roll()
        parts = recording_parts(self._folder)
        rows = sum(self._by_quality.values())
        if parts and rows <= MERGE_ROWS:
            whole = pl.concat([pl.read_parquet(part) for part in parts]).sort("ts", maintain_order=True)
            _write(self._folder / WHOLE, _parquet(whole))
            for part in parts:
                part.unlink()
        files = recording_parts(self._folder)
        return Summary(
            folder=self._folder,
            rows=rows,
            good=self._by_quality[Quality.GOOD],
            bad=self._by_quality[Quality.BAD],
            uncertain=self._by_quality[Quality.UNCERTAIN],
            points=len(self._seen),
            first=self._first,
            last=self._last,
            files=len(files),
            size_bytes=sum(file.stat().st_size for file in files),
        )

    def _note(self, readings: Sequence[Reading]) -> None:
        if not readings:
            return
        self._by_quality.update(reading.quality for reading in readings)
        self._seen.update(reading.point for reading in readings)
        first, last = (pick(reading.measured_at for reading in readings) for pick in (min, max))
        self._first = first if self._first is None else min(self._first, first)
        self._last = last if self._last is None else max(self._last, last)


def _frame(readings: Sequence[Reading]) -> pl.DataFrame:
    """Rows by time; those of the same time in the order in which they came."""
    data = {
        "ts": [reading.measured_at for reading in readings],
        "point": [reading.point for reading in readings],
        "value": [reading.value for reading in readings],
        "quality": [reading.quality.value for reading in readings],
    }
    return pl.DataFrame(data, schema=SCHEMA).select(COLUMNS).sort("ts", maintain_order=True)


def _parquet(frame: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    frame.write_parquet(sink, compression="zstd")
    return sink.getvalue()


def _list(points: Iterable[Point]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for point in points:
        about = (point.name, point.kind, point.unit, point.equipment, point.description)
        limits = ("" if limit is None else repr(limit) for limit in (point.min, point.max))
        writer.writerow((*about, int(point.writable), *limits))
    return text.getvalue().encode()


def _write(path: Path, content: bytes) -> None:
    """Put a whole file in its place in one step, on disk before it has its name."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        hint = "is there free space?"
        raise DataError(f"cannot write the recording: {error.strerror}", where=str(path), hint=hint) from error
