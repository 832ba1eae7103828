"""Takes files into a store: finds out what each is, reads it in batches, and keeps it whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from facility.errors import DataError
from facility.ingest.batch import BATCH_ROWS, READINGS, STAMP, Account, Batch, Format
from facility.ingest.source import Source, find
from facility.store import Store, Transaction

log = logging.getLogger("eco.ingest")

GROUP_ROWS = 500_000  # small files are kept together: a transaction each would spend its time on the disk


@dataclass(slots=True)
class Result:
    """What became of all files."""

    ingested: list[Account] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # taken in before
    failed: list[tuple[str, DataError]] = field(default_factory=list)
    points: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Read:
    """A small file that was read whole and waits for its transaction."""

    identity: str
    account: Account
    batches: list[Batch]


class Intake:
    """Files into one store. A file that fails leaves nothing behind, and the others are kept."""

    def __init__(
        self, store: Store, formats: Sequence[Format], *, again: bool = False, done: Callable[[str], None] | None = None
    ) -> None:
        """``again`` takes in files that were taken in before; ``done`` is told the name of every file left behind."""
        self._store = store
        self._formats = tuple(formats)
        self._again = again
        self._done = done
        self._known = set(store.query("ingested")["digest"].to_pylist())
        self._waiting: list[_Read] = []
        self.result = Result()

    def take(self, paths: Iterable[Path]) -> Result:
        """Take in every file; raises StoreError where the store fails, never an error of a file."""
        for found in chain.from_iterable(find(path) for path in paths):
            if isinstance(found, DataError):
                self._fail(found.where, found)
            else:
                self._take(found)
        self._flush()
        return self.result

    def _take(self, source: Source) -> None:
        try:
            kind = recognise(source, self._formats)
            identity = kind.identity(source)
            if not self._again and identity in self._known:
                self.result.skipped.append(source.name)
            else:
                account = Account(source.name, kind.kind)
                self._keep(identity, account, kind.read(source, account))
                self._known.add(identity)
        except DataError as error:
            self._fail(source.name, error)
        if self._done is not None:
            self._done(source.name)

    def _keep(self, identity: str, account: Account, batches: Iterator[Batch]) -> None:
        """A small file waits for others; a large one has a transaction of its own, batch after batch."""
        read: list[Batch] = []
        for batch in batches:
            read.append(batch)
            if sum(one.rows.num_rows for one in read) > BATCH_ROWS:
                self._flush()
                points = set[str]()
                with self._store.transaction() as transaction:
                    _write(transaction, identity, account, chain(read, batches), points)
                self._settle(account, points)
                return
        self._waiting.append(_Read(identity, account, read))
        if sum(batch.rows.num_rows for one in self._waiting for batch in one.batches) > GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        points = [set[str]() for _ in waiting]
        with self._store.transaction() as transaction:
            for one, seen in zip(waiting, points, strict=True):
                _write(transaction, one.identity, one.account, one.batches, seen)
        for one, seen in zip(waiting, points, strict=True):
            self._settle(one.account, seen)

    def _settle(self, account: Account, points: set[str]) -> None:
        self.result.ingested.append(account)
        self.result.points |= points

    def _fail(self, name: str, error: DataError) -> None:
        log.debug("%s", name, exc_info=error)
        self.result.failed.append((name, error))


def recognise(source: Source, formats: Sequence[Format]) -> Format:
    """The format of a file, by its content; raises DataError that names what was tried."""
    for kind in formats:
        if kind.matches(source):
            return kind
    begin = source.head_lines[0][:60] if source.head_lines else ""
    shown = f"it begins with {begin!r}" if begin.strip() else "it is empty" if not source.head else "it is binary"
    tried = ", ".join(kind.kind for kind in formats)
    hint = "any other CSV needs --mapping; see docs/ingest.md"
    raise DataError(f"of no known kind: {shown}; tried {tried}", where=source.name, hint=hint)


def _write(
    transaction: Transaction, identity: str, account: Account, batches: Iterable[Batch], points: set[str]
) -> None:
    for table, rows in batches:
        if table == READINGS:
            _tell(account, rows, points)
        else:
            account.other_rows += rows.num_rows
        transaction.append(table, rows)
    row: dict[str, Any] = {
        "digest": [identity],
        "file": [account.file],
        "kind": [account.kind],
        "readings": [account.readings],
        "ingested_at": pa.array([datetime.now(UTC)], STAMP),
    }
    transaction.append("ingested", pa.table(row))


def _tell(account: Account, rows: pa.Table, points: set[str]) -> None:
    """Add a table of readings to the account of its file."""
    if not rows.num_rows:
        return
    account.readings += rows.num_rows
    words: Any = rows["quality"].cast(pa.string()).value_counts()
    for entry in words.to_pylist():
        setattr(account, entry["values"], getattr(account, entry["values"]) + entry["counts"])
    points.update(str(name) for name in pc.unique(rows["point"]).to_pylist())
    span: Any = pc.min_max(rows["ts"]).as_py()
    account.first = span["min"] if account.first is None else min(account.first, span["min"])
    account.last = span["max"] if account.last is None else max(account.last, span["max"])
