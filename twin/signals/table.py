"""Text and CSV files into tables of strings whose every row knows its line; every error names file, line and what to
do.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from facility.errors import DataError
from facility.records import FloatArray

LINE = "__line"
GZIP_MAGIC = b"\x1f\x8b"

Paths = str | Path | Sequence[str | Path]


def as_paths(paths: Paths) -> list[Path]:
    """One path or several as a list; raises DataError where there is none."""
    chosen = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not chosen:
        raise DataError("no file was given", hint="name at least one file")
    return chosen


def read_text(path: Path) -> str:
    """The text of a file, plain or gzip, UTF-8 with or without a byte-order mark; raises DataError where it is not
    text.
    """
    try:
        raw = path.read_bytes()
        if raw.startswith(GZIP_MAGIC):
            raw = gzip.decompress(raw)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"cannot read: {reason}", where=str(path), hint="check the path and its permissions") from error
    if not raw.strip():
        raise DataError("the file is empty", where=str(path), hint="download or export it again")
    if b"\x00" in raw:
        raise DataError("the file is binary, not text", where=str(path), hint="give the CSV, JSON or EPW text export")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # EPW headers and old exports; every byte is a character there


def read_table(path: Path) -> pl.DataFrame:
    """A CSV file as columns of strings with the line of each row in column ``__line``; blank lines are skipped."""
    reader = csv.reader(read_text(path).splitlines())
    header = [name.strip() for name in next(reader, [])]
    if len(set(header)) != len(header):
        twice = sorted({name for name in header if header.count(name) > 1})
        raise DataError(f"columns appear twice: {', '.join(map(repr, twice))}", where=f"{path}, line 1")
    rows: list[list[str]] = []
    lines: list[int] = []
    for row in reader:
        if not row or not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise DataError(
                f"{len(row)} cells where the header has {len(header)}",
                where=f"{path}, line {reader.line_num}",
                hint="the file was cut or edited; export it again",
            )
        rows.append(row)
        lines.append(reader.line_num)
    if not rows:
        raise DataError("a header and no rows", where=str(path), hint="export it again with data")
    table = pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String), orient="row")
    return table.with_columns(pl.Series(LINE, lines, dtype=pl.Int64), pl.all().str.strip_chars())


def column(table: pl.DataFrame, path: Path, accepted: Iterable[str], what: str) -> str:
    """The table's column that is one of ``accepted`` (case and spaces aside); raises DataError with expected and
    found.
    """
    wanted = list(accepted)
    found = [name for name in table.columns if name != LINE]
    by_key = {_key(name): name for name in found}
    for name in wanted:
        if _key(name) in by_key:
            return by_key[_key(name)]
    raise DataError(
        f"no column for {what}: expected {' or '.join(map(repr, wanted))}, found {', '.join(map(repr, found))}",
        where=f"{path}, line 1",
        hint="this reader takes the source's own headers; rename the column back, or check that it is the right file",
    )


def _key(name: str) -> str:
    return " ".join(name.casefold().replace("₂", "2").replace("_", " ").split())


def numbers(table: pl.DataFrame, path: Path, name: str) -> FloatArray:
    """A column as floats, shape [n]; an empty cell is NaN, anything else that is not a number raises DataError with
    its line.
    """
    cells = table[name]
    value = cells.replace("", None).cast(pl.Float64, strict=False)
    wrong = (value.is_null() & (cells != "")) | value.is_infinite().fill_null(value=False)
    if wrong.any():
        row = int(wrong.arg_true()[0])
        raise DataError(
            f"{cells[row]!r} in column {name!r} is not a number",
            where=f"{path}, line {table[LINE][row]}",
            hint="correct or remove the value; an empty cell means missing",
        )
    return value.fill_null(float("nan")).to_numpy().astype(np.float64)


def stamps(table: pl.DataFrame, path: Path, name: str) -> NDArray[np.int64]:
    """A column of UTC times as seconds since 1970, shape [n]; a stamp with another offset raises DataError."""
    seconds = np.empty(len(table), dtype=np.int64)
    for row, cell in enumerate(table[name]):
        try:
            when = datetime.fromisoformat(cell)
        except ValueError as error:
            raise DataError(
                f"{cell!r} in column {name!r} is not a time",
                where=f"{path}, line {table[LINE][row]}",
                hint="write it as 2023-01-31 05:00:00",
            ) from error
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        offset = when.utcoffset()
        if offset is not None and offset.total_seconds() != 0:
            raise DataError(
                f"{cell!r} is local time, {when:%z} from UTC, where UTC is expected",
                where=f"{path}, line {table[LINE][row]}",
                hint="convert the stamps to UTC before giving the file",
            )
        seconds[row] = int(when.timestamp())
    return seconds


def to_time(seconds: float) -> datetime:
    """Seconds since 1970 as an aware UTC time."""
    return datetime.fromtimestamp(float(seconds), UTC)
