"""A small hall, a made-up grid and a few jobs, so that a benchmark takes a second or two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from facility.site import Site, load_site
from scheduler.evaluate import BenchmarkConfig
from twin.signals import Signals, synthetic_signals
from twin.traces import Trace, synthetic_trace

START = datetime(2023, 5, 1, tzinfo=UTC)


def site() -> Site:
    return load_site()


def signals() -> Signals:
    return synthetic_signals("US-CAL-CISO", START - timedelta(days=20), 40.0, seed=1)


def trace() -> Trace:
    return synthetic_trace(seed=1, jobs=200, days=4.0)


def config(**changes: object) -> BenchmarkConfig:
    fields: dict[str, object] = {"carbon": (), "weather": (), "jobs": "none", "start": START, "site": site(), "days": 4}
    return BenchmarkConfig(**(fields | changes))  # type: ignore[arg-type]
