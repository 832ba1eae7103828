"""Recordings of the project's own form: Parquet with ts, point, value, quality, and points.csv beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from facility.errors import DataError
from facility.ingest.batch import BATCH_ROWS, QUALITIES, READINGS, STAMP, Account, Batch, Format
from facility.ingest.source import Source
from facility.recording import COLUMNS, POINTS, load_points, recording_parts

MAGIC = b"PAR1"


class Recordings(Format):
    """The format; a folder with its parts, or one Parquet file with points.csv beside it."""

    kind = "recording"

    def matches(self, source: Source) -> bool:
        """Whether it is a recording's folder or a Parquet file."""
        return source.path.is_dir() or source.head.startswith(MAGIC)

    def read(self, source: Source, account: Account) -> Iterator[Batch]:
        """The rows as they are, with their points' units; a row without a value has bad quality.

        Raises DataError for other columns, times without a zone, unknown qualities and points that are not listed.
        """
        if source.is_member:
            raise DataError("a recording within an archive", where=source.name, hint="unpack the archive first")
        parts = recording_parts(source.path) if source.path.is_dir() else [source.path]
        folder = parts[0].parent
        units = {name: point.unit for name, point in load_points(folder / POINTS).items()}
        account.time_from = "content"
        name = folder.resolve().name
        for part in parts:
            yield from _read(part, units, name)


def _read(path: Path, units: Mapping[str, str], source: str) -> Iterator[Batch]:
    names, symbols = pa.array(units.keys(), pa.string()), pa.array(units.values(), pa.string())
    try:
        with pq.ParquetFile(path) as file:
            _check_schema(file.schema_arrow, path)
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(COLUMNS)):
                yield Batch(READINGS, _readings(pa.Table.from_batches([batch]), names, symbols, path, source))
    except (OSError, pa.ArrowException) as error:
        hint = "is the file whole?"
        raise DataError(f"cannot read the recording: {_first_line(error)}", where=str(path), hint=hint) from error


def _check_schema(schema: pa.Schema, path: Path) -> None:
    missing = [name for name in COLUMNS if name not in schema.names]
    if missing:
        raise DataError(f"columns are missing: {', '.join(missing)}", where=str(path), hint=f"expected {COLUMNS}")
    stamp = schema.field("ts").type
    if not pa.types.is_timestamp(stamp) or stamp.tz is None:
        raise DataError(f"column 'ts' is {stamp}", where=str(path), hint="expected times with a time zone")


def _readings(rows: pa.Table, names: Any, symbols: Any, path: Path, source: str) -> pa.Table:
    point, quality = rows["point"].cast(pa.string()), rows["quality"].cast(pa.string())
    if rows["ts"].null_count or point.null_count or quality.null_count:
        raise DataError("rows without time, point or quality", where=str(path))
    strange = sorted({str(word) for word in quality.unique().to_pylist()} - set(QUALITIES))
    if strange:
        raise DataError(f"quality {strange[:5]}", where=str(path), hint=f"expected one of {QUALITIES}")
    index: Any = pc.index_in(point, value_set=names)
    if index.null_count:
        unknown = sorted({str(name) for name in point.filter(pc.is_null(index)).unique().to_pylist()})
        raise DataError(f"{POINTS} does not list {', '.join(unknown[:5])}", where=str(path))
    value = rows["value"].cast(pa.float64())
    known: Any = pc.is_finite(value)
    finite = known.fill_null(False)
    columns: dict[str, Any] = {
        "ts": rows["ts"].cast(STAMP, safe=False),
        "point": point,
        "value": pc.if_else(finite, value, pa.scalar(None, pa.float64())),
        "unit": symbols.take(index.combine_chunks()),
        "quality": pc.if_else(finite, quality, "bad"),
        "source": pa.repeat(source, rows.num_rows),
    }
    return pa.table(columns)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
