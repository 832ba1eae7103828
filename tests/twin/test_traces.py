"""Job traces: four forms, and their scaling to a hall and a window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from facility.errors import DataError
from facility.records import WorkClass
from tests.shared import shared
from twin.traces import Trace, read_trace, scale_trace, scale_trace_with_report, synthetic_trace

START = datetime(2023, 6, 1, tzinfo=UTC)
FORMS = {
    "pai2020_gaia_10k.csv": ("pai-gaia", 10_000, ()),
    "pai2020_gaia_1k_week.csv": ("pai-gaia-week", 1_000, ()),
    "alibaba_gpu2023_openb_pod_list_default.csv": (
        "alibaba-2023", 6_203, ((897, "never scheduled"), (1_052, "want no GPU"))
    ),
    "philly_vc103959_elasticflow.csv": ("philly-elasticflow", 876, ()),
}  # fmt: skip


def scaled(trace: Trace, **changes: object):  # type: ignore[no-untyped-def]
    asked = {"days": 28.0, "gpus_total": 64, "utilisation": 0.6, "slack_h": 24.0, "flexible": 0.7, "seed": 1}
    return scale_trace_with_report(trace, start=START, **{**asked, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FORMS)
def test_real_forms_are_detected_and_scaled(name: str) -> None:
    trace = read_trace(shared(f"traces/{name}"))
    assert (trace.form, len(trace), trace.dropped) == FORMS[name]
    assert np.all(np.diff(trace.submit_s) >= 0)
    for asked in ({}, {"days": 3.0}, {"gpus_total": 512, "utilisation": 0.8}):
        jobs, done = scaled(trace, **asked)
        wanted = asked.get("utilisation", 0.6)
        gpu_s = sum(job.gpus * job.work_s for job in jobs)
        capacity = asked.get("gpus_total", 64) * asked.get("days", 28.0) * 86400.0
        assert gpu_s / capacity == pytest.approx(wanted, rel=0.01)
        assert done.utilisation == pytest.approx(gpu_s / capacity)
        assert done.jobs == len(jobs)


def test_jobs_are_what_was_asked_for() -> None:
    trace = synthetic_trace(3)
    jobs, done = scaled(trace, max_gpus=8)
    end = START + timedelta(days=28)
    assert done.synthetic
    assert done.too_wide == int((trace.gpus > 8).sum()) > 0
    assert max(job.gpus for job in jobs) <= 8
    assert sum(job.flexible for job in jobs) == round(0.7 * len(jobs))
    assert len({job.name for job in jobs}) == len(jobs)
    assert [job.submitted_at for job in jobs] == sorted(job.submitted_at for job in jobs)
    for job in jobs:
        run = timedelta(seconds=job.work_s)
        assert START <= job.submitted_at <= job.submitted_at + run <= end + timedelta(seconds=1)
        rigid = max(2 * run, run + timedelta(hours=1))
        assert job.deadline - job.submitted_at == (run + timedelta(hours=24) if job.flexible else rigid)
        assert job.suspend_cost_s == 120.0
        assert (
            job.work_class is {"resnet50": WorkClass.MEMORY_BOUND, "bert-large": WorkClass.COMPUTE_BOUND}[job.workload]
        )
    assert 0.45 < np.mean([job.workload == "resnet50" for job in jobs]) < 0.55


def test_the_seed_decides() -> None:
    trace = synthetic_trace()
    asked = {"start": START, "days": 7.0, "gpus_total": 64, "utilisation": 0.5, "slack_h": 6.0, "flexible": 0.5}
    assert scale_trace(trace, **asked, seed=1) == scale_trace(trace, **asked, seed=1)  # type: ignore[arg-type]
    assert scale_trace(trace, **asked, seed=1) != scale_trace(trace, **asked, seed=2)  # type: ignore[arg-type]


def test_the_time_of_day_is_kept() -> None:
    jobs, _ = scaled(synthetic_trace(1, jobs=5000))
    hours = np.array([job.submitted_at.hour for job in jobs])
    assert np.mean((hours >= 8) & (hours < 16)) > 1.4 * np.mean((hours < 4) | (hours >= 20))


def test_long_runs_are_cut_and_reported() -> None:
    trace = Trace("x", "x", np.zeros(4), np.full(4, 10 * 86400.0), np.ones(4, dtype=np.int64))
    jobs, done = scaled(trace, days=4.0)
    assert (done.shortened, done.longest_s) == (4, 86400.0)
    assert max(job.work_s for job in jobs) == 86400.0
    assert done.passes > 1


@pytest.mark.parametrize(
    "changes", [{"days": 0.5}, {"gpus_total": 0}, {"utilisation": 1.5}, {"slack_h": -1.0}, {"flexible": 2.0}]
)
def test_impossible_requests(changes: dict[str, float]) -> None:
    with pytest.raises(DataError, match="scaling of the job trace"):
        scaled(synthetic_trace(), **changes)


def test_no_job_fits() -> None:
    trace = Trace("x", "x", np.zeros(2), np.ones(2), np.full(2, 100, dtype=np.int64))
    with pytest.raises(DataError, match="every job wants more than 64"):
        scaled(trace)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", r"line 1: no known form.*found columns a, b.*pai-gaia: submit_s, duration_s, units"),
        ("row,submit_s,duration_s,units\n0,0,-5,1\n", "line 2: duration_s is -5"),
        ("row,submit_s,duration_s,units\n0,0,5,1\n1,2,,1\n", "line 3: duration_s is missing"),
        ("row,submit_s,duration_s,units\n0,0,x,1\n", "line 2: 'x' in column 'duration_s' is not a number"),
        ("row,submit_s,duration_s,units\n0,0,5,0\n", "no job runs on a GPU"),
        ("", "empty"),
    ],
)
def test_damage_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_trace(path)
