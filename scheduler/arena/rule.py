"""The tuned quantile rule: run where the forecast is cheap enough for what is left to do, capped, on few warm nodes.

A flexible job that is large enough runs when the rank of *now* among the forecast hours of its own window (0: the
cheapest, 1: the dearest) is at most ``kappa`` times the work left over the window left. The rule serves any number of
GPUs: nothing in it counts them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from scheduler.arena.arrays import BoolArray, IntArray
from scheduler.arena.view import ArenaAction, ArenaView
from twin.hall import PlantAction

HOUR_S = 3600.0
CLASSES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleParams:
    """Arrays (B,) or one number for all halls.

    The defaults were chosen on six weeks of 2022 in California and Germany: of kappa 0.75 to 2.5 and none, 8 and 64
    GPU-h, caps of 300 to 350 W and spare nodes 0 and 1, the least carbon with no more late jobs than FCFS has and a
    stretch below 3.5 %.
    """

    kappa: FloatArray | float = 1.0  # above 1 a job runs before the cheapest hours force it to
    min_gpu_h: FloatArray | float = 64.0  # smaller jobs pass through: deferring them costs much delay and saves little
    cap_compute_w: FloatArray | float = 325.0
    cap_memory_w: FloatArray | float = 325.0
    spare_nodes: FloatArray | float = 0.0  # warm beyond what running and wanted jobs need; a large number parks none
    keep_running: float = 1.5  # times kappa for a job that runs already
    forced_s: float = 4500.0  # time to spare at and below which a job runs, at full power


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """What the rule makes of the jobs, (B, w)."""

    run: BoolArray
    is_passing: BoolArray  # not for the rule to hold: inflexible or small
    is_forced: BoolArray


class QuantileRule:
    """The rule as a policy of the arena, with parameters that may differ from hall to hall."""

    name = "quantile"

    def __init__(self, params: RuleParams | None = None) -> None:
        self.params = params or RuleParams()

    def decide(self, view: ArenaView) -> ArenaAction:
        """Jobs by rank, caps by class, and as many warm nodes as the wanted jobs need; without forecast none waits."""
        return decide(view, self.params)


def decide(view: ArenaView, params: RuleParams, plant: PlantAction | None = None) -> ArenaAction:
    """The decision of the rule under ``params``; with ``plant`` setpoints of the caller's."""
    ranked = rank_jobs(view, params)
    caps = np.empty((view.batch, CLASSES))
    caps[:, 0], caps[:, 1] = params.cap_compute_w, params.cap_memory_w
    return ArenaAction(
        run=ranked.run,
        reserve=ranked.is_passing | ranked.is_forced,
        order=np.where(ranked.is_forced, -1.0, 0.0),
        cap_w=caps,
        full_power=ranked.is_forced,
        warm_nodes=nodes_needed(view, ranked.run, params.spare_nodes),
        plant=plant,
    )


def rank_jobs(view: ArenaView, params: RuleParams) -> Ranked:
    """Which jobs should run now."""
    jobs, present = view.jobs, view.is_present
    gpu_h = jobs.gpus * jobs.work_s / HOUR_S
    passing = present & (~jobs.is_flexible | (gpu_h < _column(params.min_gpu_h)))
    laxity_s = view.laxity_s
    forced = present & jobs.is_flexible & ~passing & (laxity_s <= params.forced_s)
    if view.carbon_g_kwh is None:
        return Ranked(present, passing, forced)
    left_s = np.maximum(jobs.remaining_s + laxity_s, 1.0)  # until the deadline
    rank = rank_of_now(view.carbon_g_kwh, left_s)
    allowed = _column(params.kappa) * jobs.remaining_s / left_s
    allowed = np.where(view.is_running, params.keep_running * allowed, allowed)
    return Ranked(passing | forced | (present & (rank <= allowed)), passing, forced)


def rank_of_now(forecast: FloatArray, window_s: FloatArray) -> FloatArray:
    """Share of the hours within ``window_s`` (B, w) that the forecast (B, leads) calls cheaper than the running one."""
    cheaper = np.zeros_like(forecast)
    np.cumsum(forecast[:, 1:] < forecast[:, :1], axis=1, out=cheaper[:, 1:])
    hours = np.clip(np.ceil(window_s / HOUR_S), 1.0, forecast.shape[1]).astype(np.int64)
    return np.take_along_axis(cheaper, hours - 1, axis=1) / hours


def nodes_needed(view: ArenaView, run: BoolArray, spare: FloatArray | float) -> IntArray:
    """Warm nodes (B,): those in use, what the gangs that may run and wait for room need beside them, and ``spare``."""
    node_gpus, jobs = view.node_gpus, view.jobs
    in_use = view.nodes.is_open & (view.free_gpus < node_gpus)
    waiting = run & view.is_waiting
    small = waiting & (jobs.gpus < node_gpus)
    beside = np.where(in_use, view.free_gpus, 0).sum(axis=1)
    crowded = np.maximum(np.where(small, jobs.gpus, 0).sum(axis=1) - beside, 0)
    whole = np.where(waiting & ~small, -(-jobs.gpus // node_gpus), 0).sum(axis=1)
    needed = in_use.sum(axis=1) - (-crowded // node_gpus) + whole + np.round(spare)
    return np.asarray(np.minimum(needed, view.nodes.state.shape[1]), dtype=np.int64)


def _column(value: FloatArray | float) -> FloatArray | float:
    return value[:, None] if isinstance(value, np.ndarray) else value
