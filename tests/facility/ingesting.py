"""What the tests of ingest share: files taken into a store, and what is then in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from facility.ingest import Format, Intake, Result
from facility.store import Store


def take(folder: Path, formats: Sequence[Format], *paths: Path, again: bool = False) -> Result:
    """Take files into the store in ``folder``."""
    store = Store.open(folder / "store.duckdb")
    try:
        return Intake(store, formats, again=again).take(paths)
    finally:
        store.close()


def select(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Any question to the closed store in ``folder``."""
    with duckdb.connect(str(folder / "store.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).fetchall()


def readings(folder: Path) -> list[tuple[datetime, str, float | None, str, str]]:
    """Time, point, value, unit and quality of every reading, in the order of keeping."""
    return select(folder, "SELECT ts, point, value, unit, quality FROM readings ORDER BY rowid")
