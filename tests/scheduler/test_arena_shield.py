"""No decision may cost a deadline that doing nothing would meet: certificates, brute force, and reckless policies."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.arena import STEP_S, Arena, ArenaAction, ArenaSettings, ArenaView, Limits, Parking, run, service
from scheduler.arena.run import late_jobs
from scheduler.arena.slots import ABSENT, RUNNING, SUSPENDED
from scheduler.arena.witness import Work, schedule
from tests.scheduler.arena_halls import Reckless, random_jobs, world


class Audited:
    """A policy that first checks, job by job, that the shield's standing schedule can be carried out from here."""

    name = "audited"

    def __init__(self, inner: Reckless, arena: Arena) -> None:
        self._inner, self._arena = inner, arena
        self.checked = 0

    def decide(self, view: ArenaView) -> ArenaAction:
        for row in range(view.batch):
            self._audit(view, row)
        return self._inner.decide(view)

    def _audit(self, view: ArenaView, row: int) -> None:
        jobs, cluster, now = view.jobs, self._arena.cluster, view.step
        pause_s = self._arena.world.settings.limits.min_pause_s
        opens = cluster.nodes.available(now)[row]
        busy: dict[tuple[int, int], int] = {}

        def occupy(node: int, gpus: int, first: int, seconds: float) -> None:
            for tick in range(first, int(np.ceil((first * STEP_S + seconds) / STEP_S - 1e-9))):
                busy[node, tick] = busy.get((node, tick), 0) + gpus

        for slot in np.flatnonzero(jobs.phase[row] != ABSENT):
            left_s, deadline_s = jobs.remaining_s[row, slot], jobs.deadline_s[row, slot]
            if jobs.phase[row, slot] == RUNNING:
                for node, gpus in enumerate((cluster.owner[row] == slot).sum(axis=1)):
                    occupy(node, int(gpus), now, left_s)
                assert not jobs.is_protected[row, slot] or now * STEP_S + left_s <= deadline_s + 1e-6
            elif jobs.is_protected[row, slot]:
                start, take = int(jobs.plan_step[row, slot]), jobs.plan_take[row, slot]
                assert start >= now
                assert take.sum() == jobs.gpus[row, slot]
                assert start * STEP_S + left_s <= deadline_s + 1e-6
                if jobs.phase[row, slot] == SUSPENDED:
                    assert start * STEP_S >= jobs.changed_s[row, slot] + pause_s
                for node in np.flatnonzero(take):
                    assert start >= opens[node]
                    occupy(int(node), int(take[node]), start, left_s)
                self.checked += 1
        assert all(gpus <= view.node_gpus for gpus in busy.values())


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("boot_s", [600.0, 1200.0])
def test_a_reckless_policy_misses_nothing_that_was_protected(seed: int, boot_s: float) -> None:
    rng = np.random.default_rng(seed)
    jobs = [random_jobs(rng, int(rng.integers(5, 40)), 16) for _ in range(5)]
    rules = ArenaSettings(parking=Parking(boot_s=boot_s, cycles_per_day=8))
    arena = Arena(world(jobs, settings=rules), shield=True)
    policy = Audited(Reckless(seed), arena)
    run([arena], [policy])
    fared = service(arena)
    assert policy.checked > 100
    assert fared.controller.sum() == 0
    assert (fared.infeasible + fared.capacity == fared.late).all()
    assert arena.totals.sums["refused"].sum() > 0
    assert arena.totals.sums["parked_node_h"].sum() > 0
    assert arena.cluster.outcomes.was_protected.sum() > 0.5 * fared.jobs.sum()


def test_without_the_shield_the_same_policy_misses_what_could_be_met() -> None:
    jobs = [random_jobs(np.random.default_rng(5), 20, 16) for _ in range(8)]
    bare, guarded = (Arena(world(jobs), shield=shield) for shield in (False, True))
    for arena in (bare, guarded):
        run([arena], [Reckless(1)])
    could = guarded.cluster.outcomes.was_protected
    assert (late_jobs(bare) & could).sum() > 20
    assert (late_jobs(guarded) & could).sum() == 0


def test_a_lone_job_is_held_no_longer_than_its_deadline_allows() -> None:
    """One gang with 4 h to spare, on parked nodes: it is woken and started in time, and finishes in time."""

    class Never:
        name = "never"

        def decide(self, view: ArenaView) -> ArenaAction:
            return ArenaAction(run=np.zeros_like(view.is_present), warm_nodes=np.ones(view.batch, dtype=np.int64))

    rng = np.random.default_rng(0)
    job = next(one for one in random_jobs(rng, 200, 16, 1.0) if one.flexible and one.gpus == 16 and one.work_s > 7200)
    arena = Arena(world([[job]]), shield=True)
    run([arena], [Never()])
    made = arena.cluster.outcomes
    slack_s = (job.deadline - job.submitted_at).total_seconds() - job.work_s
    waited_s = made.finished_s[0, 0] - arena.world.jobs.submit_s[0, 0] - job.work_s
    assert made.finished_s[0, 0] <= arena.world.jobs.deadline_s[0, 0]
    assert waited_s > slack_s - 4 * STEP_S  # and not much earlier than it had to


