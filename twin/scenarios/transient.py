"""The minutes after a loss: from the hardest moment of the baseline, air handlers or chillers fail and nobody acts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from facility.records import FloatArray
from twin.hall import step
from twin.scenarios.account import Band
from twin.scenarios.case import Case
from twin.scenarios.simulate import Trajectory

STEP_S = 10.0
SPAN_MIN = 120.0
RATE_K_15_MIN = 5.0  # ASHRAE TC 9.9 (2021): at most 5 K in any 15 minutes, and 20 K in an hour
RATE_K_60_MIN = 20.0


@dataclass(frozen=True, slots=True)
class Reach:
    """Minutes until the warmest inlet reaches a temperature, among the draws in which it does within the span."""

    inlet_c: float
    minutes: Band | None
    reached_pct: float  # of the draws


@dataclass(frozen=True, slots=True)
class Loss:
    """What follows a loss within two hours without any response."""

    reach: tuple[Reach, ...]
    hottest_inlet_c: Band
    rise_15_min_k: Band
    rise_60_min_k: Band
    rate_breached_pct: float  # of the draws
    note: str = (
        "nothing responds: setpoints and fan speeds stay. Aisles have no volume of their own, so missing air is "
        "made up by room air at once; room air and structure then warm as one mass"
    )


def after_loss(baseline: Trajectory, case: Case) -> Loss | None:
    """The loss that ``case`` brings over ``baseline``; None where nothing more is lost."""
    crahs = case.crahs_lost - baseline.case.crahs_lost
    chillers = case.chillers_lost - baseline.case.chillers_lost
    if crahs <= 0 and chillers <= 0:
        return None
    state, inputs, before = baseline.worst
    action = replace(
        before,
        crahs_on=np.maximum(before.crahs_on - max(crahs, 0), 0.0),
        chillers_on=np.minimum(before.chillers_on, float(baseline.hall.chiller.count - case.chillers_lost)),
    )
    warmest = [state.inlet_c.max(axis=1)]
    for _ in range(round(SPAN_MIN * 60.0 / STEP_S)):
        state, flows = step(baseline.params, state, inputs, action, STEP_S)
        warmest.append(flows.max_inlet_c)
    return _judged(np.array(warmest))


def _judged(inlet_c: FloatArray) -> Loss:
    """From the warmest inlet at each step (T, B)."""
    rise_15, rise_60 = _rise(inlet_c, 15.0), _rise(inlet_c, 60.0)
    breached = (rise_15 > RATE_K_15_MIN) | (rise_60 > RATE_K_60_MIN)
    return Loss(
        reach=tuple(_reach(inlet_c, limit) for limit in (27.0, 32.0)),
        hottest_inlet_c=Band.of(inlet_c.max(axis=0)),
        rise_15_min_k=Band.of(rise_15),
        rise_60_min_k=Band.of(rise_60),
        rate_breached_pct=100.0 * float(breached.mean()),
    )


def _rise(inlet_c: FloatArray, minutes: float) -> FloatArray:
    """Largest rise within any such span, (B,)."""
    width = round(minutes * 60.0 / STEP_S)
    return np.asarray((inlet_c[width:] - inlet_c[:-width]).max(axis=0))


def _reach(inlet_c: FloatArray, limit_c: float) -> Reach:
    hot = inlet_c > limit_c
    is_reached = hot.any(axis=0)
    minutes = hot.argmax(axis=0)[is_reached] * STEP_S / 60.0
    return Reach(limit_c, Band.of(minutes) if is_reached.any() else None, 100.0 * float(is_reached.mean()))
