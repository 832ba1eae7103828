from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from facility.errors import ConfigError
from facility.records import Command, Decision, Forecast, Forecasts, Job, JobOutcome, State
from scheduler.cluster.codec import to_json_bytes
from scheduler.cluster.emulated import EmulatedCluster
from scheduler.policy import Policy
from scheduler.rules import Fcfs, make_policy
from scheduler.simulate import apply, decide
from scheduler.wait_awhile import WaitAwhile, WaitAwhileParams
from tests.scheduler.curves import START, job, linear

HOUR = timedelta(hours=1)


def cluster(*jobs: Job, nodes: int = 1) -> EmulatedCluster:
    return EmulatedCluster({f"node-{i + 1}": 8 for i in range(nodes)}, jobs, START, linear)


def carbon(now: EmulatedCluster, *hourly: float) -> Forecasts:
    """A forecast that begins at the cluster's time, each value for an hour."""
    value = np.repeat(np.array(hourly), 4)
    made = Forecast("carbon_intensity_g_kwh", "g/kWh", now.at, now.at, 900.0, value, None, None, "test")
    return {"carbon_intensity_g_kwh": made}


def started(decision: Decision) -> list[str]:
    return [command.point.split("/")[0] for command in decision.commands if command.value == 1.0]


def said(decision: Decision, name: str) -> tuple[JobOutcome, str]:
    return next((one.outcome, one.reason) for one in decision.jobs if one.job == name)


def test_fcfs_starts_in_order_and_backfills_without_delaying_the_first() -> None:
    made = cluster(
        job("running", gpus=6, hours=2.0),
        job("head", gpus=8, hours=1.0, after_h=0.25),
        job("short", gpus=1, hours=1.0, after_h=0.5),
        job("long", gpus=1, hours=9.0, after_h=0.5),
    )
    assert started(run(Fcfs(), made)) == ["running"]
    made.advance(START + 0.5 * HOUR)
    decision = run(Fcfs(), made)
    assert started(decision) == ["short"]  # done before the head's reservation; the long one would delay it
    assert said(decision, "head") == (JobOutcome.PASS_THROUGH, "queued: no room for 8 GPUs yet")
    made.advance(START + 2 * HOUR)
    assert started(run(Fcfs(), made)) == ["head"]


def test_a_long_job_may_use_what_the_reservation_leaves_over() -> None:
    made = cluster(job("a", gpus=6, hours=2.0), job("head", gpus=8), job("wide", gpus=1, hours=9.0), nodes=1)
    assert started(run(Fcfs(), made)) == ["a"]
    roomy = cluster(job("a", gpus=6, hours=2.0), job("b", gpus=6, hours=5.0), job("head", gpus=8), nodes=2)
    roomy.submit(job("c", gpus=2, hours=9.0))
    assert started(run(Fcfs(), roomy)) == ["a", "b", "c"]  # beside b, where the head will not be


def run(policy: Policy, made: EmulatedCluster, forecasts: Forecasts | None = None) -> Decision:
    decision = decide(policy, made, forecasts or {})
    apply(made, decision)
    return decision


def test_a_flexible_job_waits_for_the_cheapest_hours_and_says_why() -> None:
    made = cluster(job("a", gpus=8, hours=2.0, slack_h=10.0))
    decision = run(WaitAwhile(), made, carbon(made, 318, 300, 212, 212, *[400] * 20))
    assert decision.commands == ()
    outcome, reason = said(decision, "a")
    assert outcome is JobOutcome.DEFER
    assert reason == "waits for 02:00-04:00 UTC: forecast 212 against 318 g/kWh now, deadline 12:00"
    assert decision.plans[0].windows == ((START + 2 * HOUR, START + 4 * HOUR),)
    made.advance(START + 2 * HOUR)
    assert started(run(WaitAwhile(), made, carbon(made, 212, 212, *[400] * 20))) == ["a"]


def test_a_running_job_is_suspended_for_a_dear_time_and_resumed() -> None:
    made = cluster(job("a", gpus=8, hours=3.0, slack_h=12.0))
    assert started(run(WaitAwhile(), made, carbon(made, 100, 100, 500, 500, 90, 90, *[600] * 20))) == ["a"]
    made.advance(START + 2 * HOUR)
    decision = run(WaitAwhile(), made, carbon(made, 500, 500, 90, 90, *[600] * 20))
    assert [command.value for command in decision.commands] == [0.0]
    assert made.statuses()[0].suspensions == 1
    made.advance(START + 4 * HOUR)
    assert started(run(WaitAwhile(), made, carbon(made, 90, 90, *[600] * 20))) == ["a"]


