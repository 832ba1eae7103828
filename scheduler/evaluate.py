"""The benchmark of job policies: same jobs, same plant, same grid, an account for each; see docs/scheduling.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from facility.errors import ConfigError, DataError
from facility.records import FloatArray, Job
from facility.site import Site
from scheduler.account import Row, Setting, row, series
from scheduler.bound import Bound, clairvoyant_bound
from scheduler.cluster.curves import hall_curves
from scheduler.executor import Backend, run_all
from scheduler.rules import make_policy
from scheduler.simulate import STEP_S, Progress, Surroundings, Task, Tracked, idle_to_busy_w, simulate
from twin.plant import plant_control
from twin.signals import SeriesReport, Signals, load_signals, report
from twin.traces import Trace, TraceReport, read_trace, scale_trace_with_report

BOUND = "bound"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkConfig:
    """What is compared. Files are read as ``twin.signals`` and ``twin.traces`` say."""

    carbon: tuple[Path, ...]
    weather: tuple[Path, ...]
    jobs: Path
    start: datetime
    site: Site
    price: tuple[Path, ...] = ()
    days: int = 28
    utilisation: float = 0.6  # GPU-time of the jobs over GPUs x days
    slack_h: float = 24.0
    flexible: float = 0.7  # share of the jobs that may wait
    policies: tuple[str, ...] = ("fcfs", "wait-awhile")
    plant: Literal["legacy", "rule", "optimum"] = "legacy"
    seed: int = 0
    zone: str | None = None  # None: the carbon file's
    fill_gaps: bool = False  # interpolate gaps of at most 3 h, and say so

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise ConfigError("a start without time zone", where="start", hint="times are UTC and aware")
        if not any(name != BOUND for name in self.policies):
            raise ConfigError("the bound alone has nothing to compare with", where="policies", hint="add fcfs")
        if len(set(self.policies)) != len(self.policies):
            raise ConfigError("a policy is named twice", where="policies")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The rows of one run, in the order of the policies, and the series behind them."""

    rows: tuple[Row, ...]
    series: pl.DataFrame
    signals: tuple[SeriesReport, ...]  # what the files held
    trace: TraceReport  # what was done to the trace to make jobs of it


def run_benchmark(config: BenchmarkConfig, progress: Progress | None = None) -> list[Row]:
    """One row for each policy; raises DataError where the files do not cover the time needed."""
    return list(benchmark(config, progress).rows)


def benchmark(config: BenchmarkConfig, progress: Progress | None = None) -> Benchmark:
    """Rows and series; ``progress`` is told the share of the arrivals' window that is done."""
    prices = list(config.price) or None
    signals = load_signals(
        list(config.carbon), list(config.weather), prices, zone=config.zone, fill_gaps=config.fill_gaps
    )
    return benchmark_with(config, signals, read_trace(config.jobs), progress)


def benchmark_with(
    config: BenchmarkConfig, signals: Signals, trace: Trace, progress: Progress | None = None
) -> Benchmark:
    """The same with signals and trace that are already there."""
    policies = [make_policy(name) for name in config.policies if name != BOUND]
    task, trace_report = _task(config, signals, trace)
    runs, around = simulate(task, policies, progress)
    setting = Setting(
        plant=config.plant,
        zone=signals.carbon.zone,
        utilisation=config.utilisation,
        slack_h=config.slack_h,
        flexible=config.flexible,
        seed=config.seed,
        synthetic=signals.synthetic or trace.synthetic,
    )
    rows = {run.policy: row(run, around, config.site.tariff, setting) for run in runs}
    if BOUND in config.policies:
        rows[BOUND] = _bound_row(bound_of(task, runs, around), rows[policies[0].name])
    ordered = [rows[name] for name in config.policies]
    return Benchmark(
        rows=_compared(ordered, policies[0].name),
        series=pl.concat([series(run, around) for run in runs]),
        signals=tuple(report(one) for one in signals.series),
        trace=trace_report,
    )


