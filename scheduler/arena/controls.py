"""The agent's action: what it adds to the tuned rule and to the plant's setpoints; zero is the rule itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from facility.records import FloatArray
from scheduler.arena.rule import RuleParams, decide
from scheduler.arena.view import ArenaAction, ArenaView

ACTIONS = (
    "log2_kappa",
    "log2_min_gpu_h",
    "cap_compute",
    "cap_memory",
    "spare_nodes",
    "supply_air",
    "fan_speed",
    "chw_supply",
    "economizer",
)
CAP_RANGE_W = (250.0, 400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What one unit of action does."""

    log2_kappa: float = 1.0
    log2_min_gpu_h: float = 3.0
    cap_w: float = 100.0
    spare_share: float = 0.25  # of the nodes
    supply_air_k: float = 2.0
    fan_speed: float = 0.15
    chw_supply_k: float = 2.0


def act(view: ArenaView, action: FloatArray, centre: RuleParams, reach: Reach | None = None) -> ArenaAction:
    """The rule moved by ``action`` (B, 9) in -1..1, in the order of ``ACTIONS``."""
    reach = reach or Reach()
    bounded = np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0)
    decision = decide(view, moved(centre, bounded, view.nodes.state.shape[1], reach))
    sizes = np.array([reach.supply_air_k, reach.fan_speed, reach.chw_supply_k, 1.0])
    residual = bounded[:, 5:] * sizes
    return replace(decision, residual=residual if residual.any() else None)


def moved(centre: RuleParams, action: FloatArray, nodes: int, reach: Reach) -> RuleParams:
    """The rule's parameters, (B,) each."""
    return replace(
        centre,
        kappa=centre.kappa * 2.0 ** (reach.log2_kappa * action[:, 0]),
        min_gpu_h=centre.min_gpu_h * 2.0 ** (reach.log2_min_gpu_h * action[:, 1]),
        cap_compute_w=np.clip(centre.cap_compute_w + reach.cap_w * action[:, 2], *CAP_RANGE_W),
        cap_memory_w=np.clip(centre.cap_memory_w + reach.cap_w * action[:, 3], *CAP_RANGE_W),
        spare_nodes=centre.spare_nodes + reach.spare_share * nodes * action[:, 4],
    )
