"""How fast the store acknowledges readings, and how long a reader waits meanwhile."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from facility.records import Quality, Reading
from facility.store import Store
from facility.tables import READINGS

BATCH = 10_000
POINTS = 1000
START = datetime(2023, 1, 1, tzinfo=UTC)


def bench_store(rows: int) -> dict[str, Any]:
    """Write ``rows`` readings in durable batches, as Arrow and as records, while a reader queries; rates, latencies."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "bench.duckdb")
        try:
            return _measure(store, rows)
        finally:
            store.close()


def _measure(store: Store, rows: int) -> dict[str, Any]:
    lists = [_batch(number) for number in range(max(rows // BATCH, 1))]
    tables = [_arrow(batch) for batch in lists]
    latency_ms: list[float] = []
    done = threading.Event()
    reader = threading.Thread(target=_read, args=(store, done, latency_ms))
    reader.start()
    arrow_s, lists_s = _timed(store, tables), _timed(store, lists)
    done.set()
    reader.join()
    quantiles = np.percentile(latency_ms, [50, 99]) if latency_ms else [float("nan")] * 2
    written = len(lists) * BATCH
    return {
        "rows": 2 * written,
        "batch": BATCH,
        "rows_per_s": written / arrow_s,
        "rows_per_s_from_readings": written / lists_s,
        "queries": len(latency_ms),
        "query_p50_ms": float(quantiles[0]),
        "query_p99_ms": float(quantiles[1]),
    }


def _timed(store: Store, batches: Sequence[pa.Table] | Sequence[list[Reading]]) -> float:
    began = time.perf_counter()
    for batch in batches:
        store.append_readings(batch)
    return time.perf_counter() - began


def _arrow(batch: list[Reading]) -> pa.Table:
    """The same as other processes send it."""
    return pa.table(
        {
            "ts": [reading.measured_at for reading in batch],
            "point": [reading.point for reading in batch],
            "value": [reading.value for reading in batch],
            "unit": [reading.unit for reading in batch],
            "quality": [reading.quality.value for reading in batch],
            "source": [reading.source for reading in batch],
        },
        schema=READINGS,
    )


def _batch(number: int) -> list[Reading]:
    first = START + timedelta(seconds=number * BATCH // POINTS * 60)
    return [
        Reading(
            f"bench-{i % POINTS}/power_w", float(i), "W", first + timedelta(minutes=i // POINTS), Quality.GOOD, "bench"
        )
        for i in range(BATCH)
    ]


def _read(store: Store, done: threading.Event, latency_ms: list[float]) -> None:
    while not done.is_set():
        began = time.perf_counter()
        store.query("series", point="bench-1/power_w", start=START, end=START + timedelta(days=1))
        latency_ms.append(1000.0 * (time.perf_counter() - began))
