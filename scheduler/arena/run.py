"""Arenas in lockstep until the last job of all is done, so that every policy is charged the same horizon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from scheduler.arena.account import StepAccount, Totals
from scheduler.arena.arena import Arena
from scheduler.arena.arrays import BoolArray, IntArray
from scheduler.arena.settings import STEP_S
from scheduler.arena.view import ArenaPolicy

Told = Callable[[int, int, StepAccount], None]  # arena, step, what happened


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One policy's halls at the end."""

    policy: str
    totals: Totals
    arena: Arena


def run(
    arenas: Sequence[Arena],
    policies: Sequence[ArenaPolicy],
    *,
    least_steps: int = 0,
    told: Told | None = None,
) -> tuple[Run, ...]:
    """Step every arena under its policy until all are drained and ``least_steps`` are over.

    ``told`` hears of every step. Raises DataError where the signals end before.
    """
    step = 0
    while step < least_steps or not all(arena.cluster.is_drained.all() for arena in arenas):
        for index, (arena, policy) in enumerate(zip(arenas, policies, strict=True)):
            account = arena.step(policy.decide(arena.view()))
            if told is not None:
                told(index, step, account)
        step += 1
    return tuple(Run(policy.name, arena.totals, arena) for arena, policy in zip(arenas, policies, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """How the jobs of each hall fared, arrays (B,); late jobs by cause add up to ``late``."""

    jobs: IntArray
    late: IntArray  # finished after their soft deadline
    infeasible: IntArray  # could not have met it had they started when they came in
    capacity: IntArray  # no schedule with what was admitted before could have met it
    controller: IntArray  # were protected and missed it: zero under the shield
    displaced: IntArray | None  # of ``capacity``: the reference run met it; None without a reference
    mean_wait_h: FloatArray  # not running, between submission and completion
    slowdown: FloatArray  # mean of completion time over run time at full power
    stretch_pct: FloatArray  # running longer than at full power, redone work included
    suspensions: IntArray


def service(arena: Arena, reference: Arena | None = None) -> Service:
    """The outcome of all jobs that are done; ``reference`` is another run over the same jobs, FCFS as a rule.

    A job can be displaced without a miss of the controller: when it came in there was no room left for it beside the
    jobs that had rightly been deferred, while a cluster that never defers would have had it.
    """
    table, made = arena.world.jobs, arena.cluster.outcomes
    done = np.isfinite(made.finished_s)
    count = np.maximum(done.sum(axis=1), 1)
    taken_s = np.where(done, made.finished_s - table.submit_s, 0.0)
    work_s = np.where(done, table.work_s, 1.0)
    running_s = np.where(done, made.running_s, 0.0)
    late = done & (made.finished_s > table.deadline_s)
    seen_s = np.ceil(table.submit_s / STEP_S) * STEP_S
    infeasible = late & (seen_s + table.work_s > table.deadline_s) & ~made.was_protected
    controller = late & made.was_protected
    capacity = late & ~infeasible & ~controller
    displaced = None if reference is None else (capacity & ~late_jobs(reference)).sum(axis=1)
    return Service(
        jobs=done.sum(axis=1),
        late=late.sum(axis=1),
        infeasible=infeasible.sum(axis=1),
        capacity=capacity.sum(axis=1),
        controller=controller.sum(axis=1),
        displaced=displaced,
        mean_wait_h=(taken_s - running_s).sum(axis=1) / count / 3600.0,
        slowdown=np.where(done, taken_s / work_s, 0.0).sum(axis=1) / count,
        stretch_pct=100.0 * (running_s.sum(axis=1) / np.where(done, work_s, 0.0).sum(axis=1) - 1.0),
        suspensions=np.where(done, made.suspensions, 0).sum(axis=1),
    )


def late_jobs(arena: Arena) -> BoolArray:
    """Which jobs (B, J) finished after their deadline."""
    return np.asarray(arena.cluster.outcomes.finished_s > arena.world.jobs.deadline_s)
