"""Small halls, random jobs and a policy that decides at random, for tests of the arena."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from facility.records import Job, WorkClass
from facility.site import Hall, load_site
from scheduler.arena import ArenaAction, ArenaSettings, ArenaView, JobTable, World, surroundings
from twin.plant import plant_control
from twin.signals import Signals, synthetic_signals

START = datetime(2023, 5, 1, tzinfo=UTC)


def small_hall(racks: int = 1) -> Hall:
    """Two nodes of eight GPUs in every rack."""
    return load_site().hall.model_copy(update={"racks": racks, "nodes_per_rack": 2})


def signals(days: float = 20.0) -> Signals:
    return synthetic_signals("US-CAL-CISO", START - timedelta(days=1), days, seed=1)


def random_jobs(rng: np.random.Generator, count: int, most_gpus: int, hours: float = 24.0) -> tuple[Job, ...]:
    """Jobs over ``hours``, half of them flexible, with slacks from minutes to a day."""
    made = []
    for index in range(count):
        submitted = START + timedelta(seconds=float(rng.integers(0, int(hours * 3600))))
        work_s = float(rng.integers(60, 6 * 3600))
        slack_s = float(rng.choice([900.0, 3600.0, 4 * 3600.0, 24 * 3600.0])) * float(rng.uniform(0.5, 1.5))
        made.append(
            Job(
                f"job-{index:03d}",
                submitted,
                int(rng.choice([1, 2, 4, 8, 12, 16][: 4 if most_gpus < 12 else 6])),
                work_s,
                submitted + timedelta(seconds=work_s + slack_s),
                bool(rng.random() < 0.7),
                WorkClass.COMPUTE_BOUND if rng.random() < 0.5 else WorkClass.MEMORY_BOUND,
                suspend_cost_s=float(rng.choice([0.0, 120.0, 600.0])),
            )
        )
    return tuple(made)


def world(
    jobs: Sequence[Sequence[Job]],
    hall: Hall | None = None,
    settings: ArenaSettings | None = None,
    plant: str = "rule",
    days: float = 12.0,
) -> World:
    """A hall for each set of jobs, all from the same moment on."""
    place, count = hall or small_hall(), len(jobs)
    around = surroundings([signals()] * count, [START] * count, round(days * 96))
    table = JobTable.of(jobs, [START] * count)
    return World(place, table, around, plant_control(plant, place), settings or ArenaSettings())


@dataclass
class Reckless:
    """Holds, suspends, caps and parks at random, and never looks at a deadline."""

    seed: int
    hold: float = 0.6
    name: str = "reckless"

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def decide(self, view: ArenaView) -> ArenaAction:
        rng, shape = self._rng, view.jobs.phase.shape
        return ArenaAction(
            run=rng.random(shape) > self.hold,
            reserve=rng.random(shape) > 0.5,
            order=rng.random(shape),
            cap_w=rng.uniform(200.0, 420.0, (view.batch, 2)),
            clock=rng.uniform(0.0, 0.4, (view.batch, 2)),
            full_power=rng.random(shape) > 0.8,
            warm_nodes=rng.integers(0, view.nodes.state.shape[1] + 1, view.batch),
            residual=rng.uniform(-3.0, 3.0, (view.batch, 4)),
        )
