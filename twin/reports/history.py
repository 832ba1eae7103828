"""The span in buckets, for charts and the tables behind them; nothing where nothing was read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from facility.records import FloatArray
from twin.reports.inputs import Inputs
from twin.reports.metered import Metered
from twin.reports.spans import Spans

_BUCKETS_S = (300.0, 900.0, 3600.0, 6 * 3600.0, 86400.0, 7 * 86400.0)
_AT_MOST = 62


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Means and sums of buckets [n] that begin at ``start``; NaN where there is nothing to say."""

    start: tuple[datetime, ...]
    step_s: float
    facility_kw: FloatArray
    it_kw: FloatArray
    pue: FloatArray
    carbon_kg_h: FloatArray
    intensity_g_kwh: FloatArray
    read_pct: FloatArray  # of the bucket, in which facility and IT were both read


def history(inputs: Inputs) -> History:
    """Buckets of the shortest usual length that makes no more than two months of days."""
    step_s = next((one for one in _BUCKETS_S if inputs.span_s / one <= _AT_MOST), _BUCKETS_S[-1])
    edges = np.append(np.arange(0.0, inputs.span_s, step_s), inputs.span_s)
    facility, found = inputs.meters.get("facility"), inputs.it()
    it = None if found is None else found[0]
    both = facility.read.meet(it.read) if facility is not None and it is not None else None
    drawn_kwh, it_kwh = _steps(facility, both, edges), _steps(it, both, edges)
    hours = None if both is None else np.diff(both.seconds_before(edges)) / 3600.0
    carbon_kg, seen_kwh, seen_h = _carbon(inputs, facility, edges)
    none = np.full(len(edges) - 1, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return History(
            start=tuple(inputs.start + timedelta(seconds=float(edge)) for edge in edges[:-1]),
            step_s=step_s,
            facility_kw=_mean(facility, edges),
            it_kw=_mean(it, edges),
            pue=np.where(it_kwh > 0, drawn_kwh / it_kwh, np.nan),
            carbon_kg_h=np.where(seen_h > 0, carbon_kg / seen_h, np.nan),
            intensity_g_kwh=np.where(seen_kwh > 0, 1e3 * carbon_kg / seen_kwh, np.nan),
            read_pct=none if hours is None else 100.0 * 3600.0 * hours / np.diff(edges),
        )


def _steps(meter: Metered | None, spans: Spans | None, edges: FloatArray) -> FloatArray:
    if meter is None or spans is None:
        return np.full(len(edges) - 1, np.nan)
    return meter.steps(spans, edges)


def _mean(meter: Metered | None, edges: FloatArray) -> FloatArray:
    """Mean power of each bucket over the time in which it was read."""
    if meter is None:
        return np.full(len(edges) - 1, np.nan)
    hours = np.diff(meter.read.seconds_before(edges)) / 3600.0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(hours > 0, meter.steps(meter.read, edges) / hours, np.nan)


def _carbon(inputs: Inputs, facility: Metered | None, edges: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Carbon, the energy behind it and the hours of both in each bucket, location-based."""
    intensity = inputs.location
    if facility is None or intensity is None:
        nothing = np.zeros(len(edges) - 1)
        return nothing, nothing, nothing
    spans = facility.read.meet(intensity.spans)
    fine = np.unique(
        np.concatenate([edges, intensity.edges_s[(intensity.edges_s > 0) & (intensity.edges_s < edges[-1])]])
    )
    kwh = facility.steps(spans, fine)
    index = np.clip(np.searchsorted(intensity.edges_s, fine[:-1], side="right") - 1, 0, len(intensity.g_kwh) - 1)
    kg = kwh * np.nan_to_num(intensity.g_kwh[index]) / 1e3
    bucket = np.searchsorted(edges, fine[:-1], side="right") - 1
    count = len(edges) - 1
    hours = np.diff(spans.seconds_before(edges)) / 3600.0
    return _binned(bucket, kg, count), _binned(bucket, kwh, count), hours


def _binned(bucket: NDArray[np.intp], value: FloatArray, count: int) -> FloatArray:
    return np.asarray(np.bincount(bucket, value, count), dtype=np.float64)
