"""What a run used and emitted, settled from the meters in the store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
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
    decisions: int
    verdicts: dict[str, int]
    readings: int
    carbon_kg: float | None
    pue: float | None
    it_kwh: float | None
    facility_kwh: float | None
    effective_ci_g_kwh: float | None
    signals: str

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def settle(store: Store, roles: Roles, signals: Signals, run: str, start: datetime, end: datetime) -> Summary:
    """Energy from the counters, carbon as energy x intensity of each quarter-hour, counts from the store."""
    counts = store.counts(start)
    facility_kwh = _slices_kwh(store, (roles.facility_energy_wh,), start, end)
    it_kwh = _slices_kwh(store, roles.it_energy_wh, start, end)
    carbon_kg = None if facility_kwh is None else _carbon_kg(facility_kwh, signals, start, end)
    total, it = _total(facility_kwh), _total(it_kwh)
    return Summary(
        run=run,
        start=start.isoformat(),
        end=end.isoformat(),
        ticks=counts["decisions"],
        decisions=counts["decisions"],
        verdicts={kind: counts[kind] for kind in ("accepted", "clipped", "rejected")},
        readings=counts["readings"],
        carbon_kg=carbon_kg,
        pue=total / it if total is not None and it else None,
        it_kwh=it,
        facility_kwh=total,
        effective_ci_g_kwh=1000.0 * carbon_kg / total if carbon_kg is not None and total else None,
        signals="synthetic" if signals.carbon.synthetic else signals.carbon.source,
    )


def _total(slices_kwh: FloatArray | None) -> float | None:
    return None if slices_kwh is None else float(slices_kwh.sum())


def _edges_s(start: datetime, end: datetime) -> FloatArray:
    span_s = (end - start).total_seconds()
    return np.append(np.arange(0.0, span_s, SLICE_S), span_s)


def _slices_kwh(store: Store, points: tuple[str, ...], start: datetime, end: datetime) -> FloatArray | None:
    """kWh of each quarter-hour over ``points`` together; None where one of them has fewer than two readings."""
    total = np.zeros(max(len(_edges_s(start, end)) - 1, 0))
    if not points or not all(points) or not total.size:
        return None
    for point in points:
        at_s, count_wh = _counter(store, point, start, end)
        if at_s.size < 2:
            return None
        total += np.diff(np.interp(_edges_s(start, end), at_s, count_wh)) / 1000.0
    return total


def _counter(store: Store, point: str, start: datetime, end: datetime) -> tuple[FloatArray, FloatArray]:
    """Seconds since ``start`` and the counter made monotone: a fall is a reset, and what came before it is kept."""
    until = end + timedelta(seconds=SLICE_S)  # the reading after the end closes the last slice
    table = store.query("series", point=point, start=start, end=until)
    values = np.asarray(table["value"].to_pylist(), dtype=float)
    times = np.array([(stamp - start).total_seconds() for stamp in table["ts"].to_pylist() if stamp is not None])
    known = np.isfinite(values)
    times, values = times[known], values[known]
    if values.size < 2:
        return times, values
    steps = np.clip(np.diff(values), 0.0, None)
    return times, np.concatenate([[0.0], np.cumsum(steps)])


def _carbon_kg(slices_kwh: FloatArray, signals: Signals, start: datetime, end: datetime) -> float | None:
    """Settled afterwards with the published intensities; None where the signal does not cover the run."""
    try:
        starts = [start + timedelta(seconds=float(edge)) for edge in _edges_s(start, end)[:-1]]
        intensity_g_kwh = np.array([signals.carbon.at(when) for when in starts])
    except DataError:
        return None
    return float((slices_kwh * intensity_g_kwh).sum() / 1000.0)