def test_shortest_run_and_pause_hold_against_a_jumping_forecast() -> None:
    made = cluster(job("a", gpus=8, hours=3.0, slack_h=24.0))
    run(WaitAwhile(), made, carbon(made, 100, *[200] * 30))
    made.advance(START + 0.5 * HOUR)
    assert run(WaitAwhile(), made, carbon(made, 500, *[200] * 30)).commands == ()
    made.advance(START + HOUR)
    assert [c.value for c in run(WaitAwhile(), made, carbon(made, 500, *[200] * 30)).commands] == [0.0]
    made.advance(START + 1.5 * HOUR)
    assert run(WaitAwhile(), made, carbon(made, 100, *[200] * 30)).commands == ()
    made.advance(START + 2.0 * HOUR)
    assert started(run(WaitAwhile(), made, carbon(made, 100, *[200] * 30))) == ["a"]


def test_a_job_runs_when_its_deadline_is_near_whatever_the_forecast_says() -> None:
    made = cluster(job("a", gpus=8, hours=2.0, slack_h=3.0))
    dear = [900.0] + [100.0] * 40
    assert run(WaitAwhile(), made, carbon(made, *dear)).commands == ()
    made.advance(START + 1.75 * HOUR)
    decision = run(WaitAwhile(), made, carbon(made, *dear))
    assert started(decision) == ["a"]
    assert said(decision, "a") == (JobOutcome.PASS_THROUGH, "runs: 75 min to spare before 05:00")
    made.advance(START + 3 * HOUR)
    assert run(WaitAwhile(), made, carbon(made, *dear)).commands == ()


def test_small_and_inflexible_jobs_pass_through() -> None:
    made = cluster(job("small", gpus=1, hours=2.0), job("rigid", gpus=4, hours=4.0, flexible=False))
    assert started(run(WaitAwhile(), made, carbon(made, 900, *[100] * 40))) == ["rigid", "small"]
    deferring = WaitAwhile(WaitAwhileParams(min_gpu_h=1.0))
    made = cluster(job("small", gpus=1, hours=2.0), job("tiny", gpus=1, hours=0.5))
    assert started(run(deferring, made, carbon(made, 900, *[100] * 40))) == ["tiny"]


def test_jobs_that_do_not_fit_together_choose_different_hours() -> None:
    made = cluster(job("tight", gpus=8, hours=1.0, slack_h=4.0), job("loose", gpus=8, hours=1.0, slack_h=20.0))
    decision = run(WaitAwhile(), made, carbon(made, 300, 100, 120, *[400] * 30))
    windows = {plan.job: plan.windows[0][0] - START for plan in decision.plans}
    assert windows == {"tight": HOUR, "loose": 2 * HOUR}


def test_without_a_forecast_nothing_is_deferred_and_the_reason_says_so() -> None:
    made = cluster(job("a", gpus=8, hours=2.0))
    decision = run(WaitAwhile(), made, {})
    assert started(decision) == ["a"]
    assert "no carbon forecast" in decision.reason


@pytest.mark.parametrize("name", ["fcfs", "wait-awhile"])
def test_the_same_inputs_give_the_same_bytes(name: str) -> None:
    made = cluster(*(job(f"job-{i}", gpus=1 + i % 8, hours=1.0 + i % 5) for i in range(20)), nodes=2)
    forecasts = carbon(made, *(300.0 + 100 * np.sin(np.arange(96))))
    first = to_json_bytes(decide(make_policy(name), made, forecasts))
    again = EmulatedCluster.from_dict(made.to_dict(), linear)
    assert first == to_json_bytes(decide(make_policy(name), again, forecasts))


def test_an_unknown_policy_is_named_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="fcfs, wait-awhile"):
        make_policy("fifo")


def test_decisions_hold_run_flags_of_the_jobs_alone() -> None:
    made = cluster(job("a", gpus=8, hours=2.0))
    decision = decide(Fcfs(), made, {})
    assert decision.commands == (Command("a/run_flag", 1.0, "1", "next in order of arrival", (("node-1", 8),)),)
    assert State(START).points == {}
