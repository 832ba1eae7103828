"""What a step is worth to the agent, in parts: emissions, cost, delay and heat, scale-free, work done to its credit.

Work is credited at a price fixed when its job came in, so that neither the hour nor the mix of jobs pays by itself:
what counts is when and how well it was done. One unit of carbon or cost is ``UNIT_SHARE`` of what the rated power of
the servers emits or costs in a step at the mean of the public week before.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from facility.records import FloatArray
from scheduler.arena.account import KWH, StepAccount
from scheduler.arena.arena import Arena, World
from scheduler.arena.arrays import IntArray
from scheduler.arena.decide import idle_to_busy_w
from scheduler.arena.jobs import KINDS
from scheduler.arena.scales import Scales
from scheduler.arena.settings import STEP_S
from scheduler.arena.slots import ABSENT
from twin.power import NodeParams
from twin.workload import work_curve

UNIT_SHARE = 0.3
WAITING = 0.10  # each of these for one hall of GPUs, jobs or kelvins and one step
CAPPED = 3.0
LATE = 0.5 / 8.0  # a gang, in a hall of 64 GPUs; a larger hall has more gangs, and each weighs less
LATE_GPUS = 64.0
SUSPENDED = 0.02
HOT_PER_K = 0.5
PAIRED = 3.0  # the difference to the shadow is small: brought to the order of one


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """One step of every hall, or all steps (T, B); more is better."""

    carbon: FloatArray
    cost: FloatArray
    delay: FloatArray
    heat: FloatArray

    def row(self, step: int, index: IntArray) -> Score:
        """One step of some halls from a Score of all steps."""
        return Score(*(getattr(self, part.name)[step, index] for part in fields(self)))


PREFERENCES = ("prefers_carbon", "prefers_cost", "log10_delay_weight")


@dataclass(frozen=True, slots=True, eq=False)
class Preference:
    """What is wanted of each hall, (B,): a share for carbon, the rest for cost, and the weight of delay (0.1 to 10)."""

    carbon: FloatArray
    delay: FloatArray

    @classmethod
    def same(cls, batch: int, *, carbon: float = 1.0, delay: float = 1.0) -> Preference:
        """One preference for every hall."""
        return cls(np.full(batch, carbon), np.full(batch, delay))

    def columns(self) -> NDArray[np.float32]:
        """As observed, (B, 3), in the order of ``PREFERENCES``."""
        return np.stack([self.carbon, 1.0 - self.carbon, np.log10(self.delay)], axis=1).astype(np.float32)


def paired_reward(agent: Score, shadow: Score, wish: Preference) -> FloatArray:
    """The agent's step less the shadow's under the preference, (B,)."""

    def less(name: str) -> FloatArray:
        return np.asarray(getattr(agent, name) - getattr(shadow, name))

    energy = wish.carbon * less("carbon") + (1.0 - wish.carbon) * less("cost")
    return np.asarray(PAIRED * (energy + wish.delay * less("delay") + less("heat")))


class Scorer:
    """Scores the steps of one arena from its first on."""

    def __init__(self, arena: Arena, scales: Scales) -> None:
        """``scales`` are those of the arena's windows."""
        world, hall = arena.world, arena.world.hall
        self._arena, self._scales = arena, scales
        self._gpus = float(hall.gpus)
        self._unit_kwh = UNIT_SHARE * float(NodeParams.from_site(hall.node).rated_dc_w) * hall.nodes * KWH
        self._price = _credits(world, scales)
        self._coming = _arriving(world, self._price)
        self._owed = self._left()

    def score(self, account: StepAccount) -> Score:
        """The step that the arena has just taken."""
        step = self._arena.cluster.step - 1
        left = self._left()
        credit = self._owed + self._come_in(step + 1) - left
        self._owed = left
        carbon_unit = self._unit_kwh * self._scales.carbon_at(step)
        excess_k = np.maximum(account.max_inlet_c - self._arena.world.settings.limits.inlet_c, 0.0)
        cost = self._cost(account, credit[1], step)
        return Score(
            carbon=(credit[0] - account.carbon_kg * 1e3) / carbon_unit,
            cost=cost,
            delay=-self._delay(account),
            heat=-HOT_PER_K * excess_k,
        )

    def _cost(self, account: StepAccount, credit: FloatArray, step: int) -> FloatArray:
        price = self._scales.price_at(step)
        if account.cost_usd is None or price is None:
            return np.zeros(len(account.it_w))
        return np.asarray((credit - account.cost_usd * 1e3) / (self._unit_kwh * np.maximum(np.abs(price), 1.0)))

    def _delay(self, account: StepAccount) -> FloatArray:
        lost = account.capped_gpu_h * 3600.0 / STEP_S / self._gpus
        small = LATE_GPUS / self._gpus
        events = LATE * self._newly_late() * small + SUSPENDED * account.suspended * small
        return np.asarray(WAITING * account.waiting_gpus / self._gpus + CAPPED * lost + events)

    def _newly_late(self) -> FloatArray:
        """Jobs whose deadline passed in the step and that are still there."""
        slots, now_s = self._arena.cluster.slots, self._arena.cluster.now_s
        passed = (slots.deadline_s <= now_s) & (slots.deadline_s > now_s - STEP_S)
        return np.asarray(((slots.phase != ABSENT) & passed).sum(axis=1), dtype=np.float64)

    def _left(self) -> FloatArray:
        """Worth of the work still to do of all jobs in the system, (2, B)."""
        slots = self._arena.cluster.slots
        left_kwh = np.where(slots.phase != ABSENT, slots.remaining_s * slots.gpus, 0.0)
        here = np.arange(len(left_kwh))[:, None]
        return np.stack([(left_kwh * price[here, slots.job]).sum(axis=1) for price in self._price])

    def _come_in(self, step: int) -> FloatArray:
        return self._coming[:, step] if step < self._coming.shape[1] else np.zeros(self._coming[:, 0].shape)


def _credits(world: World, scales: Scales) -> tuple[FloatArray, FloatArray]:
    """Grams and thousandths of a dollar for each second of a GPU of each job, (B, J), at the means of its arrival."""
    jobs, gpu = world.jobs, world.hall.node.gpu
    full_w = np.array([float(work_curve(kind, gpu.max_w, gpu.idle_w).power_knots_w[-1]) for kind in KINDS])
    kwh_s = (full_w + idle_to_busy_w(world.hall))[jobs.kind] / 3.6e6
    hour = np.clip(np.ceil(jobs.submit_s / 3600.0).astype(np.int64), 0, len(scales.carbon_g_kwh) - 1)
    here = np.arange(len(hour))[:, None]
    price = scales.price_usd_mwh
    usd = np.zeros_like(kwh_s) if price is None else kwh_s * price[hour, here]
    return kwh_s * scales.carbon_g_kwh[hour, here], usd


def _arriving(world: World, price: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Worth of the work that comes in at each step, (2, T, B)."""
    jobs, steps = world.jobs, world.around.steps
    coming = np.zeros((2, steps + 1, len(jobs.count)))
    arrivals = jobs.arrivals()
    inside = arrivals.step <= steps
    row, job, step = arrivals.row[inside], arrivals.job[inside], arrivals.step[inside]
    work = jobs.work_s[row, job] * jobs.gpus[row, job]
    for index, one in enumerate(price):
        np.add.at(coming[index], (step, row), work * one[row, job])
    return coming
