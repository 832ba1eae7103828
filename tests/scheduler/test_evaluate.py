from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from facility.errors import ConfigError, DataError, EcoError
from facility.site import Tariff
from scheduler import evaluate
from scheduler.account import COMPONENTS, Row, cost_usd
from scheduler.bound import clairvoyant_bound
from scheduler.cluster.codec import to_json_bytes
from scheduler.cluster.emulated import EmulatedCluster
from scheduler.evaluate import Benchmark, benchmark_with, mean_row
from scheduler.executor import run_all
from scheduler.rules import make_policy
from scheduler.simulate import STEP_S, Surroundings, apply, decide
from tests.scheduler.curves import job
from tests.scheduler.grid import START, config, signals, site, trace
from twin.air import Weather
from twin.forecast import issue_forecasts
from twin.signals import Series, Signals
from twin.traces import scale_trace

FIELDS = """
policy plant parking zone utilisation slack_h flexible it_kwh facility_kwh pue effective_ci_g_kwh flat_ci_g_kwh
cue_kg_kwh carbon_kg cost_usd water_l peak_kw kwh_per_job wh_per_step jobs late_jobs mean_wait_h slowdown
stretch_pct envelope_violation_min
"""


@pytest.fixture(scope="module")
def made() -> Benchmark:
    return benchmark_with(config(policies=("fcfs", "wait-awhile", "bound")), signals(), trace())


def test_rows_hold_every_field_and_come_in_the_order_asked(made: Benchmark) -> None:
    assert [row.policy for row in made.rows] == ["fcfs", "wait-awhile", "bound"]
    assert set(FIELDS.split()) <= set(asdict(made.rows[0]))
    json.dumps([asdict(row) for row in made.rows], allow_nan=False)
    assert made.rows[0].synthetic
    assert made.rows[2].it_kwh is None
    assert made.rows[2].pue is None


def test_carbon_recomputes_from_the_series_and_from_the_three_factors(made: Benchmark) -> None:
    for row in made.rows[:2]:
        steps = made.series.filter(pl.col("policy") == row.policy)
        hours = STEP_S / 3600.0
        loads = sum(steps[name].to_numpy() for name in COMPONENTS)
        carbon_kg = float(np.dot(loads, steps["intensity_g_kwh"].to_numpy())) * hours / 1e6
        assert row.carbon_kg == pytest.approx(carbon_kg, rel=1e-9)
        assert row.it_kwh is not None
        assert row.pue is not None
        assert row.effective_ci_g_kwh is not None
        assert row.carbon_kg == pytest.approx(row.it_kwh * row.pue * row.effective_ci_g_kwh / 1000.0, rel=1e-9)
        assert row.facility_kwh == pytest.approx(steps["facility_w"].sum() * hours / 1000.0, rel=1e-9)
        assert row.it_kwh == pytest.approx(steps["it_w"].sum() * hours / 1000.0, rel=1e-9)
        assert row.water_l == pytest.approx(steps["water_l"].sum(), rel=1e-9)
        assert row.horizon_h == len(steps) * hours


def test_all_policies_do_the_same_work_over_the_same_horizon(made: Benchmark) -> None:
    fcfs, waiting, bound = made.rows
    assert fcfs.jobs == waiting.jobs > 50
    assert fcfs.horizon_h == waiting.horizon_h >= 96.0
    assert fcfs.flat_ci_g_kwh == waiting.flat_ci_g_kwh
    assert bound.dynamic_it_kwh == pytest.approx(fcfs.dynamic_it_kwh, rel=1e-6)
    assert waiting.dynamic_it_kwh >= fcfs.dynamic_it_kwh * (1.0 - 1e-9)  # suspending costs work


def test_wait_awhile_saves_and_never_more_than_the_bound(made: Benchmark) -> None:
    fcfs, waiting, bound = made.rows
    assert fcfs.carbon_kg is not None
    assert waiting.carbon_kg is not None
    assert waiting.carbon_kg < fcfs.carbon_kg
    assert bound.dynamic_carbon_kg < waiting.dynamic_carbon_kg < fcfs.dynamic_carbon_kg
    assert waiting.bound_share_pct is not None
    assert 0.0 < waiting.bound_share_pct < 100.0


def test_nothing_after_a_decision_can_change_it() -> None:
    """A day of decisions, each made again from signals of which every later value is corrupted."""
    true = signals()
    hall = site().hall
    jobs = scale_trace(
        trace(), start=START, days=2.0, gpus_total=hall.gpus, utilisation=0.6, slack_h=24.0, flexible=0.7, seed=3
    )
    for name in ("fcfs", "wait-awhile"):
        policy = make_policy(name)
        cluster = EmulatedCluster.from_hall(hall, jobs, START)
        for tick in range(96):
            decision = decide(policy, cluster, issue_forecasts(true, cluster.at))
            told_lies = decide(policy, cluster, issue_forecasts(corrupted(true, cluster), cluster.at))
            assert to_json_bytes(told_lies) == to_json_bytes(decision), f"{name} at {cluster.at}"
            apply(cluster, decision)
            cluster.advance(START + timedelta(seconds=STEP_S * (tick + 1)))
        assert name == "fcfs" or any(status.suspensions for status in cluster.statuses()) or cluster.finished


