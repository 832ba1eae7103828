"""The arena's FCFS is that of the event-exact simulator, job by job; and many halls in a batch are each alone."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from scheduler.account import Setting, row
from scheduler.arena import (
    Arena,
    ArenaAction,
    ArenaFcfs,
    ArenaSettings,
    ArenaView,
    JobTable,
    World,
    run,
    service,
    steps_covered,
    surroundings,
)
from scheduler.arena.placing import place
from scheduler.placement import place as place_one
from scheduler.rules import make_policy
from scheduler.simulate import Task, simulate
from tests.scheduler.arena_halls import random_jobs, small_hall, world
from tests.scheduler.grid import START, signals, site, trace
from twin.plant import plant_control
from twin.traces import scale_trace


@pytest.mark.parametrize(("plant", "utilisation"), [("legacy", 0.6), ("legacy", 0.9), ("optimum", 0.9)])
def test_fcfs_agrees_with_the_event_exact_simulator(plant: str, utilisation: float) -> None:
    """Completions to a microsecond; energies to 1e-9 on a plant without ramps, to 0.1 % on one whose setpoints move."""
    hall, around = site().hall, signals()
    jobs = scale_trace(
        trace(), start=START, days=4.0, gpus_total=64, utilisation=utilisation, slack_h=24.0, flexible=0.7, seed=2
    )
    task = Task(jobs, START, START + timedelta(days=4), hall, plant_control(plant, hall), around)
    (exact,), surrounded = simulate(task, [make_policy("fcfs")])
    wanted = row(exact, surrounded, site().tariff, Setting(plant, "", utilisation, 24.0, 0.7, 2, synthetic=True))

    made = World(
        hall,
        JobTable.of([jobs], [START]),
        surroundings([around], [START], steps_covered(around, START)),
        plant_control(plant, hall),
        ArenaSettings(cooling_leads=False),
    )
    arena = Arena(made)
    run([arena], [ArenaFcfs()], least_steps=4 * 96)
    fared, sums = service(arena), arena.totals.sums

    finished = dict(zip(made.jobs.names[0], arena.cluster.outcomes.finished_s[0], strict=False))
    for one in exact.runs:
        assert one.finished_at is not None
        assert finished[one.job.name] == pytest.approx((one.finished_at - START).total_seconds(), abs=1e-5)
    assert arena.totals.steps == len(surrounded.intensity_g_kwh)
    assert (fared.jobs[0], fared.late[0]) == (wanted.jobs, wanted.late_jobs)
    assert fared.mean_wait_h[0] == pytest.approx(wanted.mean_wait_h, rel=1e-9)
    assert fared.slowdown[0] == pytest.approx(wanted.slowdown, rel=1e-9)
    near = 1e-9 if plant == "legacy" else 1e-3
    for name in ("it_kwh", "facility_kwh", "carbon_kg", "water_l", "dynamic_it_kwh"):
        assert sums[name][0] == pytest.approx(getattr(wanted, name), rel=near), name


def test_a_hall_of_a_batch_is_what_it_is_alone() -> None:
    rng = np.random.default_rng(7)
    jobs = [random_jobs(rng, count, 16) for count in (3, 40, 0, 17)]
    together = Arena(world(jobs))
    run([together], [ArenaFcfs()], least_steps=400)
    for index, own in enumerate(jobs):
        alone = Arena(world([own]))
        run([alone], [ArenaFcfs()], least_steps=400)
        ours, theirs = alone.cluster.outcomes, together.cluster.outcomes
        np.testing.assert_array_equal(ours.finished_s[0, : len(own)], theirs.finished_s[index, : len(own)])
        if alone.totals.steps == together.totals.steps:
            for name in ("it_kwh", "facility_kwh", "carbon_kg"):
                assert alone.totals.sums[name][0] == pytest.approx(together.totals.sums[name][index], rel=1e-12)


def test_carbon_is_the_sum_of_loads_times_intensity() -> None:
    jobs = [random_jobs(np.random.default_rng(1), 30, 16) for _ in range(3)]
    arena, steps = Arena(world(jobs)), []
    run([arena], [ArenaFcfs()], told=lambda _, __, account: steps.append(account))
    intensity = arena.world.around.intensity_g_kwh
    carbon = sum(step.facility_w * intensity[index] / 4e6 for index, step in enumerate(steps))
    np.testing.assert_allclose(arena.totals.sums["carbon_kg"], carbon, rtol=1e-12)
    for step in steps:
        np.testing.assert_allclose(sum(step.flows.values()), step.facility_w, rtol=1e-12)


def test_gangs_hold_their_gpus_whole_and_no_gpu_serves_two() -> None:
    jobs = [random_jobs(np.random.default_rng(2), 60, 16) for _ in range(4)]
    arena = Arena(world(jobs, small_hall(2)))

    class Watching(ArenaFcfs):
        def decide(self, view: ArenaView) -> ArenaAction:
            owner = arena.cluster.owner
            for index in range(view.batch):
                held = np.bincount(owner[index][owner[index] >= 0], minlength=view.jobs.gpus.shape[1])
                wanted = np.where(view.is_running[index], view.jobs.gpus[index], 0)
                np.testing.assert_array_equal(held, wanted)
            return super().decide(view)

    run([arena], [Watching()])
    assert service(arena).jobs.sum() == 240


def test_gangs_are_placed_as_the_live_scheduler_places_them() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        free = rng.integers(0, 9, int(rng.integers(1, 10)))
        gpus = int(rng.integers(1, 40))
        named = {f"n{index}": int(count) for index, count in enumerate(free)}
        wanted = dict(place_one(gpus, named, 8) or ())
        take, fits = place(np.array([gpus]), free[None], 8)
        assert bool(fits[0]) == bool(wanted)
        assert {f"n{index}": int(count) for index, count in enumerate(take[0]) if count} == wanted
