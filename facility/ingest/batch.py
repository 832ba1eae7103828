"""What a format gives: tables of readings in bounded batches, and words on how it read them."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facility.ingest.source import Source
from facility.records import FloatArray, Quality

BATCH_ROWS = 250_000
STAMP: pa.DataType = pa.timestamp("us", "UTC")
QUALITIES = tuple(quality.value for quality in Quality)
GOOD, BAD, UNCERTAIN = (QUALITIES.index(quality.value) for quality in (Quality.GOOD, Quality.BAD, Quality.UNCERTAIN))
READINGS = "readings"


class Batch(NamedTuple):
    """Rows for one table of the store, ``readings`` but for formats that hold something else."""

    table: str
    rows: pa.Table


@dataclass(slots=True)
class Account:
    """What was found in one file; filled while it is read."""

    file: str
    kind: str
    readings: int = 0
    good: int = 0
    bad: int = 0
    uncertain: int = 0
    other_rows: int = 0  # rows that are no readings: jobs of a trace
    first: datetime | None = None
    last: datetime | None = None
    time_from: str = ""  # where the times are from, for files that may not carry them
    counts: dict[str, int] = field(default_factory=dict)  # what else was met, such as discrete sensors
    notes: list[str] = field(default_factory=list)

    def count(self, what: str, number: int) -> None:
        """Add to a count; zero leaves no trace."""
        if number:
            self.counts[what] = self.counts.get(what, 0) + number


class Format(abc.ABC):
    """One kind of file."""

    kind: ClassVar[str]

    @abc.abstractmethod
    def matches(self, source: Source) -> bool:
        """Whether the file's content is of this kind; raises DataError where it cannot be read."""

    @abc.abstractmethod
    def read(self, source: Source, account: Account) -> Iterator[Batch]:
        """The file's rows; raises DataError where it is not what its kind says."""

    def identity(self, source: Source) -> str:
        """By what the file is known again; its content, where that says everything."""
        return source.digest


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Readings as arrays of shape [n]; ``point`` counts in ``points``, ``quality`` in QUALITIES; NaN is no value."""

    ts_us: NDArray[np.int64]
    point: NDArray[np.int32]
    value: FloatArray
    quality: NDArray[np.int8]
    points: tuple[tuple[str, str], ...]  # name and unit


def to_batches(columns: Columns, source: str) -> Iterator[Batch]:
    """Readings in the order given, in tables of at most BATCH_ROWS; a value that is no number has bad quality."""
    names = pa.array([name for name, _ in columns.points], pa.string())
    units = pa.array([unit for _, unit in columns.points], pa.string())
    for first in range(0, len(columns.ts_us), BATCH_ROWS):
        part = slice(first, first + BATCH_ROWS)
        finite = np.isfinite(columns.value[part])
        quality = np.where(finite, columns.quality[part], np.int8(BAD)).astype(np.int8)
        point: Any = pa.array(columns.point[part])
        code: Any = pa.array(quality)
        arrays: list[Any] = [
            pa.array(columns.ts_us[part]).cast(STAMP),
            pa.DictionaryArray.from_arrays(point, names),
            pa.array(columns.value[part], mask=~finite),
            pa.DictionaryArray.from_arrays(point, units),
            pa.DictionaryArray.from_arrays(code, pa.array(QUALITIES)),
            pa.repeat(source, len(finite)),
        ]
        yield Batch(READINGS, pa.Table.from_arrays(arrays, ["ts", "point", "value", "unit", "quality", "source"]))
