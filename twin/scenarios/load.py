"""The work of a case: how busy the GPUs are at each step, what they draw, and how long shifted work waits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facility.records import FloatArray
from twin.air import Weather
from twin.hall import HallInputs, HallParams
from twin.power import Value, node_it_w
from twin.scenarios.case import Case
from twin.scenarios.surroundings import Surroundings
from twin.workload import WORKLOADS, work_curve

_BUSIEST_H = 15.0  # local; where `load_swing` peaks
_ROUNDS = 3  # of the span: work that waits at its end waits at its beginning too


@dataclass(frozen=True, slots=True)
class Load:
    """Shares of all GPUs and nodes, (T,), and what a busy GPU draws."""

    busy: FloatArray
    powered: FloatArray
    busy_gpu_w: float
    run_time_pct: float  # longer than without a cap
    work_done_pct: float  # of the work that arrives: less than 100 where the hall is too small for it
    delay_p95_h: float  # over all work; 0 for what runs at once

    def inputs(self, params: HallParams, index: int, weather: Weather) -> HallInputs:
        """The racks at step ``index``; the busy GPUs lie evenly over the nodes that are switched on."""
        servers = params.nodes_per_rack * float(self.powered[index])
        gpus = params.node.gpus * float(self.busy[index]) / max(float(self.powered[index]), 1e-9)
        node_w: Value = node_it_w(params.node, np.asarray(gpus * self.busy_gpu_w), np.asarray(gpus))
        shape = (len(weather.wetbulb_c), params.racks)
        return HallInputs(np.broadcast_to(servers * node_w, shape), np.full(shape, servers), weather)


def load_of(case: Case, around: Surroundings, gpu_max_w: float) -> Load:
    """The work of a case; the mean of the day is its utilisation whatever the swing."""
    swing = 1.0 + case.load_swing * np.cos(2.0 * np.pi * (around.local_hour - _BUSIEST_H) / 24.0)
    arriving = case.utilisation * swing / swing.mean()
    growth, busy_gpu_w = _capped(case.gpu_cap_w, gpu_max_w)
    served, delay_p95_h = _shifted(arriving * growth, case, around)
    busy = np.minimum(served, 1.0)
    done = float(busy.sum() / (arriving * growth).sum())
    powered = 1.0 - case.parking_share * (1.0 - busy)
    return Load(busy, powered, busy_gpu_w, 100.0 * (growth - 1.0), 100.0 * min(done, 1.0), delay_p95_h)


def _capped(cap_w: float | None, gpu_max_w: float) -> tuple[float, float]:
    """By how much longer equal parts of the reference workloads run, and what a busy GPU draws meanwhile."""
    curves = [work_curve(kind, gpu_max_w) for kind in WORKLOADS.values()]
    limit = gpu_max_w if cap_w is None else min(cap_w, gpu_max_w)
    longer = np.array([1.0 / float(curve.speed(limit) / curve.speed(gpu_max_w)) for curve in curves])
    watts = np.array([float(curve.power_w(limit)) for curve in curves])
    return float(longer.mean()), float(np.dot(watts, longer) / longer.sum())


def _shifted(arriving: FloatArray, case: Case, around: Surroundings) -> tuple[FloatArray, float]:
    """Work served at each step, and the 95th percentile of the delay, with ``shift_share`` of the work kept for the
    window, first come first served, spread evenly over what is left of it, as far as there are free GPUs.
    """
    if case.shift_share == 0.0:
        return arriving, 0.0
    inside = _in_window(around.local_hour, case)
    waits = np.where(inside, 0.0, case.shift_share * arriving)
    at_once = arriving - waits
    taken = _serve(np.tile(waits, _ROUNDS), np.tile(1.0 - at_once, _ROUNDS), np.tile(inside, _ROUNDS))
    count = len(arriving)
    delays_h = _delays_h(np.tile(waits, _ROUNDS), taken, count, around.step_s)
    return at_once + taken[count : 2 * count], _percentile(delays_h, waits, at_once)


def _in_window(local_hour: FloatArray, case: Case) -> NDArray[np.bool_]:
    after, before = local_hour >= case.shift_from_h, local_hour < case.shift_to_h
    return after & before if case.shift_from_h < case.shift_to_h else after | before


def _serve(waits: FloatArray, free: FloatArray, inside: NDArray[np.bool_]) -> FloatArray:
    taken, backlog = np.zeros_like(waits), 0.0
    for index in range(len(waits)):
        backlog += waits[index]
        if inside[index]:
            left = 1
            while index + left < len(inside) and inside[index + left]:
                left += 1
            taken[index] = min(backlog / left, max(free[index], 0.0))
            backlog -= taken[index]
    return taken


def _delays_h(waits: FloatArray, taken: FloatArray, count: int, step_s: float) -> FloatArray:
    """Of what arrives in the second round: steps until as much has been served as had arrived by then."""
    arrived, served = np.cumsum(waits), np.cumsum(taken)
    done = np.searchsorted(served, arrived[count : 2 * count] - 1e-9)
    return np.asarray((done - np.arange(count, 2 * count)) * (step_s / 3600.0), dtype=np.float64)


def _percentile(delays_h: FloatArray, waits: FloatArray, at_once: FloatArray) -> float:
    """The delay that 95 % of all work does not exceed."""
    order = np.argsort(delays_h)
    reached = (at_once.sum() + np.cumsum(waits[order])) / (at_once.sum() + waits.sum())
    late = np.flatnonzero(reached >= 0.95)
    return float(delays_h[order][late[0]]) if len(late) and at_once.sum() < 0.95 * (at_once + waits).sum() else 0.0
