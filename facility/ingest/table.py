"""CSV files with a mapping: wide (a column a point) or long (a reading a row), in batches of bounded size."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pc

from facility.errors import DataError
from facility.ingest.batch import BAD, GOOD, UNCERTAIN, Account, Batch, Columns, Format, to_batches
from facility.ingest.mapping import MappedPoint, Mapping
from facility.ingest.source import Source
from facility.ingest.stamps import Stamps
from facility.records import FloatArray

BLOCK_BYTES = 4 * 2**20
NO_CELL = "empty cells"
NO_NUMBER = "cells that are no number"
SENTINEL = "sentinels"
NOT_MAPPED = "rows of tags that are not mapped"


class MappedTables(Format):
    """The format; every text with the mapping's columns is taken."""

    kind = "CSV with a mapping"

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping

    def matches(self, source: Source) -> bool:
        """Whether the header has the mapping's time column."""
        header = _header(source.head_lines, self._mapping)
        return self._mapping.time.column in header

    def read(self, source: Source, account: Account) -> Iterator[Batch]:
        """Readings in the file's order. What is no number, and sentinels, give a reading without value of bad quality;
        an empty cell of a wide table gives none.

        Raises DataError for missing columns, rows of another width, and a file in which no time can be used.
        """
        mapping = self._mapping
        header = _header(source.head_lines, mapping)
        _require(header, mapping, source.name)
        stamps = Stamps(mapping.time, source.name)
        name = mapping.source or source.file_name
        account.time_from = "content"
        rows = 0
        with source.open() as file:
            for frame in _frames(file, header, mapping, source.name):
                rows += len(frame)
                ts_us = stamps.read(frame[mapping.time.column])
                keep = ~np.isnan(ts_us)
                part = frame.filter(pl.Series(keep))
                to_columns = _long if mapping.long is not None else _wide
                columns = to_columns(part, ts_us[keep].astype(np.int64), mapping, account)
                if len(columns.ts_us):
                    yield from to_batches(columns, name)
        stamps.tell(account, rows)


def _header(lines: Sequence[str], mapping: Mapping) -> list[str]:
    rows = csv.reader(lines[mapping.skip_lines : mapping.skip_lines + 1], delimiter=mapping.delimiter)
    try:
        return [name.strip() for name in next(rows, [])]
    except csv.Error:
        return []


def _require(header: list[str], mapping: Mapping, where: str) -> None:
    """Refuse a file without a column that the mapping names, or with two of the same name."""
    wanted = [mapping.time.column]
    if mapping.long is not None:
        wanted += [name for name in (mapping.long.tag, mapping.long.value, mapping.long.quality) if name]
    else:
        wanted += [point.name for point in mapping.point]
    missing = [name for name in wanted if name not in header]
    if missing:
        raise DataError(f"columns are missing: {', '.join(missing)}", where=where, hint=f"found {', '.join(header)}")
    twice = [name for name in wanted if header.count(name) > 1]
    if twice:
        raise DataError(f"columns appear twice: {', '.join(twice)}", where=where, hint="rename one of them")


def _frames(file: IO[bytes], header: list[str], mapping: Mapping, where: str) -> Iterator[pl.DataFrame]:
    """Blocks of rows, every cell a string."""
    columns = [f"{number}" for number in range(len(header))]  # the header's own names need not be distinct
    wanted = {name: column for column, name in zip(reversed(columns), reversed(header), strict=True)}
    try:
        reader = pc.open_csv(
            file,
            pc.ReadOptions(column_names=columns, skip_rows=mapping.skip_lines + 1, block_size=BLOCK_BYTES),
            pc.ParseOptions(delimiter=mapping.delimiter),
            pc.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), check_utf8=False, strings_can_be_null=False
            ),
        )
        for batch in reader:
            table = pa.Table.from_batches([batch])
            frame = pl.DataFrame(
                {name: _text(table[column]) for name, column in wanted.items()},
                schema=dict.fromkeys(wanted, pl.String),
            )
            yield frame.with_columns(pl.all().str.strip_chars())
    except pa.ArrowException as error:
        hint = "every row needs the header's columns; a cut file is to be exported again"
        raise DataError(f"not a CSV file: {str(error).splitlines()[0]}", where=where, hint=hint) from error


