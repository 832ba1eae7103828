"""Nodes that park and wake, electrical limits and ramps, caps and clocks, plant corrections, and batches of plants."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from facility.errors import ConfigError, DataError
from facility.records import Job, WorkClass
from scheduler.arena import (
    Arena,
    ArenaAction,
    ArenaFcfs,
    ArenaSettings,
    ArenaView,
    Limits,
    Parking,
    StepAccount,
    run,
    service,
)
from scheduler.arena.nodes import BOOTING, DRAINING, ON, PARKED
from scheduler.arena.power import GpuRates
from scheduler.arena.settings import Stalls
from tests.scheduler.arena_halls import START, Reckless, random_jobs, small_hall, world
from twin.halls import batch


def gang(name: str, gpus: int, hours: float, after_h: float = 0.0, slack_h: float = 24.0) -> Job:
    submitted = START + timedelta(hours=after_h)
    deadline = submitted + timedelta(hours=hours + slack_h)
    return Job(name, submitted, gpus, hours * 3600.0, deadline, True, WorkClass.COMPUTE_BOUND, suspend_cost_s=600.0)


class Scripted:
    """Does what a list says, step by step, then FCFS."""

    name = "scripted"

    def __init__(self, warm: list[int] | None = None, hold: range = range(0)) -> None:
        self._warm, self._hold = warm or [], hold
        self.states: list[list[int]] = []

    def decide(self, view: ArenaView) -> ArenaAction:
        self.states.append(view.nodes.state[0].tolist())
        run = view.is_present & (view.step not in self._hold)
        warm = self._warm[view.step] if view.step < len(self._warm) else view.nodes.state.shape[1]
        return ArenaAction(run=run, warm_nodes=np.array([warm]))


def history(arena: Arena, policy: object, steps: int) -> list[StepAccount]:
    told: list[StepAccount] = []
    run([arena], [policy], least_steps=steps, told=lambda _, __, account: told.append(account))  # type: ignore[list-item]
    return told


def test_a_node_drains_parks_and_boots_and_draws_what_it_should() -> None:
    rules = ArenaSettings(parking=Parking(boot_s=1200.0, parked_w=120.0, boot_w=1900.0))
    plain = history(Arena(world([[]], settings=rules)), Scripted(), 8)
    policy = Scripted(warm=[2, 1, 1, 1, 2, 2, 2, 2])
    parked = history(Arena(world([[]], settings=rules)), policy, 8)
    assert [state[1] for state in policy.states] == [ON, ON, PARKED, PARKED, PARKED, BOOTING, ON, ON]
    node_w = plain[3].it_w[0] / 2.0
    assert parked[3].it_w[0] - node_w == pytest.approx(120.0, abs=15.0)
    assert parked[4].it_w[0] - node_w == pytest.approx(1900.0, rel=0.05)  # the whole step boots
    share = 300.0 / 900.0  # of the next one
    assert parked[5].it_w[0] - node_w == pytest.approx(share * 1900.0 + (1.0 - share) * node_w, rel=0.05)
    assert sum(step.parked_node_h[0] for step in parked) == 3 * 0.25
    shut = 300.0 / 900.0  # of the first step is the way down, at idle power
    assert parked[1].it_w[0] - node_w == pytest.approx(shut * node_w + (1.0 - shut) * 120.0, rel=0.06)


def test_a_busy_node_drains_before_it_parks_and_takes_nothing_new() -> None:
    jobs = [gang("a", 8, 1.0), gang("b", 4, 1.0), gang("late", 4, 1.0, after_h=0.25)]
    policy = Scripted(warm=[2, *[1] * 30])
    arena = Arena(world([jobs]))
    history(arena, policy, 12)
    assert policy.states[2:5] == [[ON, DRAINING]] * 3
    assert policy.states[6] == [ON, PARKED]
    assert arena.cluster.outcomes.first_start_s[0, 2] >= 3600.0  # not on the node that drains, though it had room


def test_cycles_a_day_are_limited() -> None:
    policy = Scripted(warm=[1, 2, 2, 2] * 24)
    arena = Arena(world([[]], settings=ArenaSettings(parking=Parking(cycles_per_day=3))))
    history(arena, policy, 96)
    states = np.array(policy.states)[:, 1]
    assert ((states[1:] == PARKED) & (states[:-1] != PARKED)).sum() == 3


def test_a_suspended_job_pays_its_checkpoint_and_keeps_shortest_run_and_pause() -> None:
    arena = Arena(world([[gang("a", 8, 2.0)]]))
    history(arena, Scripted(hold=range(1, 6)), 1)
    made = arena.cluster.outcomes
    assert made.suspensions[0, 0] == 1
    # Runs 1 h (not 15 min), pauses 1 h (not 30 min), then the other hour and the redone work.
    assert made.finished_s[0, 0] == pytest.approx(3 * 3600.0 + 600.0)
    assert made.running_s[0, 0] == pytest.approx(2 * 3600.0 + 600.0)


def test_caps_are_chosen_so_that_a_full_hall_keeps_its_electrical_limits() -> None:
    jobs = [[gang(f"j{index}", 8, 2.0) for index in range(8)]]
    free = history(Arena(world(jobs)), ArenaFcfs(), 1)
    most = max(float(step.it_w[0]) for step in free)
    tight = ArenaSettings(limits=Limits(it_w=0.9 * most))
    arena = Arena(world(jobs, settings=tight))
    held = history(arena, ArenaFcfs(), 1)
    assert max(float(step.it_w[0]) for step in held) <= 0.9 * most
    assert service(arena).stretch_pct[0] > 1.0
    with pytest.raises(ConfigError, match="exceeds its electrical limits"):
        Arena(world(jobs, settings=ArenaSettings(limits=Limits(it_w=0.3 * most))))


@pytest.mark.parametrize("shield", [False, True])
def test_starts_keep_to_the_ramp(shield: bool) -> None:
    rules = ArenaSettings(limits=Limits(ramp_w=2_000.0))
    jobs = [random_jobs(np.random.default_rng(seed), 40, 16) for seed in range(3)]
    arena = Arena(world(jobs, settings=rules), shield=shield)
    told = history(arena, Reckless(3), 1)
    assert sum(step.ramp_over_w.sum() for step in told) == 0.0
    assert max(step.started.max() for step in told) > 1
    assert not shield or service(arena).controller.sum() == 0


def test_clocks_save_in_stalls_and_slow_memory_bound_work_a_little() -> None:
    rates = GpuRates.of(small_hall(), Stalls())
    cap, none, low = (np.full((1, 2), value) for value in (400.0, 0.0, 0.2))
    speed, power = rates.at(cap, none)
    np.testing.assert_allclose(speed, 1.0)
    np.testing.assert_allclose(power[0], rates.full_w)
    slower, less = rates.at(cap, low)
    assert slower[0, 0] == 1.0  # compute-bound work keeps its clock outside stalls
    assert 0.95 < slower[0, 1] < 1.0
    assert 0.97 * power[0, 0] < less[0, 0] < power[0, 0]
    assert less[0, 1] < 0.8 * power[0, 1]


def test_a_correction_that_would_heat_an_inlet_is_dropped() -> None:
    jobs = [[gang(f"j{index}", 8, 6.0) for index in range(2)]]

    class Hot:
        name = "hot"

        def decide(self, view: ArenaView) -> ArenaAction:
            return ArenaAction(run=view.is_present, residual=np.array([[9.0, -0.5, 6.0, -1.0]]))

    arena = Arena(world(jobs, plant="optimum"))
    told = history(arena, Hot(), 60)
    assert max(float(step.max_inlet_c[0]) for step in told) <= 27.0 + 1e-6
    assert arena.totals.sums["hot_min"][0] == 0.0


def test_plants_of_a_batch_differ_and_the_better_one_draws_less() -> None:
    hall = small_hall()
    worse = hall.model_copy(update={"chiller": hall.chiller.model_copy(update={"rated_cop": 3.0})})
    jobs = [[gang(f"j{index}", 8, 6.0) for index in range(4)]] * 2
    made = replace(world(jobs, hall, plant="legacy"), params=batch([hall, worse]))
    arena = Arena(made)
    history(arena, ArenaFcfs(), 40)
    sums = arena.totals.sums
    assert sums["it_kwh"][0] == pytest.approx(sums["it_kwh"][1], rel=0.01)
    assert sums["chiller_kwh"][1] > 1.2 * sums["chiller_kwh"][0]


def test_the_cooling_leads_the_load() -> None:
    jobs = [[gang("a", 16, 3.0, after_h=3.0)]]
    pumps = []
    for leads in (False, True):
        rules = ArenaSettings(cooling_leads=leads)
        pumps.append(
            [
                float(step.flows["chw_pump_w"][0])
                for step in history(Arena(world(jobs, settings=rules)), ArenaFcfs(), 20)
            ]
        )
    first = 12  # the step in which the gang starts
    assert pumps[1][first] > 1.02 * pumps[0][first]
    assert pumps[1][first - 1] == pytest.approx(pumps[0][first - 1], rel=1e-6)


def test_signals_that_end_too_early_are_an_error_that_says_so() -> None:
    arena = Arena(world([[gang("a", 8, 20.0)]], days=0.5))
    with pytest.raises(DataError, match=r"signals end after 0.5 days"):
        run([arena], [ArenaFcfs()])


def test_a_gang_too_wide_for_the_hall_is_refused() -> None:
    with pytest.raises(DataError, match="17 GPUs"):
        Arena(world([[gang("a", 17, 1.0)]]))


def test_many_arrivals_and_a_long_queue_grow_the_slots_and_lose_nobody() -> None:
    rng = np.random.default_rng(11)
    jobs = [random_jobs(rng, 300, 8, hours=12.0), random_jobs(rng, 5, 8)]
    arena = Arena(world(jobs, days=19.0))
    run([arena], [ArenaFcfs()])
    np.testing.assert_array_equal(service(arena).jobs, [300, 5])
    work = arena.world.jobs
    gpu_h = (work.work_s * work.gpus).sum(axis=1) / 3600.0
    np.testing.assert_allclose(arena.totals.sums["busy_gpu_h"], gpu_h, rtol=1e-9)
