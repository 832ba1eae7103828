"""The DuckDB store: one writer process owns the file; it opens no socket.

An append returns after its transaction is on disk: that is the acknowledgement. DuckDB runs with external access off
and its configuration locked, so that no query can read or write another file.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from facility import queries, rows
from facility.audit import AuditEntry
from facility.errors import DataError, StoreError, StoreLocked
from facility.records import Decision, Reading
from facility.tables import QUALITIES, READINGS, STAMP, TABLES

BATCH_ROWS = 200_000  # read at a time


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
    def open(cls, path: Path, run: str = "") -> Self:
        """Open or make the file and own it for ``run``.

        Raises StoreLocked where another process owns it, StoreError where it cannot be opened.
        """
        _refuse_other_files(path)
        try:
            connection = duckdb.connect(str(path))
        except duckdb.Error as error:
            raise _explain(path, error) from error
        for table in TABLES:
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
        self._insert("decisions", rows.decision_rows(decision, payload))

    def append_verdicts(self, at: datetime, verdicts: Sequence[rows.Judged]) -> None:
        """Keep the guard's verdicts of one moment, each with the value read back and the error, where there was one."""
        if verdicts:
            self._insert("verdicts", rows.verdict_rows(at, verdicts))

    def append_tick(
        self, decision: Decision, payload: Mapping[str, Any], verdicts: Sequence[rows.Judged], inputs: bytes
    ) -> None:
        """Keep a decision, its verdicts and what it was made on (packed), all or nothing."""
        with self.transaction() as kept:
            kept.append("inputs", rows.input_rows(decision.at, inputs))
            kept.append("decisions", rows.decision_rows(decision, payload))
            if verdicts:
                kept.append("verdicts", rows.verdict_rows(decision.at, verdicts))

    def append_event(self, at: datetime, kind: str, subject: str, payload: Mapping[str, Any]) -> None:
        """Keep anything else that happened."""
        self._insert("events", rows.event_rows(at, kind, subject, payload))

    def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Keep acts of persons and of the service; nothing here or elsewhere changes or removes a row."""
        if entries:
            self._insert("audit", rows.audit_rows(entries))

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

    @contextlib.contextmanager
    def batches(self, sql: str, parameters: Mapping[str, Any]) -> Iterator[pa.RecordBatchReader]:
        """The rows of a question of the product's own, a batch at a time: more of them than memory should hold."""
        with _told_apart("read"), self._connection.cursor() as cursor:
            yield cursor.sql(sql, params=dict(parameters)).to_arrow_reader(BATCH_ROWS)

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file, so that room of deleted rows is used again."""
        with self._writing, _told_apart("checkpoint"), self._connection.cursor() as cursor:
            cursor.execute("CHECKPOINT")

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

    def execute(self, sql: str, parameters: Mapping[str, Any]) -> None:
        """A statement of the product's own; what a person or a device says goes into ``parameters``."""
        self._cursor.execute(sql, dict(parameters))

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
    now: Any = pa.scalar(datetime.now(UTC), STAMP)
    return table.append_column("received_at", pa.repeat(now, table.num_rows))


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
    strange = {str(value) for value in table["quality"].unique().to_pylist()} - QUALITIES
    if strange:
        raise DataError(f"quality {sorted(strange)}", where="readings", hint=f"expected one of {sorted(QUALITIES)}")


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
