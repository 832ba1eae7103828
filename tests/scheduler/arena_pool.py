"""A small pool of synthetic days, made once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from facility.site import load_site
from scheduler.arena.pool import Pool
from scheduler.arena.scenarios import Window
from twin.plant import plant_control
from twin.signals import Signals, synthetic_signals
from twin.traces import scale_trace, synthetic_trace

START = datetime(2023, 5, 1, tzinfo=UTC)
DAYS = 1


@cache
def signals(zone: str = "US-CAL-CISO") -> Signals:
    return synthetic_signals(zone, START - timedelta(days=20), 50.0, seed=1)


@cache
def window(index: int, zone: str = "US-CAL-CISO") -> Window:
    """A day of arrivals that begins at hour ``index`` after START."""
    start = START + timedelta(hours=index)
    jobs = scale_trace(
        synthetic_trace(seed=1, jobs=200),
        start=start,
        days=DAYS,
        gpus_total=load_site().hall.gpus,
        utilisation=0.7,
        slack_h=24.0,
        flexible=0.7,
        seed=index,
    )
    return Window(signals(zone), start, jobs)


@cache
def pool(*, shield: bool = False) -> Pool:
    """Three windows, one of them of another zone."""
    hall = load_site().hall
    windows = [window(0), window(30), window(7, "DE")]
    return Pool.of(hall, windows, plant_control("rule", hall), steps=96 * DAYS, shield=shield)
