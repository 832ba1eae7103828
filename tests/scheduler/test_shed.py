"""Which jobs give way: least harm first, and no more than is wanted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from facility.records import Job, JobPhase, JobStatus, State, WorkClass
from facility.site import load_site
from scheduler.shed import shed

NOW = datetime(2023, 6, 1, tzinfo=UTC)
HALL = load_site().hall


def _job(
    name: str, *, flexible: bool, slack_h: float = 10.0, gpus: int = 4, phase: JobPhase = JobPhase.RUNNING
) -> JobStatus:
    deadline = NOW + timedelta(hours=1.0 + slack_h)
    job = Job(name, NOW, gpus, 3600.0, deadline, flexible, WorkClass.COMPUTE_BOUND)
    return JobStatus(job, phase, 3600.0)


JOBS = (
    _job("urgent", flexible=True, slack_h=0.1),
    _job("patient", flexible=True, slack_h=20.0),
    _job("fixed", flexible=False),
    _job("waiting", flexible=True, phase=JobPhase.QUEUED),
)
STATE = State(NOW, jobs=JOBS)


def _commands(wanted_w: float) -> dict[str, float | None]:
    return {command.point: command.value for command in shed(STATE, HALL, wanted_w, "event").commands}


def test_a_little_is_had_by_a_cap_on_one_flexible_job() -> None:
    assert list(_commands(100.0).values()) == [HALL.node.gpu.cap_min_w]
    (point,) = _commands(100.0)
    assert point in ("patient/gpu_cap_w", "urgent/gpu_cap_w")


def test_then_the_flexible_job_with_most_slack_stands_still_and_needs_no_cap() -> None:
    found = _commands(1500.0)
    assert found["patient/run_flag"] == 0.0
    assert set(found) == {"patient/run_flag", "urgent/gpu_cap_w", "fixed/gpu_cap_w"}


def test_a_fixed_job_is_never_suspended_and_a_waiting_one_is_left_alone() -> None:
    found = shed(STATE, HALL, 1e6, "event")
    points = {command.point for command in found.commands}
    assert points == {"patient/run_flag", "urgent/run_flag", "fixed/gpu_cap_w"}
    assert found.expected_w < 1e6


@pytest.mark.parametrize("wanted_w", [10.0, 300.0, 900.0, 1500.0])
def test_what_is_expected_is_enough(wanted_w: float) -> None:
    assert shed(STATE, HALL, wanted_w, "event").expected_w >= wanted_w


def test_who_is_capped_already_gives_no_more_by_a_cap() -> None:
    capped = JobStatus(JOBS[2].job, JobPhase.RUNNING, 3600.0, gpu_cap_w=HALL.node.gpu.cap_min_w)
    assert shed(State(NOW, jobs=(capped,)), HALL, 100.0, "event").commands == ()