def corrupted(true: Signals, cluster: EmulatedCluster) -> Signals:
    def lie(series: Series) -> Series:
        value = series.value.copy()
        # A value stamped before the decision may be public; a day-ahead price may be public before its stamp.
        value[max(series.known_count(cluster.at), 0) :] = -12345.0
        return replace(series, value=value)

    price = None if true.price is None else lie(true.price)
    return replace(true, carbon=lie(true.carbon), drybulb=lie(true.drybulb), rh=lie(true.rh), price=price)


def test_files_that_do_not_cover_the_time_are_named_with_what_is_needed() -> None:
    short = signals()
    late = config(start=short.end - timedelta(days=5), days=5)
    with pytest.raises(DataError, match=r"until the last job is done.*neighbouring") as caught:
        benchmark_with(late, short, trace())
    assert f"{short.end:%Y-%m-%d}" in str(caught.value)
    with pytest.raises(DataError, match="needs carbon from"):
        benchmark_with(config(start=short.start + timedelta(hours=12)), short, trace())


def test_configuration_is_checked() -> None:
    with pytest.raises(ConfigError, match="twice"):
        config(policies=("fcfs", "fcfs"))
    with pytest.raises(ConfigError, match="bound alone"):
        config(policies=("bound",))
    with pytest.raises(ConfigError, match="time zone"):
        config(start=START.replace(tzinfo=None))


def test_the_bill_is_energy_peak_and_fees_and_unknown_where_a_part_is() -> None:
    weather = Weather.of(np.full(4, 20.0), np.full(4, 50.0))
    around = Surroundings(START, np.full(4, 300.0), np.full(4, 50.0), weather)
    tariff = Tariff(energy_adder_usd_kwh=0.05, demand_charge_usd_kw_month=20.0, fixed_usd_month=730.5)
    power_w = np.array([10e3, 20e3, 10e3, 0.0])
    months = 1.0 / 730.5
    expected = 10.0 * (0.05 + 0.05) + 20.0 * 20.0 * months + 730.5 * months
    assert cost_usd(power_w, around, tariff) == pytest.approx(expected)
    assert cost_usd(power_w, around, Tariff()) is None
    assert cost_usd(power_w, replace(around, price_usd_mwh=None), tariff) is None


def test_the_bound_is_the_hand_computed_optimum() -> None:
    jobs = [job("a", gpus=8, hours=1.0, slack_h=2.0), job("b", gpus=4, hours=1.0, slack_h=1.0, flexible=False)]
    done = {"a": START + timedelta(hours=1), "b": START + timedelta(hours=1)}
    bound = clairvoyant_bound(
        jobs, done, np.array([300.0, 100.0, 200.0]), start=START, gpus_total=8, gpu_w=lambda one: 500.0
    )
    assert bound.dynamic_kwh == pytest.approx(6.0)
    assert bound.dynamic_carbon_kg == pytest.approx(4 * 0.5 * 0.3 + 8 * 0.5 * 0.1)
    assert bound.gpus_busy == pytest.approx([4.0, 8.0, 0.0])


def test_repetitions_are_averaged_with_their_spread(made: Benchmark) -> None:
    first = made.rows[0]
    assert first.it_kwh is not None
    other: Row = replace(first, it_kwh=first.it_kwh + 2.0, seed=1)
    mean = mean_row([first, other])
    assert mean.it_kwh == pytest.approx(first.it_kwh + 1.0)
    assert mean.seeds == 2
    assert mean.spread is not None
    assert mean.spread["it_kwh"] == pytest.approx(2.0**0.5)
    assert mean.policy == "fcfs"
    missing = mean_row([first, replace(other, pue=None)])
    assert missing.pue is None
    assert mean_row([first]) is first


def test_seeds_are_repeated_and_averaged(monkeypatch: pytest.MonkeyPatch, made: Benchmark) -> None:
    seen: list[int] = []

    def pretend(one: evaluate.BenchmarkConfig) -> list[Row]:
        seen.append(one.seed)
        return [replace(made.rows[0], seed=one.seed)]

    monkeypatch.setattr(evaluate, "run_benchmark", pretend)
    rows = evaluate.run_seeds(config(seed=7), 3, backend="serial")
    assert seen == [7, 8, 9]
    assert rows[0].seeds == 3


def test_work_runs_on_processes_in_order() -> None:
    done: list[int] = []
    assert run_all(abs, [-1, 2, -3], workers=2, done=done.append) == [1, 2, 3]
    assert done == [1, 2, 3]
    assert run_all(abs, [-1], done=done.append) == [1]


def test_ray_is_an_extra_that_says_how_to_get_it() -> None:
    try:
        import ray  # noqa: F401
    except ImportError:
        with pytest.raises(EcoError, match=r"eco-orchestrator\[ray\]"):
            run_all(abs, [-1], backend="ray")