@st.composite
def tiny(draw: st.DrawFn) -> tuple[np.ndarray, Work]:
    """Two nodes of two GPUs, up to four jobs of one to four steps."""
    count = draw(st.integers(1, 4))
    available = np.array(draw(st.lists(st.integers(0, 3), min_size=4, max_size=4)), dtype=np.int32).reshape(1, 2, 2)
    steps = np.array([draw(st.integers(1, 4)) for _ in range(count)])
    gpus = np.array([draw(st.integers(1, 4)) for _ in range(count)])
    release = np.array([draw(st.integers(0, 3)) for _ in range(count)])
    deadline = np.array([draw(st.integers(1, 12)) for _ in range(count)])
    order = (deadline - steps).astype(np.float64)
    columns = (order, gpus, steps * STEP_S, release, deadline * STEP_S)
    work = Work(np.ones((1, count), dtype=np.bool_), *(np.asarray(one)[None] for one in columns))
    return available, work


@settings(max_examples=150, deadline=None)
@given(tiny())
def test_what_the_witness_calls_feasible_brute_force_can_do(case: tuple[np.ndarray, Work]) -> None:
    available, work = case
    made = schedule(available.copy(), work)
    if not made.late.any():
        assert feasible(available[0], work)


def test_the_witness_seldom_overlooks_a_schedule() -> None:
    rng = np.random.default_rng(0)
    found = there = 0
    for _ in range(300):
        count = int(rng.integers(2, 5))
        available = rng.integers(0, 3, (1, 2, 2)).astype(np.int32)
        steps, deadline = rng.integers(1, 5, count), rng.integers(4, 13, count)
        columns = ((deadline - steps).astype(float), rng.integers(1, 5, count), steps * STEP_S)
        work = Work(
            np.ones((1, count), dtype=np.bool_),
            *(np.asarray(one)[None] for one in columns),
            release=np.zeros((1, count), dtype=np.int64),
            deadline_s=(deadline * STEP_S)[None].astype(float),
        )
        can = feasible(available[0], work)
        there += can
        found += can and not schedule(available.copy(), work).late.any()
    assert there > 100
    assert found > 0.85 * there


def feasible(available: np.ndarray, work: Work) -> bool:
    """Whether any starts and placements on two nodes of two GPUs meet all deadlines: all of them are tried."""
    jobs = range(work.todo.shape[1])
    steps = [round(work.duration_s[0, j] / STEP_S) for j in jobs]
    choices = []
    for j in jobs:
        gpus = int(work.gpus[0, j])
        splits = [(gpus, 0), (0, gpus)] if gpus <= 2 else [(2, gpus - 2), (gpus - 2, 2)]
        last = int(work.deadline_s[0, j] / STEP_S) - steps[j]
        starts = range(int(work.release[0, j]), last + 1)
        choices.append([(start, split) for start in starts for split in set(splits)])
    room = np.array([[(available[node] <= tick).sum() for tick in range(16)] for node in range(2)])
    return _fits(choices, steps, room)


def _fits(choices: list[list[tuple[int, tuple[int, int]]]], steps: list[int], room: np.ndarray) -> bool:
    if not choices:
        return True
    for start, split in choices[0]:
        left = room.copy()
        left[:, start : start + steps[0]] -= np.array(split)[:, None]
        if (left >= 0).all() and _fits(choices[1:], steps[1:], left):
            return True
    return False


@pytest.mark.parametrize(("gpus", "power"), list(product([1, 8], [250.0, 400.0])))
def test_caps_keep_to_their_floor_and_slow_what_they_save(gpus: int, power: float) -> None:
    jobs = [[one for one in random_jobs(np.random.default_rng(3), 60, 16) if one.gpus == gpus]]
    arena = Arena(world(jobs, settings=ArenaSettings(limits=Limits(cap_min_w=250.0))))

    class Capped:
        name = "capped"

        def decide(self, view: ArenaView) -> ArenaAction:
            return ArenaAction(run=view.is_present, cap_w=np.full((1, 2), power - 200.0 if power < 300 else power))

    run([arena], [Capped()])
    stretch = float(service(arena).stretch_pct[0])
    assert stretch == pytest.approx(0.0, abs=1e-6) if power == 400.0 else 10.0 < stretch < 25.0