def _text(column: pa.ChunkedArray[pa.StringScalar]) -> pl.Series:
    """A column of strings; bytes that are no UTF-8 are replaced."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        cells = [str(cell or b"", "utf-8", "replace") for cell in column.cast(pa.binary()).to_pylist()]
        return pl.Series(cells, dtype=pl.String)
    return pl.Series(pl.from_arrow(column))


def _wide(frame: pl.DataFrame, ts_us: np.ndarray, mapping: Mapping, account: Account) -> Columns:
    """Row by row, and in a row in the mapping's order."""
    count, width = len(frame), len(mapping.point)
    value = np.full((count, width), np.nan)
    said = np.zeros((count, width), bool)
    for at, point in enumerate(mapping.point):
        cells = frame[point.name]
        said[:, at] = (cells != "").to_numpy()
        value[:, at] = _numbers(cells, mapping, (point,), np.zeros(count, np.int64), account)
    account.count(NO_CELL, int((~said).sum()))
    rows, columns = np.nonzero(said)
    return Columns(
        ts_us=ts_us[rows],
        point=columns.astype(np.int32),
        value=value[rows, columns],
        quality=np.full(len(rows), GOOD, np.int8),
        points=_points(mapping),
    )


def _long(frame: pl.DataFrame, ts_us: np.ndarray, mapping: Mapping, account: Account) -> Columns:
    assert mapping.long is not None  # noqa: S101 - for the type checker
    index = {point.name: at for at, point in enumerate(mapping.point)}
    which = frame[mapping.long.tag].replace_strict(index, default=-1, return_dtype=pl.Int32).to_numpy()
    keep = which >= 0
    account.count(NOT_MAPPED, int((~keep).sum()))
    part = frame.filter(pl.Series(keep))
    point = which[keep].astype(np.int32)
    account.count(NO_CELL, int((part[mapping.long.value] == "").sum()))
    return Columns(
        ts_us=ts_us[keep],
        point=point,
        value=_numbers(part[mapping.long.value], mapping, mapping.point, point, account),
        quality=_qualities(part, mapping),
        points=_points(mapping),
    )


def _points(mapping: Mapping) -> tuple[tuple[str, str], ...]:
    return tuple((point.point, point.unit) for point in mapping.point)


def _qualities(frame: pl.DataFrame, mapping: Mapping) -> np.ndarray:
    assert mapping.long is not None  # noqa: S101 - for the type checker
    if not mapping.long.quality:
        return np.full(len(frame), GOOD, np.int8)
    codes = {word.lower(): UNCERTAIN for word in mapping.long.uncertain}
    codes |= {word.lower(): GOOD for word in mapping.long.good}
    words = frame[mapping.long.quality].str.to_lowercase()
    return words.replace_strict(codes, default=BAD, return_dtype=pl.Int8).to_numpy()


def _numbers(
    cells: pl.Series, mapping: Mapping, points: Sequence[MappedPoint], which: np.ndarray, account: Account
) -> FloatArray:
    """Cells as numbers in the unit of point ``which[i]``; NaN where there is none."""
    plain = cells
    if mapping.decimal == ",":
        plain = cells.str.replace_all(".", "", literal=True).str.replace_all(",", ".", literal=True)
    number = plain.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy().astype(np.float64)
    account.count(NO_NUMBER, int((~np.isfinite(number) & (cells != "").to_numpy()).sum()))
    for at, point in enumerate(points):
        mine = which == at
        if point.sentinels:
            silent = mine & np.isin(number, point.sentinels)
            account.count(SENTINEL, int(silent.sum()))
            number[silent] = np.nan
        if (point.scale, point.offset) != (1.0, 0.0):
            with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is no number, and so bad
                number[mine] = number[mine] * point.scale + point.offset
    return number
