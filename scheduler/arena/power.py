"""Speed and power of busy GPUs under caps and clocks, and the power of nodes in every state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from facility.site import Hall
from scheduler.arena.arrays import IntArray
from scheduler.arena.jobs import KINDS
from scheduler.arena.nodes import BOOTING, PARKED, Nodes
from scheduler.arena.settings import STEP_S, Parking, Stalls
from twin.power import NodeParams, conversion_loss_w, node_it_w
from twin.workload import WorkCurve, work_curve

_MEMORY = 1  # index of KINDS


@dataclass(frozen=True, slots=True, eq=False)
class GpuRates:
    """How each class of work answers to a cap and a clock; the recorded curves are those at the full clock."""

    curves: tuple[WorkCurve, ...]
    stalls: Stalls
    full_w: FloatArray  # (K,) mean power of a busy GPU without a cap
    idle_w: float

    @classmethod
    def of(cls, hall: Hall, stalls: Stalls) -> GpuRates:
        """Of the hall's GPUs."""
        gpu = hall.node.gpu
        curves = tuple(work_curve(kind, gpu.max_w, gpu.idle_w) for kind in KINDS)
        return cls(curves, stalls, np.array([float(curve.power_knots_w[-1]) for curve in curves]), gpu.idle_w)

    def at(self, cap_w: FloatArray, clock: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Speed and mean power in W of one busy GPU, (B, K) each, under caps and clock reductions (B, K).

        In a stall a lower clock saves power and costs nothing; memory-bound work runs at the lower clock throughout
        and loses a little. Of the two, cap and clock, the tighter one decides.
        """
        speed = np.stack([curve.speed(cap_w[:, k]) for k, curve in enumerate(self.curves)], axis=1)
        power = np.stack([curve.power_w(cap_w[:, k]) for k, curve in enumerate(self.curves)], axis=1)
        if not clock.any():
            return speed, power
        stalls = self.stalls
        left = (1.0 - clock) ** stalls.clock_exponent  # of the dynamic power
        dynamic = self.full_w - self.idle_w
        share = np.array(stalls.share)
        saved = share * stalls.power_share * dynamic * (1.0 - left)
        memory = np.arange(len(KINDS)) == _MEMORY
        clocked_w = np.where(memory, self.idle_w + dynamic * left, np.inf)
        clocked_speed = np.where(memory, 1.0 - stalls.clock_slowdown * clock, 1.0)
        return np.minimum(speed, clocked_speed), np.minimum(power - saved, clocked_w)


@dataclass(frozen=True, slots=True, eq=False)
class NodePower:
    """DC power and switched-on servers of nodes in every state.

    The twin meters at the IT inlet: what a resting or booting node draws there is turned into the DC power with which
    the twin's fans and supplies come to that figure.
    """

    node: NodeParams
    rules: Parking
    parked_dc_w: float
    boot_dc_w: float
    rack_of: FloatArray  # (N, R) one where the node stands in the rack

    @classmethod
    def of(cls, hall: Hall, rules: Parking) -> NodePower:
        """Of a hall's nodes."""
        node = NodeParams.from_site(hall.node)
        racks = np.array([hall.rack_of(index) for index in range(hall.nodes)])
        one_hot = (racks[:, None] == np.arange(hall.racks)).astype(np.float64)
        return cls(node, rules, _dc_of(node, rules.parked_w, _RESTING_SHARE), _dc_of(node, rules.boot_w, 1.0), one_hot)

    def of_racks(
        self, nodes: Nodes, busy_w: FloatArray, busy_gpus: FloatArray, step: int, params: NodeParams
    ) -> tuple[FloatArray, FloatArray]:
        """DC power and servers of each rack over ``step``, (B, R) each; ``params`` may differ from hall to hall."""
        on_w = node_it_w(params, busy_w, busy_gpus)
        idle_w = params.gpus * params.gpu_idle_w + params.host_idle_w
        watts, servers = on_w, np.ones(on_w.shape)
        parked, booting = nodes.state == PARKED, nodes.state == BOOTING
        if parked.any():
            going = (parked & (nodes.since == step)) * (self.rules.shutdown_s / STEP_S)
            watts = np.where(parked, going * idle_w + (1.0 - going) * self.parked_dc_w, watts)
            servers = np.where(parked, going + (1.0 - going) * _RESTING_SHARE, servers)
        if booting.any():
            share = np.clip((self.rules.boot_s - (step - nodes.since) * STEP_S) / STEP_S, 0.0, 1.0)
            watts = np.where(booting, share * self.boot_dc_w + (1.0 - share) * idle_w, watts)
        return watts @ self.rack_of, servers @ self.rack_of


_RESTING_SHARE = 0.1  # of a server's fans and supplies that still run while it rests; assumed


def _dc_of(node: NodeParams, inlet_w: float, share: float) -> float:
    """DC power with which ``share`` of a server's fans (at their minimum) and supplies draws ``inlet_w``."""
    count = np.asarray(share)
    fans_w = float(share * node.fan_rated_w * node.fan_min_speed**node.fan_exponent)
    low, high = -fans_w, inlet_w
    for _ in range(60):
        middle = 0.5 * (low + high)
        total = np.asarray(middle + fans_w)
        drawn = float(total + conversion_loss_w(total, node.psu, count))
        low, high = (middle, high) if drawn < inlet_w else (low, middle)
    return max(0.5 * (low + high), 0.0)


def per_job(values: FloatArray, kind: IntArray) -> FloatArray:
    """The class's value (B, K) for each job (B, w)."""
    return np.where(kind == _MEMORY, values[:, 1:2], values[:, 0:1])
