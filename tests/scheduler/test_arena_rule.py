"""The quantile rule: ranks counted by hand, who may be held, and how many nodes stay warm."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from facility.records import Job, WorkClass
from facility.site import load_site
from scheduler.arena import Arena, ArenaFcfs, ArenaView, run, service
from scheduler.arena.controls import ACTIONS, Reach, act, moved
from scheduler.arena.rule import QuantileRule, RuleParams, decide, rank_of_now
from scheduler.arena.scenarios import Window, world_of
from tests.scheduler.arena_pool import DAYS, START, pool, signals, window
from twin.plant import plant_control

HOUR_S = 3600.0
FULL = RuleParams(min_gpu_h=1e9, cap_compute_w=400.0, cap_memory_w=400.0, spare_nodes=99.0)


def job(name: str, gpus: int, hours: float, slack_h: float, *, flexible: bool = True) -> Job:
    ends = START + timedelta(hours=hours + slack_h)
    return Job(name, START, gpus, hours * HOUR_S, ends, flexible, WorkClass.COMPUTE_BOUND)


def view_of(*jobs: Job) -> ArenaView:
    hall = load_site().hall
    made = world_of(hall, [Window(signals(), START, jobs)], plant_control("rule", hall), steps=96)
    return Arena(made).view()


@given(st.lists(st.integers(1, 5), min_size=4, max_size=30), st.floats(1.0, 40.0 * HOUR_S))
def test_the_rank_is_the_share_of_cheaper_hours_in_the_window(values: list[int], window_s: float) -> None:
    forecast = np.array([values], dtype=np.float64)
    hours = min(max(int(np.ceil(window_s / HOUR_S)), 1), len(values))
    cheaper = sum(value < values[0] for value in values[:hours])
    assert rank_of_now(forecast, np.array([[window_s]]))[0, 0] == cheaper / hours


def test_small_inflexible_and_urgent_jobs_are_never_held() -> None:
    jobs = (
        job("a-small", 1, 1.0, 24.0),
        job("b-rigid", 16, 10.0, 24.0, flexible=False),
        job("c-urgent", 16, 10.0, 1.0),
        job("d-large", 16, 10.0, 24.0),
    )
    decided = decide(view_of(*jobs), RuleParams(kappa=0.0, min_gpu_h=64.0))
    assert decided.full_power is not None
    assert decided.reserve is not None
    names = ("a-small", "b-rigid", "c-urgent", "d-large")
    assert dict(zip(names, decided.run[0].tolist(), strict=False)) == dict(
        zip(names, (True, True, True, False), strict=True)
    )
    assert decided.full_power[0, :4].tolist() == [False, False, True, False]
    assert decided.reserve[0, :4].tolist() == [True, True, True, False]


def test_a_large_kappa_holds_nobody() -> None:
    decided = decide(view_of(job("a", 16, 10.0, 24.0)), RuleParams(kappa=1e9))
    assert decided.run[0, 0]


def test_warm_nodes_are_those_that_the_wanted_gangs_need() -> None:
    gangs = (job("a", 3, 1.0, 24.0), job("b", 4, 1.0, 24.0), job("c", 2, 1.0, 24.0), job("d", 16, 9.0, 24.0))
    decided = decide(view_of(*gangs), RuleParams(kappa=1e9))
    assert decided.warm_nodes is not None
    assert decided.warm_nodes.tolist() == [4]  # nine GPUs in small gangs: two nodes; sixteen: two whole ones
    assert decide(view_of(*gangs), FULL).warm_nodes.tolist() == [8]  # type: ignore[union-attr]


def test_the_rule_saves_carbon_and_energy_and_parks_nodes() -> None:
    hall = load_site().hall
    made = world_of(hall, [window(0), window(30)], plant_control("rule", hall), steps=96 * (DAYS + 8))
    done = run([Arena(made), Arena(made)], [ArenaFcfs(), QuantileRule()], least_steps=96 * DAYS)
    fcfs, rule = (one.totals.sums for one in done)
    assert (rule["carbon_kg"] < 0.95 * fcfs["carbon_kg"]).all()
    assert (rule["it_kwh"] < 0.95 * fcfs["it_kwh"]).all()
    assert (rule["parked_node_h"] > 10.0).all()
    assert (fcfs["parked_node_h"] == 0.0).all()
    assert done[0].totals.steps == done[1].totals.steps
    assert (service(done[0].arena).jobs == service(done[1].arena).jobs).all()


def test_zero_action_is_the_rule_and_others_move_it() -> None:
    world, _ = pool().rows(np.array([0, 1]))
    view = Arena(world).view()
    centre = RuleParams(kappa=1.5, cap_compute_w=300.0, cap_memory_w=300.0)
    zero, rule = act(view, np.zeros((2, len(ACTIONS))), centre), decide(view, centre)
    for name in ("run", "reserve", "order", "cap_w", "full_power", "warm_nodes"):
        np.testing.assert_array_equal(getattr(zero, name), getattr(rule, name))
    assert zero.residual is None
    made = moved(centre, np.array([[1.0, -1.0, 1.0, -1.0, 0.5, 0, 0, 0, 0]]), 8, Reach())
    assert made.kappa == 3.0
    assert made.min_gpu_h == 8.0
    assert made.cap_compute_w == 400.0
    assert made.cap_memory_w == 250.0
    assert made.spare_nodes == 1.0
