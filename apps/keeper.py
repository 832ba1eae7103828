"""What waits for the store: readings and audit rows, kept in order until they are on disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

from facility.audit import AuditEntry
from facility.errors import StoreError
from facility.records import Reading
from facility.rows import Judged
from facility.store import Store

log = logging.getLogger("eco.keeper")

FLUSH_S = 0.2  # wall seconds; readings of this long share one durable commit
PENDING_MAX = 1_000_000  # readings that wait for a store that does not take them; then the oldest are dropped, and said


class Keeper:
    """Hands readings and audit rows to the store; what it does not take waits for the next time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._readings: list[Reading] = []
        self._audit: list[AuditEntry] = []
        self._turn = asyncio.Lock()
        self.acknowledged = 0  # readings on disk
        self.audited = 0  # audit rows on disk
        self.dropped = 0
        self.problem = ""  # of the store, in words; empty while it takes what comes

    @property
    def waiting(self) -> int:
        """Readings that are not on disk yet."""
        return len(self._readings)

    async def offer(self, readings: list[Reading]) -> None:
        """Queue readings; never waits for the store."""
        self._readings.extend(readings)

    def note(self, entry: AuditEntry) -> None:
        """Queue an audit row: for acts that must not wait for the store, as giving control back."""
        self._audit.append(entry)

    async def audit(self, entries: Sequence[AuditEntry]) -> None:
        """Keep audit rows now, after those that wait; raises StoreError where that cannot be: then nothing is done."""
        async with self._turn:
            await self._commit_audit()
            await asyncio.to_thread(self._store.append_audit, entries)
        self.audited += len(entries)

    async def verdicts(self, at: datetime, verdicts: Sequence[Judged]) -> None:
        """Keep verdicts that came between ticks; raises StoreError where that is not possible."""
        async with self._turn:
            await asyncio.to_thread(self._store.append_verdicts, at, verdicts)

    async def commit(self) -> None:
        """Keep all that waits."""
        async with self._turn:
            await self._commit_audit()
            await self._commit_readings()

    async def _commit_audit(self) -> None:
        rows, self._audit = self._audit, []
        if not rows:
            return
        try:
            await asyncio.to_thread(self._store.append_audit, rows)
        except StoreError as error:
            self._audit = [*rows, *self._audit]
            self.problem = f"audit rows wait: {error}"
            log.error("%s", self.problem)
        else:
            self.audited += len(rows)

    async def _commit_readings(self) -> None:
        batch, self._readings = self._readings, []
        if not batch:
            return
        try:
            self.acknowledged += await asyncio.to_thread(self._store.append_readings, batch)
        except StoreError as error:
            self._readings = [*batch, *self._readings]
            lost = max(len(self._readings) - PENDING_MAX, 0)
            del self._readings[:lost]
            self.dropped += lost
            self.problem = f"readings wait, {self.dropped} were dropped: {error}"
            log.error("%s", self.problem)
        else:
            self.problem = f"{len(self._audit)} audit rows wait" if self._audit else ""