def bound_of(task: Task, runs: Sequence[Tracked], around: Surroundings) -> Bound:
    """The clairvoyant bound over the horizon of ``runs``."""
    latest: dict[str, datetime] = {}
    for run in (run for tracked in runs for run in tracked.runs):
        if run.finished_at is not None:
            latest[run.job.name] = max(run.finished_at, latest.get(run.job.name, run.finished_at))
    curves, idle_to_busy = hall_curves(task.hall), idle_to_busy_w(task.hall)

    def gpu_w(job: Job) -> float:
        return curves(job).power_w(float("inf")) + idle_to_busy

    return clairvoyant_bound(
        task.jobs,
        latest,
        _hourly(around.intensity_g_kwh),
        start=task.start,
        gpus_total=task.hall.gpus,
        gpu_w=gpu_w,
    )


def run_seeds(
    config: BenchmarkConfig,
    seeds: int,
    *,
    backend: Backend | None = None,
    workers: int | None = None,
    done: Callable[[int], None] | None = None,
) -> list[Row]:
    """Repeat with seeds ``config.seed`` on; each row is the mean over them, ``spread`` their standard deviation."""
    repeated = [replace(config, seed=config.seed + index) for index in range(seeds)]
    results = run_all(run_benchmark, repeated, backend=backend, workers=workers, done=done)
    return [mean_row(list(rows)) for rows in zip(*results, strict=True)]


def mean_row(rows: Sequence[Row]) -> Row:
    """The mean of one policy's rows; a figure that is missing in one of them is missing in the mean."""
    first = rows[0]
    if len(rows) == 1:
        return first
    means: dict[str, float] = {}
    spread: dict[str, float] = {}
    for field in fields(Row):
        values = [getattr(one, field.name) for one in rows]
        if field.name in ("seed", "seeds") or not all(_is_figure(value) for value in values):
            continue
        means[field.name], spread[field.name] = float(np.mean(values)), float(np.std(values, ddof=1))
    missing = {field.name: None for field in fields(Row) if any(getattr(one, field.name) is None for one in rows)}
    return replace(first, **(missing | means | {"seeds": len(rows), "spread": spread}))  # type: ignore[arg-type]


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _task(config: BenchmarkConfig, signals: Signals, trace: Trace) -> tuple[Task, TraceReport]:
    if config.start.timestamp() % 3600.0:
        raise DataError("the benchmark starts on a full hour", where=str(config.start), hint="give a date")
    hall = config.site.hall
    jobs, done_to_trace = scale_trace_with_report(
        trace,
        start=config.start,
        days=config.days,
        gpus_total=hall.gpus,
        utilisation=config.utilisation,
        slack_h=config.slack_h,
        flexible=config.flexible,
        seed=config.seed,
    )
    until = config.start + timedelta(days=config.days)
    return Task(jobs, config.start, until, hall, plant_control(config.plant, hall), signals), done_to_trace


def _bound_row(bound: Bound, like: Row) -> Row:
    """The bound as a row: it has no plant, no cluster and no delays, so those figures are missing."""
    return Row(
        policy=BOUND,
        plant=None,
        parking=None,
        zone=like.zone,
        utilisation=like.utilisation,
        slack_h=like.slack_h,
        flexible=like.flexible,
        flat_ci_g_kwh=like.flat_ci_g_kwh,
        jobs=like.jobs,
        dynamic_it_kwh=bound.dynamic_kwh,
        dynamic_carbon_kg=bound.dynamic_carbon_kg,
        horizon_h=like.horizon_h,
        seed=like.seed,
        synthetic=like.synthetic,
    )


def _compared(rows: Sequence[Row], baseline: str) -> tuple[Row, ...]:
    """The rows with their saving of dynamic carbon against the baseline, and its share of the bound's."""
    carbon = {one.policy: one.dynamic_carbon_kg for one in rows}
    base, least = carbon[baseline], carbon.get(BOUND)
    compared = []
    for one in rows:
        saving = 100.0 * (1.0 - one.dynamic_carbon_kg / base) if base else None
        share = None
        if least is not None and least < base:
            share = 100.0 * (base - one.dynamic_carbon_kg) / (base - least)
        compared.append(replace(one, dynamic_saving_pct=saving, bound_share_pct=share))
    return tuple(compared)


def _hourly(quarter_hourly: FloatArray) -> FloatArray:
    """Hourly values of a series of steps; the last hour may be incomplete."""
    per_hour = round(3600.0 / STEP_S)
    return np.array([quarter_hourly[i : i + per_hour].mean() for i in range(0, len(quarter_hourly), per_hour)])
