"""A job trace scaled to a hall and a window: which jobs, when, how flexible, and a report of what was changed.

Jobs are drawn without replacement, pass after pass, until their GPU-time reaches utilisation x GPUs x window; the
last one drawn is shortened to hit it. Each keeps its time of day (second 0 of a trace is taken as midnight of the
window's first day) and gets a random day on which it could still end within the window. Jobs wider than ``max_gpus``
are dropped; runs beyond a quarter of the window are cut to it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from facility.errors import DataError
from facility.records import FloatArray, Job
from twin.trace_files import DAY_S, Trace, read_trace, synthetic_trace
from twin.workload import WORKLOADS

__all__ = ["Trace", "TraceReport", "read_trace", "scale_trace", "scale_trace_with_report", "synthetic_trace"]

SUSPEND_COST_S = 120.0  # work lost at a suspend and resume: half a checkpoint interval of some minutes; assumed
LONGEST_PART = 0.25  # of the window
REPEAT_JITTER_S = 1800.0  # a job that is drawn again does not arrive at the very same second of the day
RIGID_SLACK_S = 3600.0
SHORTEST_S = 60.0


@dataclass(frozen=True, slots=True)
class TraceReport:
    """What was done to a trace to make jobs of it."""

    source: str
    synthetic: bool
    trace_jobs: int
    jobs: int
    passes: int  # how often the trace was gone through; 1 or less repeats nothing
    too_wide: int  # jobs of the trace dropped for wanting more GPUs than allowed
    shortened: int  # jobs of the trace cut to the longest run allowed
    longest_s: float
    utilisation: float  # GPU-time of the jobs over GPUs x window
    flexible_gpu_time: float  # the flexible jobs' part of it
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Draw:
    """Jobs as drawn from the trace, shape [n]."""

    index: NDArray[np.intp]  # row of the trace
    duration_s: FloatArray
    passes: int


def scale_trace(
    trace: Trace,
    *,
    start: datetime,
    days: float,
    gpus_total: int,
    utilisation: float,
    slack_h: float,
    flexible: float,
    seed: int = 0,
    max_gpus: int | None = None,
    suspend_cost_s: float = SUSPEND_COST_S,
) -> tuple[Job, ...]:
    """The jobs of ``scale_trace_with_report`` alone."""
    return scale_trace_with_report(
        trace,
        start=start,
        days=days,
        gpus_total=gpus_total,
        utilisation=utilisation,
        slack_h=slack_h,
        flexible=flexible,
        seed=seed,
        max_gpus=max_gpus,
        suspend_cost_s=suspend_cost_s,
    )[0]


def scale_trace_with_report(
    trace: Trace,
    *,
    start: datetime,
    days: float,
    gpus_total: int,
    utilisation: float,
    slack_h: float,
    flexible: float,
    seed: int = 0,
    max_gpus: int | None = None,
    suspend_cost_s: float = SUSPEND_COST_S,
) -> tuple[tuple[Job, ...], TraceReport]:
    """Jobs in the order of submission over [start, start + days), and what was done to the trace; the same seed gives
    the same jobs.

    ``flexible`` is the part of the jobs (by count) that may wait: their deadline is submit + run time + ``slack_h``.
    The others must start at once; their deadline is submit + max(2 x run time, run time + 1 h). Raises DataError
    where no job fits.
    """
    _require(days=days, gpus_total=gpus_total, utilisation=utilisation, slack_h=slack_h, flexible=flexible)
    rng = np.random.default_rng([seed, 5])
    allowed = min(gpus_total, max_gpus or gpus_total)
    fits = np.flatnonzero(trace.gpus <= allowed)
    if not len(fits):
        raise DataError(
            f"every job wants more than {allowed} GPUs", where=trace.source, hint="give another trace or a larger hall"
        )
    longest_s = max(SHORTEST_S, LONGEST_PART * days * DAY_S)
    drawn = _draw(trace, fits, longest_s, utilisation * gpus_total * days * DAY_S, rng)
    submit_s = _submit_times(trace, drawn, days, rng)
    order = np.argsort(submit_s, kind="stable")
    may_wait = _chosen(len(order), flexible, rng)
    gpus, duration_s = trace.gpus[drawn.index][order], drawn.duration_s[order]
    jobs = tuple(
        _job(number, start + timedelta(seconds=submit), wide, work, slack_h if wait else None, suspend_cost_s)
        for number, (submit, wide, work, wait) in enumerate(
            zip(submit_s[order].tolist(), gpus.tolist(), duration_s.tolist(), may_wait.tolist(), strict=True)
        )
    )
    shortened = int((trace.duration_s[fits] > longest_s).sum())
    gpu_time = gpus * duration_s
    return jobs, TraceReport(
        source=trace.source,
        synthetic=trace.synthetic,
        trace_jobs=len(trace),
        jobs=len(jobs),
        passes=drawn.passes,
        too_wide=len(trace) - len(fits),
        shortened=shortened,
        longest_s=longest_s,
        utilisation=float(gpu_time.sum() / (gpus_total * days * DAY_S)),
        flexible_gpu_time=float(gpu_time[may_wait].sum() / gpu_time.sum()),
        notes=tuple(f"{count} rows of the trace {reason}" for count, reason in trace.dropped),
    )


def _require(*, days: float, gpus_total: int, utilisation: float, slack_h: float, flexible: float) -> None:
    """Refuse arguments that no hall can have."""
    wrong = [
        text
        for bad, text in (
            (not days >= 1.0, f"{days:g} days: at least 1"),
            (gpus_total < 1, f"{gpus_total} GPUs: at least 1"),
            (not 0.0 < utilisation <= 1.0, f"utilisation {utilisation:g}: above 0 and up to 1"),
            (not slack_h >= 0.0, f"slack of {slack_h:g} h: zero or more"),
            (not 0.0 <= flexible <= 1.0, f"flexible part {flexible:g}: 0 to 1"),
        )
        if bad
    ]
    if wrong:
        raise DataError("; ".join(wrong), where="scaling of the job trace", hint="correct these")


def _draw(trace: Trace, fits: NDArray[np.intp], longest_s: float, wanted_s: float, rng: np.random.Generator) -> _Draw:
    """Rows of the trace, at random and pass after pass, until their GPU-time is ``wanted_s``; the last one is
    shortened to it.
    """
    duration_s: FloatArray = np.round(np.clip(trace.duration_s, 1.0, longest_s)).astype(np.float64)
    rounds: list[NDArray[np.intp]] = []
    total = 0.0
    while total < wanted_s:
        rounds.append(rng.permutation(fits))
        total += float(trace.gpus[fits] @ duration_s[fits])
    index = np.concatenate(rounds)
    reached = np.cumsum(trace.gpus[index] * duration_s[index])
    count = int(np.searchsorted(reached, wanted_s)) + 1
    index = index[:count]
    drawn_s: FloatArray = duration_s[index].copy()
    drawn_s[-1] -= (reached[count - 1] - wanted_s) / trace.gpus[index[-1]]
    if drawn_s[-1] < SHORTEST_S and count > 1:  # a job of seconds is noise
        index, drawn_s = index[:-1], drawn_s[:-1]
    return _Draw(index, drawn_s, len(rounds))


def _submit_times(trace: Trace, drawn: _Draw, days: float, rng: np.random.Generator) -> FloatArray:
    """Seconds from the window's start: the trace's time of day, on a random day on which the job could still end in
    the window.
    """
    time_of_day = trace.submit_s[drawn.index] % DAY_S
    _, first = np.unique(drawn.index, return_index=True)
    again = np.ones(len(drawn.index), dtype=bool)
    again[first] = False
    time_of_day = (
        time_of_day + np.where(again, rng.uniform(-REPEAT_JITTER_S, REPEAT_JITTER_S, len(again)), 0.0)
    ) % DAY_S
    room_s = days * DAY_S - drawn.duration_s
    choices = np.maximum(np.floor((room_s - time_of_day) / DAY_S), 0.0) + 1.0
    submit = np.floor(rng.random(len(choices)) * choices) * DAY_S + time_of_day
    return np.asarray(np.round(np.minimum(submit, room_s)))


def _chosen(count: int, part: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A random choice of exactly round(part x count) jobs."""
    chosen = np.zeros(count, dtype=bool)
    chosen[rng.permutation(count)[: round(part * count)]] = True
    return chosen


def _job(
    number: int, submitted_at: datetime, gpus: int, work_s: float, slack_h: float | None, suspend_cost_s: float
) -> Job:
    """One job; its workload follows from a hash of its name, half and half."""
    name = f"job-{number:05d}"
    workloads = sorted(WORKLOADS)
    workload = workloads[zlib.crc32(name.encode()) % len(workloads)]
    allowed_s = work_s + slack_h * 3600.0 if slack_h is not None else max(2.0 * work_s, work_s + RIGID_SLACK_S)
    return Job(
        name=name,
        submitted_at=submitted_at,
        gpus=gpus,
        work_s=work_s,
        deadline=submitted_at + timedelta(seconds=allowed_s),
        flexible=slack_h is not None,
        work_class=WORKLOADS[workload],
        workload=workload,
        suspend_cost_s=suspend_cost_s,
    )
