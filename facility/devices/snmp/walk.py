"""Reading the columns of SNMP tables with GETBULK: in bounded steps, and taken up again where a deadline cut it off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from facility.errors import DeviceError, DeviceTimeout

FIRST_STEP = 20  # rows a request; grows where the agent keeps up, shrinks where it does not
LONGEST_STEP = 50
MAX_ROWS = 20_000  # a column: more is a loop or the wrong OID

Bulk = Callable[[str, int], Awaitable[Sequence[tuple[str, Any]]]]
"""(OID to go on from, rows) -> the (OID, value) pairs that follow; no pairs at the end of the agent's view."""


@dataclass(slots=True)
class _Column:
    rows: dict[str, Any] = field(default_factory=dict)  # by what follows the prefix
    cursor: str = ""
    is_complete: bool = False


class Walker:
    """Columns by prefix. What was read stays when a call is cut off, so that the next one goes on from there."""

    def __init__(self, bulk: Bulk, where: str) -> None:
        self._bulk = bulk
        self._where = where
        self._columns: dict[str, _Column] = {}
        self._step = FIRST_STEP

    @property
    def has_begun(self) -> bool:
        """Whether anything was read that is still to be made use of."""
        return any(column.rows or column.is_complete for column in self._columns.values())

    async def column(self, prefix: str) -> dict[str, Any]:
        """Every value below ``prefix``, by the rest of its OID. Raises DeviceError, DeviceTimeout."""
        column = self._columns.setdefault(prefix, _Column(cursor=prefix))
        while not column.is_complete:
            self._take(column, prefix, await self._ask(column.cursor))
        return column.rows

    async def _ask(self, cursor: str) -> Sequence[tuple[str, Any]]:
        step = self._step
        self._step = max(1, step // 2)  # until the answer is there: a cut-off counts as too much at once
        try:
            pairs = await self._bulk(cursor, step)
        except DeviceTimeout:
            raise
        except DeviceError:
            if step == 1:
                raise
            return await self._ask(cursor)
        self._step = min(LONGEST_STEP, step * 2)
        return pairs

    def _take(self, column: _Column, prefix: str, pairs: Sequence[tuple[str, Any]]) -> None:
        column.is_complete = not pairs
        for oid, value in pairs:
            if not oid.startswith(prefix + "."):
                column.is_complete = True
                return
            if _numbers(oid) <= _numbers(column.cursor):
                raise DeviceError(
                    f"the agent goes round in circles at {oid}", where=self._where, hint="update its firmware"
                )
            column.cursor = oid
            column.rows[oid[len(prefix) + 1 :]] = value
            if len(column.rows) > MAX_ROWS:
                raise DeviceError(f"more than {MAX_ROWS} rows below {prefix}", where=self._where)

    def forget(self) -> None:
        """Begin anew with the next call."""
        self._columns.clear()


def _numbers(oid: str) -> tuple[int, ...]:
    return tuple(int(part) for part in oid.split("."))
