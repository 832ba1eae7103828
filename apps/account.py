"""What a run used and emitted, settled from the meters in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray
from facility.site import Roles
from facility.store import Store
from twin.signals import Signals

SLICE_S = 900.0


@dataclass(frozen=True, slots=True)
class Summary:
    """One run in figures; a quantity that was not measured is None."""

    run: str
    start: str
    end: str
    ticks: int
    ticks_missed: int  # that were due in the run's span and at which nothing was decided
    decisions: int
    verdicts: dict[str, int]
    readings: int
    carbon_kg: float | None
    pue: float | None
    it_kwh: float | None
    facility_kwh: float | None
    effective_ci_g_kwh: float | None
    coverage_pct: float | None  # of the run's span, for which every meter has readings; energy and carbon are of it
    signals: str

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def settle(
    store: Store, roles: Roles, signals: Signals, run: str, start: datetime, end: datetime, tick_s: float = SLICE_S
) -> Summary:
    """Energy from the counters, carbon as energy x intensity of each quarter-hour, counts from the store.

    All of it over the span for which every meter has readings: a meter that is read later than the others would
    otherwise bias PUE.
    """
    counts = store.counts(run)
    facility = _counters(store, run, (roles.facility_energy_wh,), start, end)
    it = _counters(store, run, roles.it_energy_wh, start, end)
    span = _common_span([*(facility or ()), *(it or ())], (end - start).total_seconds())
    facility_kwh, it_kwh = _slices_kwh(facility, span), _slices_kwh(it, span)
    carbon_kg = None if facility_kwh is None else _carbon_kg(facility_kwh, signals, start, span)
    total, of_it = _total(facility_kwh), _total(it_kwh)
    return Summary(
        run=run,
        start=start.isoformat(),
        end=end.isoformat(),
        ticks=counts["decisions"],
        ticks_missed=max(ticks_due(start, end, tick_s) - counts["decisions"], 0),
        decisions=counts["decisions"],
        verdicts={kind: counts[kind] for kind in ("accepted", "clipped", "rejected")},
        readings=counts["readings"],
        carbon_kg=carbon_kg,
        pue=total / of_it if total is not None and of_it else None,
        it_kwh=of_it,
        facility_kwh=total,
        effective_ci_g_kwh=1000.0 * carbon_kg / total if carbon_kg is not None and total else None,
        coverage_pct=None if total is None or end <= start else 100.0 * span.length_s / (end - start).total_seconds(),
        signals="synthetic" if signals.carbon.synthetic else signals.carbon.source,
    )


def ticks_due(start: datetime, end: datetime, tick_s: float) -> int:
    """How many multiples of ``tick_s`` since midnight UTC lie after ``start`` and up to ``end``."""
    midnight = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    passed = [int((when - midnight).total_seconds() // tick_s) for when in (start, end)]
    return max(passed[1] - passed[0], 0)


@dataclass(frozen=True, slots=True, eq=False)
class Counter:
    """One energy counter: seconds since the run's start, and Wh made monotone."""

    at_s: FloatArray
    count_wh: FloatArray


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds since the run's start."""

    first_s: float
    last_s: float

    @property
    def length_s(self) -> float:
        """How long it is; 0 where it is empty."""
        return max(self.last_s - self.first_s, 0.0)

    def edges_s(self) -> FloatArray:
        """Edges of its quarter-hours, which are those of the run."""
        inner = np.arange(np.floor(self.first_s / SLICE_S) + 1, np.ceil(self.last_s / SLICE_S)) * SLICE_S
        return np.concatenate([[self.first_s], inner, [self.last_s]])


def _total(slices_kwh: FloatArray | None) -> float | None:
    return None if slices_kwh is None else float(slices_kwh.sum())


def _common_span(counters: Sequence[Counter], run_s: float) -> Span:
    first_s = max((counter.at_s[0] for counter in counters), default=0.0)
    last_s = min((counter.at_s[-1] for counter in counters), default=0.0)
    return Span(max(float(first_s), 0.0), min(float(last_s), run_s))


def _slices_kwh(counters: Sequence[Counter] | None, span: Span) -> FloatArray | None:
    """kWh of each quarter-hour of ``span`` over all counters; None where there is no span or a counter is missing."""
    if counters is None or not span.length_s:
        return None
    edges_s = span.edges_s()
    steps_wh = [np.diff(np.interp(edges_s, counter.at_s, counter.count_wh)) for counter in counters]
    return np.asarray(np.sum(steps_wh, axis=0) / 1000.0, dtype=float)


def _counters(store: Store, run: str, points: Sequence[str], start: datetime, end: datetime) -> list[Counter] | None:
    """Every counter, or None where one of them is not configured or has fewer than two readings."""
    if not points or not all(points):
        return None
    counters = [_counter(store, run, point, start, end) for point in points]
    return counters if all(counter.at_s.size >= 2 for counter in counters) else None


def _counter(store: Store, run: str, point: str, start: datetime, end: datetime) -> Counter:
    """A fall of the count is a reset: what came before it is kept."""
    until = end + timedelta(seconds=SLICE_S)  # the reading after the end closes the last slice
    table = store.query("series", point=point, start=start, end=until, run=run)
    values = np.asarray(table["value"].to_pylist(), dtype=float)
    times = np.array([(stamp - start).total_seconds() for stamp in table["ts"].to_pylist() if stamp is not None])
    known = np.isfinite(values)
    times, values = times[known], values[known]
    times, values = _without_dips(times, values)
    steps = np.clip(np.diff(values), 0.0, None)
    return Counter(times, np.concatenate([[0.0], np.cumsum(steps)]) if values.size else values)


def _without_dips(times: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Without single samples that fall and are made good by the next: no meter counts back, a bad answer does."""
    if values.size < 3:
        return times, values
    is_dip = np.zeros(values.size, dtype=bool)
    is_dip[1:-1] = (values[1:-1] < values[:-2]) & (values[2:] >= values[:-2])
    return times[~is_dip], values[~is_dip]


def _carbon_kg(slices_kwh: FloatArray, signals: Signals, start: datetime, span: Span) -> float | None:
    """Settled afterwards with the published intensities; None where the signal does not cover the run."""
    try:
        starts = [start + timedelta(seconds=float(edge)) for edge in span.edges_s()[:-1]]
        intensity_g_kwh = np.array([signals.carbon.at(when) for when in starts])
    except DataError:
        return None
    return float((slices_kwh * intensity_g_kwh).sum() / 1000.0)
