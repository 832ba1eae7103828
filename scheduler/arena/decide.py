"""From an action to what is done: limits on caps, runs and pauses, suspensions, starts, parking, and the shield."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from facility.errors import ConfigError
from facility.site import Hall
from scheduler.arena.arrays import BoolArray, FloatArray, IntArray
from scheduler.arena.backfill import Wanted, backfill
from scheduler.arena.cluster import Cluster
from scheduler.arena.jobs import KINDS
from scheduler.arena.nodes import ON
from scheduler.arena.power import GpuRates, per_job
from scheduler.arena.settings import ArenaSettings, Limits
from scheduler.arena.shield import Guarded, Shield
from scheduler.arena.slots import ABSENT, RUNNING, SUSPENDED
from scheduler.arena.view import ArenaAction
from twin.hall import HallParams
from twin.power import conversion_loss_w, leakage_w, node_it_w, server_fan_speed

_AHEAD = 1e11  # taken from the key of critical jobs: they come before all others


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """What a step does: speed and watts of every job (B, w), and counts (B,)."""

    speed: FloatArray
    power_w: FloatArray
    suspended: IntArray
    started: IntArray
    amended: BoolArray  # the shield changed the decision
    refused: BoolArray  # and followed its own schedule instead
    ramp_over_w: FloatArray


class Decider:
    """Carries out the decisions of one batch of halls."""

    def __init__(self, hall: Hall, params: HallParams, settings: ArenaSettings, *, shield: bool) -> None:
        """Raises ConfigError where the hall does not fit its electrical limits even at the lowest cap."""
        self._limits = settings.limits
        self._rates = GpuRates.of(hall, settings.stalls)
        self._cap_max_w = highest_cap_w(hall, params, self._rates, settings.limits)
        kinds = np.zeros((1, len(KINDS)))
        full_speed, full_w = self._rates.at(kinds + self._cap_max_w, kinds)
        self._full_speed, self._full_w = full_speed, full_w
        self._start_w = full_w + idle_to_busy_w(hall)
        self._shield = Shield(settings.limits, full_speed, self._start_w) if shield else None

    def carry_out(self, cluster: Cluster, action: ArenaAction) -> Decided:
        """Suspend, park, start; returns the speeds and powers of the step."""
        saved = cluster.saved() if self._shield is not None else None
        before = cluster.slots.phase.copy()
        everyone = np.ones(len(before), dtype=np.bool_)
        self._commit(cluster, action, everyone)
        speed, power_w = self._speeds(cluster, action)
        guarded = Guarded(~everyone, ~everyone)
        if self._shield is not None and saved is not None:

            def amend(halls: BoolArray, critical: BoolArray) -> None:
                self._commit(cluster, _amended(cluster, action, critical), halls)

            guarded = self._shield.guard(cluster, saved, speed, amend)
            if guarded.amended.any():
                kind, full = cluster.slots.kind, guarded.amended[:, None]
                speed = np.where(full, per_job(self._full_speed, kind), speed)
                power_w = np.where(full, per_job(self._full_w, kind), power_w)
        started = (cluster.slots.phase == RUNNING) & (before != RUNNING)
        watts = (started * cluster.slots.gpus * per_job(self._start_w, cluster.slots.kind)).sum(axis=1)
        return Decided(
            speed=speed,
            power_w=power_w,
            suspended=((cluster.slots.phase == SUSPENDED) & (before == RUNNING)).sum(axis=1),
            started=started.sum(axis=1),
            amended=guarded.amended,
            refused=guarded.refused,
            ramp_over_w=np.where(started.sum(axis=1) > 1, np.maximum(watts - self._limits.ramp_w, 0.0), 0.0),
        )

    def _commit(self, cluster: Cluster, action: ArenaAction, halls: BoolArray) -> None:
        """Carry out the action in some ``halls`` (B,)."""
        slots, limits = cluster.slots, self._limits
        run = action.run | ~slots.is_flexible
        since_s = cluster.now_s - slots.changed_s
        stop = (slots.phase == RUNNING) & ~run & (since_s >= limits.min_run_s) & halls[:, None]
        if stop.any():
            cluster.suspend(stop)
        nodes = cluster.nodes.state.shape[1]
        target = np.full(len(run), nodes) if action.warm_nodes is None else np.asarray(action.warm_nodes)
        if (target < nodes).any() or (cluster.nodes.state != ON).any():
            cluster.nodes.command(target, cluster.held(), cluster.step, halls)
        start = run & ~stop & (slots.phase != RUNNING) & (slots.phase != ABSENT) & halls[:, None]
        start &= (slots.phase != SUSPENDED) | (since_s >= limits.min_pause_s)
        if start.any():
            order = np.arange(run.shape[1], dtype=np.float64) if action.order is None else action.order
            reserve = np.ones_like(run) if action.reserve is None else action.reserve
            wanted = Wanted(start, reserve, np.broadcast_to(order, run.shape))
            backfill(cluster, wanted, per_job(self._start_w, slots.kind) * slots.gpus, limits.ramp_w)

    def _speeds(self, cluster: Cluster, action: ArenaAction) -> tuple[FloatArray, FloatArray]:
        kind = cluster.slots.kind
        if action.cap_w is None and action.clock is None:
            return (
                np.broadcast_to(per_job(self._full_speed, kind), kind.shape),
                np.broadcast_to(per_job(self._full_w, kind), kind.shape),
            )
        shape = (len(kind), len(KINDS))
        cap = np.full(shape, self._cap_max_w) if action.cap_w is None else action.cap_w
        clock = np.zeros(shape) if action.clock is None else action.clock
        cap = np.clip(cap, self._limits.cap_min_w, self._cap_max_w)
        class_speed, class_w = self._rates.at(cap, np.clip(clock, 0.0, self._limits.clock_max))
        speed, power_w = per_job(class_speed, kind), per_job(class_w, kind)
        if action.full_power is not None:
            speed = np.where(action.full_power, per_job(self._full_speed, kind), speed)
            power_w = np.where(action.full_power, per_job(self._full_w, kind), power_w)
        return speed, power_w


def _amended(cluster: Cluster, action: ArenaAction, critical: BoolArray) -> ArenaAction:
    """The action with ``critical`` jobs (B, w) at the head of the queue, least time to spare first, and nodes woken for
    those that wait.
    """
    slots = cluster.slots
    waits = critical & (slots.phase != RUNNING)
    more = -(-np.where(waits, slots.gpus, 0).sum(axis=1) // cluster.node_gpus)
    order = np.arange(critical.shape[1], dtype=np.float64) if action.order is None else action.order
    return replace(
        action,
        run=action.run | critical,
        reserve=None if action.reserve is None else action.reserve | critical,
        order=np.where(critical, slots.deadline_s - slots.remaining_s - _AHEAD, order),
        warm_nodes=None if action.warm_nodes is None else np.maximum(action.warm_nodes, cluster.nodes.warm) + more,
    )


def idle_to_busy_w(hall: Hall) -> float:
    """What a busy GPU adds to a node's DC power beside its own watts: its share of the host, less its idle power."""
    gpu = hall.node.gpu
    host_w = sum(part.full_w - part.idle_w for part in hall.node.host)
    return host_w / gpu.per_node - gpu.idle_w


