"""What a job would have used if it had started at once, at full power and without a pause."""

from __future__ import annotations

from datetime import datetime, timedelta

from facility.records import Forecast
from scheduler.cluster.ledger import Baseline
from scheduler.cluster.outlook import mean_of
from scheduler.cluster.profiler import JobCurve


def fix_baseline(
    start: datetime,
    work_s: float,
    gpus: int,
    curve: JobCurve,
    host_w: float,
    forecast: Forecast | None,
    *,
    is_measured: bool,
) -> Baseline:
    """Fixed at ``start`` with what is known then; ``host_w`` is each GPU's share of its host."""
    gpu_w = curve.power_w(None)
    mean = low = high = None
    if forecast is not None:
        mean, low, high = mean_of(forecast, start, start + timedelta(seconds=work_s))
    return Baseline(
        start,
        work_s,
        gpu_w,
        gpu_w * (1.0 - curve.band),
        gpu_w * (1.0 + curve.band),
        (gpu_w + host_w) * gpus * work_s / 3600.0,
        mean,
        low,
        high,
        "profile" if is_measured else "class curve",
        None if forecast is None else forecast.issued_at,
        "" if forecast is None else forecast.source,
    )
