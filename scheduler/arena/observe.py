"""What the learning agent sees: scale-free numbers of the order of one, from an ``ArenaView`` and what was public.

Nothing counts GPUs or names a zone: shares of the hall, ratios to the public mean of the last week, hours over a day.
Without a price the three columns on it are zero, the value of a price at its mean.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from facility.records import FloatArray
from facility.site import Hall
from scheduler.arena.arrays import BoolArray
from scheduler.arena.nodes import BOOTING, PARKED
from scheduler.arena.rule import rank_of_now
from scheduler.arena.scales import Scales
from scheduler.arena.surroundings import STEPS_H
from scheduler.arena.view import ArenaView
from twin.hall import PlantAction
from twin.plant import PlantControl
from twin.power import NodeParams

MEANS_H = (2, 4, 8, 12, 24, 48)
MINIMA_H = (6, 12, 24, 48)
LAXITY_EDGES_H = (0.0, 2.0, 8.0, 24.0)  # backlog at or above each, and below the next
OBSERVATIONS = (
    "carbon_now",
    *(f"carbon_mean_{hours}h" for hours in MEANS_H),
    *(f"carbon_min_{hours}h" for hours in MINIMA_H),
    *(f"carbon_rank_{hours}h" for hours in MINIMA_H),
    "hours_to_min",
    "hour_sin",
    "hour_cos",
    "price_now",
    "price_mean_24h",
    "price_rank_24h",
    "wetbulb",
    "wetbulb_trend",
    "drybulb",
    "running_share",
    "queued_share",
    "deferred_share",
    *(f"backlog_{edge:g}h" for edge in LAXITY_EDGES_H),
    "backlog_compute",
    "backlog_memory",
    "warm_share",
    "booting_share",
    "parked_share",
    "it_load",
    "max_inlet",
    "supply_air",
    "base_supply_air",
    "base_chw_supply",
)
HOUR_S = 3600.0
_TREND_STEPS = 3 * STEPS_H
LIMIT = 10.0  # observations are held to it on both sides


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Scales of one hall, (B,)."""

    carbon_g_kwh: FloatArray  # public mean of the last week
    price_usd_mwh: FloatArray | None
    rated_w: float  # DC power of all nodes with every GPU at its maximum
    wetbulb_before_c: FloatArray  # three hours ago


def observe(view: ArenaView, scale: Reference, base: PlantAction) -> NDArray[np.float32]:
    """The columns of ``OBSERVATIONS``, (B, 41); ``base`` is what the plant control would set now."""
    columns = [
        *_carbon(view, scale),
        *_clock(view),
        *_price(view, scale),
        *_weather(view, scale),
        *_jobs(view),
        *_nodes(view),
        *_plant(view, scale, base),
    ]
    return np.clip(np.stack(columns, axis=1), -LIMIT, LIMIT).astype(np.float32)


def _carbon(view: ArenaView, scale: Reference) -> list[FloatArray]:
    width = 1 + len(MEANS_H) + 2 * len(MINIMA_H) + 1
    if view.carbon_g_kwh is None:
        return [np.zeros(view.batch)] * width
    ratio = view.carbon_g_kwh / scale.carbon_g_kwh[:, None] - 1.0
    total = np.cumsum(ratio, axis=1)
    ranks = rank_of_now(ratio, np.broadcast_to(np.array(MINIMA_H) * HOUR_S, (view.batch, len(MINIMA_H))))
    return [
        ratio[:, 0],
        *(total[:, hours - 1] / hours for hours in MEANS_H),
        *(ratio[:, :hours].min(axis=1) for hours in MINIMA_H),
        *ranks.T,
        ratio[:, :24].argmin(axis=1) / 24.0,
    ]


def _clock(view: ArenaView) -> list[FloatArray]:
    angle = 2.0 * np.pi * view.hour_utc / 24.0
    return [np.sin(angle), np.cos(angle)]


def _price(view: ArenaView, scale: Reference) -> list[FloatArray]:
    if view.price_usd_mwh is None or scale.price_usd_mwh is None:
        return [np.zeros(view.batch)] * 3
    ahead = view.price_usd_mwh[:, :24]
    mean = np.maximum(np.abs(scale.price_usd_mwh), 1.0)  # prices cross zero
    day = np.full((view.batch, 1), 24.0 * HOUR_S)
    return [ahead[:, 0] / mean - 1.0, ahead.mean(axis=1) / mean - 1.0, rank_of_now(ahead, day)[:, 0]]


def _weather(view: ArenaView, scale: Reference) -> list[FloatArray]:
    weather = view.weather
    wet = weather.wetbulb_c
    return [(wet - 12.0) / 10.0, (wet - scale.wetbulb_before_c) / 5.0, (weather.drybulb_c - 16.0) / 10.0]


def _jobs(view: ArenaView) -> list[FloatArray]:
    jobs, total = view.jobs, float(view.gpus_total)
    running, waiting = view.is_running, view.is_waiting

    def gpus(which: BoolArray) -> FloatArray:
        return np.asarray(np.where(which, jobs.gpus, 0).sum(axis=1) / total)

    day_gpu_s = total * 24.0 * HOUR_S
    backlog = np.where(view.is_present, jobs.gpus * jobs.remaining_s, 0.0) / day_gpu_s
    laxity_h = view.laxity_s / HOUR_S
    edges = (-np.inf, *LAXITY_EDGES_H[1:], np.inf)
    by_laxity = [
        np.where((laxity_h >= low) & (laxity_h < high), backlog, 0.0).sum(axis=1) for low, high in pairwise(edges)
    ]
    by_kind = [np.where(jobs.kind == kind, backlog, 0.0).sum(axis=1) for kind in (0, 1)]
    rigid = waiting & ~jobs.is_flexible
    return [gpus(running), gpus(rigid), gpus(waiting & jobs.is_flexible), *by_laxity, *by_kind]


def _nodes(view: ArenaView) -> list[FloatArray]:
    state = view.nodes.state
    return [np.asarray(flag.mean(axis=1)) for flag in (view.nodes.is_open, state == BOOTING, state == PARKED)]


def _plant(view: ArenaView, scale: Reference, base: PlantAction) -> list[FloatArray]:
    plant = view.plant
    return [
        plant.it_w / scale.rated_w,
        (plant.max_inlet_c - 24.0) / 4.0,
        (plant.action.supply_air_c - 22.0) / 4.0,
        (base.supply_air_c - 22.0) / 4.0,
        (base.chw_supply_c - 14.0) / 6.0,
    ]


class Observer:
    """Observes one arena from its first step on; it remembers three hours of wet bulb, and nothing else."""

    def __init__(self, hall: Hall, control: PlantControl, scales: Scales) -> None:
        """``control`` is the one that the agent corrects; ``scales`` are those of the arena's windows."""
        self._control, self._scales = control, scales
        self._rated_w = float(NodeParams.from_site(hall.node).rated_dc_w) * hall.nodes
        self._wetbulb_c: deque[FloatArray] = deque(maxlen=_TREND_STEPS + 1)

    def see(self, view: ArenaView) -> NDArray[np.float32]:
        """The columns of ``OBSERVATIONS`` at the present step, (B, 41); to be called once in each step."""
        self._wetbulb_c.append(view.weather.wetbulb_c)
        scales, step = self._scales, view.step
        reference = Reference(
            scales.carbon_at(step), scales.price_at(step), self._rated_w, wetbulb_before_c=self._wetbulb_c[0]
        )
        return observe(view, reference, self._control.action(view.plant.it_w, view.weather))