def highest_cap_w(hall: Hall, params: HallParams, rates: GpuRates, limits: Limits) -> float:
    """The highest cap at which every GPU at work keeps racks, PDUs, UPS and feeder within their limits.

    Raises ConfigError where even the lowest cap does not. With it no schedule of gangs can exceed a limit, so that
    deadlines and electricity are checked apart.
    """
    highest = hall.node.gpu.cap_max_w
    if _fits(hall, params, rates, limits, highest):
        return highest
    low = limits.cap_min_w
    if not _fits(hall, params, rates, limits, low):
        raise ConfigError(
            f"with every GPU at work under {low:g} W the hall exceeds its electrical limits",
            where="limits",
            hint="raise it_w and rack_w, or simulate a smaller hall",
        )
    high = highest
    for _ in range(30):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _fits(hall, params, rates, limits, middle) else (low, middle)
    return low


def _fits(hall: Hall, params: HallParams, rates: GpuRates, limits: Limits, cap_w: float) -> bool:
    """At the hottest inlet allowed: leakage, fans at what the heat asks for, and supplies included."""
    kinds = np.full((1, len(KINDS)), cap_w)
    gpu_w = float(rates.at(kinds, np.zeros_like(kinds))[1].max())
    count = float(hall.node.gpu.per_node)
    node, inlet = params.node, np.asarray(limits.inlet_c)
    dc_w = node_it_w(node, np.asarray(count * gpu_w), np.asarray(count))
    fans_w = node.fan_rated_w * server_fan_speed(node, dc_w, np.ones(1), inlet) ** node.fan_exponent
    total = dc_w + fans_w + leakage_w(node, dc_w, inlet)
    node_w = float(np.max(total + conversion_loss_w(total, node.psu)))
    rack_w, it_w = node_w * hall.nodes_per_rack, node_w * hall.nodes
    ups_w = float(np.max(params.ups.rated_w)) * float(np.max(params.ups_modules))
    rack_limit = min(limits.rack_w, float(np.min(params.pdu.rated_w)))
    return rack_w <= rack_limit and it_w <= min(limits.it_w, ups_w)
