"""What a demand-response event did, from the main meter and the jobs: response, energy, rebound, deadlines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from apps.event_record import Event
from facility.records import FloatArray
from facility.store import Store

REBOUND_S = 1800.0  # so long after the end the meter is watched


@dataclass(frozen=True, slots=True)
class EventReport:
    """An event in figures; what was not measured is None."""

    name: str
    phase: str
    person: str
    started_at: str
    until: str
    baseline_kw: float
    wanted_kw: float
    response_s: float | None  # from the order to the first reading that is lower by what was wanted
    held_pct: float | None  # of the readings after that and before the end that were lower by as much
    mean_shed_kw: float | None
    shed_kwh: float | None
    rebound_kwh: float | None  # above the baseline, in the half hour after the end
    rebound_peak_kw: float | None  # highest reading above the baseline in that time; negative: it stayed below
    jobs_capped: int
    jobs_suspended: int
    jobs_late: tuple[str, ...]  # that would have been in time
    delay_s: float | None  # longest of a job that is back
    errors: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def report(event: Event, store: Store, meter: str, run: str) -> EventReport:
    """The event so far."""
    order = event.order
    end = event.ended_at or order.until
    times_s, power_w = _series(store, meter, run, order.started_at, end + timedelta(seconds=REBOUND_S))
    end_s = (end - order.started_at).total_seconds()
    during, after = times_s <= end_s, times_s > end_s
    shed_w = order.baseline_w - power_w
    reached = np.flatnonzero(during & (shed_w >= order.shed_w))
    held = during & (times_s >= times_s[reached[0]]) if reached.size else np.zeros(times_s.size, dtype=bool)
    return EventReport(
        name=order.name,
        phase=event.phase.value,
        person=order.person,
        started_at=order.started_at.isoformat(),
        until=order.until.isoformat(),
        baseline_kw=order.baseline_w / 1000.0,
        wanted_kw=order.shed_w / 1000.0,
        response_s=float(times_s[reached[0]]) if reached.size else None,
        held_pct=100.0 * float(np.mean(shed_w[held] >= order.shed_w)) if held.any() else None,
        mean_shed_kw=float(shed_w[during].mean()) / 1000.0 if during.any() else None,
        shed_kwh=_kwh(times_s[during], shed_w[during]),
        rebound_kwh=_kwh(times_s[after], np.clip(-shed_w[after], 0.0, None)),
        rebound_peak_kw=float(-shed_w[after].min()) / 1000.0 if after.any() else None,
        jobs_capped=sum(job.is_capped for job in event.jobs.values()),
        jobs_suspended=sum(job.is_suspended for job in event.jobs.values()),
        jobs_late=_late(event),
        delay_s=_longest_delay_s(event),
        errors=tuple(event.errors),
    )


def _series(store: Store, meter: str, run: str, start: datetime, end: datetime) -> tuple[FloatArray, FloatArray]:
    """Seconds since ``start`` and watts, of the readings that have a value."""
    table = store.query("series", point=meter, start=start, end=end, run=run)
    power_w = np.asarray(table["value"].to_pylist(), dtype=np.float64)
    stamps = [stamp for stamp in table["ts"].to_pylist() if stamp is not None]
    times_s = np.array([(stamp - start).total_seconds() for stamp in stamps], dtype=np.float64)
    known = np.isfinite(power_w)
    return times_s[known], power_w[known]


def _kwh(times_s: FloatArray, power_w: FloatArray) -> float | None:
    return float(np.trapezoid(power_w, times_s)) / 3.6e6 if times_s.size >= 2 else None


def _late(event: Event) -> tuple[str, ...]:
    """Jobs that are back, will miss their deadline, and would have kept it had they run on."""
    found = []
    for name, job in sorted(event.jobs.items()):
        if event.back_at is None or job.left_s is None:
            continue
        before = event.order.started_at + timedelta(seconds=job.remaining_s) <= job.deadline
        after = event.back_at + timedelta(seconds=job.left_s) <= job.deadline
        if before and not after:
            found.append(name)
    return tuple(found)


def _longest_delay_s(event: Event) -> float | None:
    """Wall time less work done, of the jobs that are back and not done."""
    if event.back_at is None:
        return None
    passed_s = (event.back_at - event.order.started_at).total_seconds()
    delays = [passed_s - (job.remaining_s - job.left_s) for job in event.jobs.values() if job.left_s is not None]
    return max(max(delays), 0.0) if delays else None
