"""The DuckDB store: one writer process owns the file; it opens no socket.

An append returns after its transaction is on disk: that is the acknowledgement. DuckDB runs with external access off
and its configuration locked, so that no query can read or write another file.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from facility import queries
from facility.errors import DataError, StoreError, StoreLocked
from facility.records import Decision, Reading, Verdict

_TABLES = (
    "CREATE TABLE IF NOT EXISTS readings (ts TIMESTAMPTZ NOT NULL, point VARCHAR NOT NULL, value DOUBLE, unit VARCHAR"
    " NOT NULL, quality VARCHAR NOT NULL, source VARCHAR NOT NULL, received_at TIMESTAMPTZ NOT NULL)",
    "CREATE TABLE IF NOT EXISTS decisions (ts TIMESTAMPTZ NOT NULL, policy VARCHAR NOT NULL, policy_version VARCHAR NOT"
    " NULL, model_version VARCHAR NOT NULL, reason VARCHAR NOT NULL, payload VARCHAR NOT NULL)",
    "CREATE TABLE IF NOT EXISTS verdicts (ts TIMESTAMPTZ NOT NULL, point VARCHAR NOT NULL, wanted DOUBLE, value DOUBLE,"
    " kind VARCHAR NOT NULL, rule VARCHAR NOT NULL, detail VARCHAR NOT NULL, read_back DOUBLE, error VARCHAR NOT NULL)",
    "CREATE TABLE IF NOT EXISTS events (ts TIMESTAMPTZ NOT NULL, kind VARCHAR NOT NULL, subject VARCHAR NOT NULL,"
    " payload VARCHAR NOT NULL)",
    "CREATE TABLE IF NOT EXISTS ingested (digest VARCHAR NOT NULL, file VARCHAR NOT NULL, kind VARCHAR NOT NULL,"
    " readings BIGINT NOT NULL, ingested_at TIMESTAMPTZ NOT NULL, run VARCHAR)",
    "CREATE TABLE IF NOT EXISTS trace_jobs (trace VARCHAR NOT NULL, form VARCHAR NOT NULL, submit_s DOUBLE NOT NULL,"
    " duration_s DOUBLE NOT NULL, gpus BIGINT NOT NULL, run VARCHAR)",
)

_STAMP: pa.DataType = pa.timestamp("us", "UTC")
READINGS = pa.schema(
    {
        "ts": _STAMP,
        "point": pa.string(),
        "value": pa.float64(),
        "unit": pa.string(),
        "quality": pa.string(),
        "source": pa.string(),
    }
)
_QUALITIES = {"good", "bad", "uncertain"}


class Store:
    """The open store. Appends are serialised; each query runs on a cursor of its own, from any thread.

    Every row carries the run that wrote it: an emulated building may live through the same time twice.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, run: str) -> None:
        """Use ``Store.open``."""
        self._connection = connection
        self._run = run
        self._writing = threading.Lock()

    @classmethod
    def open(cls, path: Path, run: str = "") -> Store:
        """Open or make the file and own it for ``run``.

        Raises StoreLocked where another process owns it, StoreError where it cannot be opened.
        """
        _refuse_other_files(path)
        try:
            connection = duckdb.connect(str(path))
        except duckdb.Error as error:
            raise _explain(path, error) from error
        for table in _TABLES:
            connection.execute(table)
        for name in ("readings", "decisions", "verdicts", "events"):  # a store of an earlier version has none
            connection.execute(f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS run VARCHAR DEFAULT ''")
        _lock_down(connection)
        return cls(connection, run)

    def append_readings(self, readings: Sequence[Reading] | pa.Table | pa.RecordBatch) -> int:
        """Keep readings; returns how many, after they are on disk. Raises DataError for a table of another form."""
        table = _readings(readings)
        if table.num_rows:
            self._insert("readings", table)
        return int(table.num_rows)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Several appends that are kept as a whole or, where the block raises, not at all; other appends wait."""
        with self._writing, _told_apart("transaction"), self._connection.cursor() as cursor:
            cursor.begin()
            try:
                yield Transaction(cursor, self._run)
            except BaseException:
                cursor.rollback()
                raise
            cursor.commit()

    def append_decision(self, decision: Decision, payload: Mapping[str, Any]) -> None:
        """Keep one decision with all that it held."""
        row = {
            "ts": decision.at,
            "policy": decision.policy,
            "policy_version": decision.policy_version,
            "model_version": decision.model_version,
            "reason": decision.reason,
            "payload": json.dumps(payload, default=str),
        }
        self._insert("decisions", pa.Table.from_pylist([row]))

    def append_verdicts(self, at: datetime, verdicts: Sequence[tuple[Verdict, float | None, str]]) -> None:
        """Keep the guard's verdicts of one tick, each with the value read back and the error, where there was one."""
        rows = [
            {
                "ts": at,
                "point": verdict.command.point,
                "wanted": verdict.command.value,
                "value": verdict.value,
                "kind": verdict.kind.value,
                "rule": verdict.rule,
                "detail": verdict.detail,
                "read_back": read_back,
                "error": error,
            }
            for verdict, read_back, error in verdicts
        ]
        if rows:
            self._insert("verdicts", pa.Table.from_pylist(rows, schema=_VERDICTS))

    def append_event(self, at: datetime, kind: str, subject: str, payload: Mapping[str, Any]) -> None:
        """Keep anything else that happened."""
        row = {"ts": at, "kind": kind, "subject": subject, "payload": json.dumps(payload, default=str)}
        self._insert("events", pa.Table.from_pylist([row]))

    def query(self, name: str, **parameters: Any) -> pa.Table:
        """The answer to a named query; raises StoreError for an unknown one, wrong parameters, or too many rows."""
        query, bound = queries.bind(name, parameters)
        sql = query.sql if "LIMIT" in query.sql else f"{query.sql} LIMIT {queries.MAX_ROWS + 1}"
        with _told_apart(f"query {name}"), self._connection.cursor() as cursor:
            answer: pa.Table = cursor.sql(sql, params=bound).to_arrow_table()
        if answer.num_rows > queries.MAX_ROWS:
            hint = "ask for a shorter time, fewer points or longer buckets"
            raise StoreError(f"more than {queries.MAX_ROWS} rows", where=f"query {name}", hint=hint)
        return answer

    def counts(self, run: str | None = None) -> dict[str, int]:
        """How much was kept of ``run``, of all where it is None: readings, decisions, and verdicts by kind."""
        row: dict[str, int] = self.query("counts", run=run).to_pylist()[0]
        return row

    def close(self) -> None:
        """Close the file and let go of it."""
        with self._writing:  # an append in another thread is finished first
            self._connection.close()

    def _insert(self, name: str, table: pa.Table) -> None:
        with self._writing, _told_apart(f"append to {name}"), self._connection.cursor() as cursor:
            _insert(cursor, name, table, self._run)


class Transaction:
    """Appends within ``Store.transaction``; nothing is on disk before its block has ended."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, run: str) -> None:
        """Use ``Store.transaction``."""
        self._cursor = cursor
        self._run = run

    def append(self, name: str, rows: pa.Table) -> None:
        """Append to the table ``name``; raises DataError for readings of another form."""
        _insert(self._cursor, name, _readings(rows) if name == "readings" else rows, self._run)


def _insert(cursor: duckdb.DuckDBPyConnection, name: str, table: pa.Table, run: str) -> None:
    """Append by relation: a registered view would hold its Arrow table in memory until the transaction ends."""
    table = table.append_column("run", pa.repeat(run, table.num_rows))
    cursor.from_arrow(table.select(cursor.table(name).columns)).insert_into(name)


def _readings(readings: Sequence[Reading] | pa.Table | pa.RecordBatch) -> pa.Table:
    """Readings as rows of their table; raises DataError for a table of another form."""
    table = _conform(readings) if isinstance(readings, pa.Table | pa.RecordBatch) else _table(readings)
    table = table.set_column(table.column_names.index("value"), "value", _finite(table["value"]))
    now: Any = pa.scalar(datetime.now(UTC), _STAMP)
    return table.append_column("received_at", pa.repeat(now, table.num_rows))


_VERDICTS = pa.schema(
    {
        "ts": _STAMP,
        "point": pa.string(),
        "wanted": pa.float64(),
        "value": pa.float64(),
        "kind": pa.string(),
        "rule": pa.string(),
        "detail": pa.string(),
        "read_back": pa.float64(),
        "error": pa.string(),
    }
)


def _refuse_other_files(path: Path) -> None:
    """DuckDB would open a CSV or Parquet file as a view in memory, and lose what is appended."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return  # there is none yet, or DuckDB says why it cannot be opened
    if head and head[8:12] != b"DUCK":
        raise StoreError("this file is no DuckDB database", where=str(path), hint="name another file for the store")


@contextlib.contextmanager
def _told_apart(where: str) -> Iterator[None]:
    """Errors of the database as StoreError: a closed store, a full disk."""
    try:
        yield
    except duckdb.Error as error:
        raise StoreError(_first_line(error), where=where, hint="is the store open, and is there free space?") from error


def _lock_down(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("SET GLOBAL TimeZone = 'UTC'")  # GLOBAL: cursors have sessions of their own
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _table(readings: Sequence[Reading]) -> pa.Table:
    columns: dict[str, Any] = {
        "ts": [reading.measured_at for reading in readings],
        "point": [reading.point for reading in readings],
        "value": [reading.value for reading in readings],
        "unit": [reading.unit for reading in readings],
        "quality": [reading.quality.value for reading in readings],
        "source": [reading.source for reading in readings],
    }
    return pa.table(columns, schema=READINGS)


def _conform(table: pa.Table | pa.RecordBatch) -> pa.Table:
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    missing = [name for name in READINGS.names if name not in table.column_names]
    if missing:
        raise DataError(
            f"columns are missing: {', '.join(missing)}", where="readings", hint=f"expected {READINGS.names}"
        )
    stamps = table.schema.field("ts").type
    if not pa.types.is_timestamp(stamps) or stamps.tz is None:
        raise DataError(f"column ts is {stamps}", where="readings", hint="expected timestamps with a time zone")
    try:
        table = table.select(READINGS.names).cast(READINGS)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise DataError(
            f"cannot be read: {_first_line(error)}", where="readings", hint=f"expected {READINGS}"
        ) from error
    _check_values(table)
    return table


def _check_values(table: pa.Table) -> None:
    empty = [name for name in READINGS.names if name != "value" and table[name].null_count]
    if empty:
        raise DataError(f"nulls in {', '.join(empty)}", where="readings", hint="only value may be null")
    strange = {str(value) for value in table["quality"].unique().to_pylist()} - _QUALITIES
    if strange:
        raise DataError(f"quality {sorted(strange)}", where="readings", hint=f"expected one of {sorted(_QUALITIES)}")


def _finite(values: Any) -> Any:
    """Null where a value is not a number or infinite: missing is missing, and would else spoil every mean."""
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))


def _explain(path: Path, error: duckdb.Error) -> StoreError:
    """DuckDB tells in words alone why a file cannot be opened; where the kernel says, it names the process by PID."""
    text = _first_line(error)
    if "Conflicting lock" in text:
        holder = text[text.find("Conflicting lock") :].partition(". See also")[0]
        hint = "one process owns the store: ask it through the API, or stop it first"
        return StoreLocked(f"another process has it open: {holder}", where=str(path), hint=hint)
    hint = "check path and free space; a damaged file: move it away to begin anew, and keep it for rescue"
    return StoreError(f"cannot open: {text}", where=str(path), hint=hint)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
