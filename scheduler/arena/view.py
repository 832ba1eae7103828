"""What a policy of the arena sees, and what it may decide: arrays over halls (B,), and over jobs in the system (B, w).

A slot of a hall holds one job that has come in and is not done; ``is_present`` says which slots are taken. Slots are in
order of arrival, and their width w changes from step to step: an array over jobs is good for one decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from scheduler.arena.arrays import BoolArray, FloatArray, IntArray
from scheduler.arena.cluster import Cluster
from scheduler.arena.nodes import Nodes
from scheduler.arena.settings import STEP_S
from scheduler.arena.slots import ABSENT, QUEUED, RUNNING, SUSPENDED, Slots
from scheduler.arena.surroundings import Surroundings
from twin.air import Weather
from twin.hall import PlantAction


@dataclass(frozen=True, slots=True, eq=False)
class Plant:
    """The plant as it was left by the last step, (B,) each."""

    it_w: FloatArray
    max_inlet_c: FloatArray
    action: PlantAction  # the setpoints that it had


@dataclass(frozen=True, slots=True, eq=False)
class ArenaView:
    """Everything a policy knows at the start of a step; nothing in it is of a later time."""

    step: int
    jobs: Slots  # (B, w); look, do not write
    nodes: Nodes  # (B, N)
    free_gpus: IntArray  # (B, N) of open nodes
    node_gpus: int
    weather: Weather  # now
    hour_utc: FloatArray
    plant: Plant
    carbon_g_kwh: FloatArray | None  # (B, leads) newest forecast, hourly from the running hour on
    price_usd_mwh: FloatArray | None  # likewise

    @classmethod
    def of(cls, cluster: Cluster, around: Surroundings, plant: Plant) -> ArenaView:
        """The view of a cluster at its present step."""
        step = cluster.step
        return cls(
            step=step,
            jobs=cluster.slots,
            nodes=cluster.nodes,
            free_gpus=cluster.free(),
            node_gpus=cluster.node_gpus,
            weather=around.weather_at(step),
            hour_utc=np.mod(around.hour_utc + step * STEP_S / 3600.0, 24.0),
            plant=plant,
            carbon_g_kwh=None if around.carbon is None else around.carbon.at(step),
            price_usd_mwh=None if around.price is None else around.price.at(step),
        )

    @property
    def batch(self) -> int:
        """Halls."""
        return len(self.free_gpus)

    @property
    def gpus_total(self) -> int:
        """GPUs of a hall, parked nodes included."""
        return int(self.nodes.state.shape[1]) * self.node_gpus

    @property
    def now_s(self) -> float:
        """Seconds since the start of the window."""
        return self.step * STEP_S

    @property
    def is_present(self) -> BoolArray:
        """Slots that hold a job."""
        return np.asarray(self.jobs.phase != ABSENT)

    @property
    def is_running(self) -> BoolArray:
        """Jobs that hold their GPUs."""
        return np.asarray(self.jobs.phase == RUNNING)

    @property
    def is_waiting(self) -> BoolArray:
        """Jobs that are queued or suspended."""
        return np.asarray((self.jobs.phase == QUEUED) | (self.jobs.phase == SUSPENDED))

    @property
    def since_s(self) -> FloatArray:
        """Time since a job last started, was suspended, or came in."""
        return self.now_s - self.jobs.changed_s

    @property
    def laxity_s(self) -> FloatArray:
        """Time to spare until the deadline, did the job run at full power from now on."""
        return self.jobs.deadline_s - self.now_s - self.jobs.remaining_s


@dataclass(frozen=True, slots=True, eq=False)
class ArenaAction:
    """A decision for every hall. ``run`` alone is FCFS with backfilling for whoever may run, at full power.

    What is None takes the default in brackets. The arena holds everything to its limits.
    """

    run: BoolArray  # (B, w) may run: a waiting job starts where there is room, a running one that may not is suspended
    reserve: BoolArray | None = None  # (B, w) of the queue: kept from being overtaken to its harm [all that may run]
    order: FloatArray | None = None  # (B, w) smaller starts first, the queue before all others [order of arrival]
    cap_w: FloatArray | None = None  # (B, 2) of one GPU at compute- and memory-bound work [no cap]
    clock: FloatArray | None = None  # (B, 2) share by which the clock is lowered [0]
    full_power: BoolArray | None = None  # (B, w) exempt from cap and clock [none]
    warm_nodes: IntArray | None = None  # (B,) nodes that are to be on; the others drain and park [all]
    plant: PlantAction | None = None  # (B,) setpoints [the arena's plant control]
    residual: FloatArray | None = None  # (B, 4) added to them: supply air K, fan speed, chilled water K, economizer


class ArenaPolicy(Protocol):
    """Decides for all halls at once. It may keep memory of its own between steps, by hall and job column."""

    name: str

    def decide(self, view: ArenaView) -> ArenaAction:
        """What to do in the step that begins now."""
        ...
