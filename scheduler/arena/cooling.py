"""The plants of B halls: base control, corrections within the machines' limits, ramps, and the inlet limit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from facility.site import Hall
from scheduler.arena.arrays import BoolArray, FloatArray
from scheduler.arena.settings import STEP_S, Limits
from scheduler.arena.view import Plant
from twin.hall import HallFlows, HallInputs, HallParams, HallState, PlantAction, steady, step
from twin.plant import PlantControl, ramped

RESIDUALS = ("supply_air_c", "fan_speed", "chw_supply_c", "economizer")  # columns of ArenaAction.residual
_OFF = -0.5  # an economizer residual below this switches it off


@dataclass(frozen=True, slots=True, eq=False)
class Setpoints:
    """What is asked of the plants in one step, from the action and the load to come."""

    given: PlantAction | None
    residual: FloatArray | None
    lead_w: FloatArray | None  # IT load that is about to be; None: the plant follows the last one


class PlantRoom:
    """The plants' state, and the controls that act on them."""

    def __init__(self, hall: Hall, params: HallParams, control: PlantControl, limits: Limits) -> None:
        """``params`` are the true plants; corrections are checked on the hall's own figures, all that a model has."""
        self._params = params
        self._model = HallParams.from_site(hall)
        self._control = control
        self._limits = limits
        self.hot_refused: BoolArray
        self._state: HallState
        self.seen: Plant

    def settle(self, inputs: HallInputs) -> None:
        """The steady state of the base control under ``inputs``."""
        load_w = inputs.rack_it_w.sum(axis=1)
        action = self._control.action(load_w, inputs.weather)
        self._state, flows = steady(self._params, inputs, action)
        self.hot_refused = np.zeros(len(load_w), dtype=np.bool_)
        self.seen = Plant(load_w, flows.max_inlet_c, action)

    def step(self, inputs: HallInputs, asked: Setpoints) -> HallFlows:
        """15 minutes; setpoints move within their ramps, and a correction that would heat an inlet beyond the limit is
        dropped.
        """
        weather = inputs.weather
        load_w = self.seen.it_w if asked.lead_w is None else np.maximum(self.seen.it_w, asked.lead_w)
        base = asked.given if asked.given is not None else self._control.action(load_w, weather)
        action = ramped(self.seen.action, base, STEP_S)
        if asked.residual is not None:
            action = self._corrected(inputs, action, base, asked.residual)
        self._state, flows = step(self._params, self._state, inputs, action, STEP_S)
        self.seen = Plant(flows.it_w, flows.max_inlet_c, action)
        return flows

    def _corrected(
        self, inputs: HallInputs, plain: PlantAction, base: PlantAction, residual: FloatArray
    ) -> PlantAction:
        wanted = ramped(self.seen.action, corrected(self._model, base, residual), STEP_S)
        _, expected = step(self._model, self._state, inputs, wanted, STEP_S)
        self.hot_refused = expected.max_inlet_c > self._limits.inlet_c
        return _chosen(self.hot_refused, plain, wanted) if self.hot_refused.any() else wanted


def corrected(params: HallParams, base: PlantAction, residual: FloatArray) -> PlantAction:
    """The base setpoints plus residuals (B, 4) in the order of ``RESIDUALS``, held to the machines' limits."""
    crah, chw = params.crah, params.chw
    supply, fan, water, economizer = residual.T
    return replace(
        base,
        supply_air_c=np.clip(base.supply_air_c + supply, crah.supply_min_c, crah.supply_max_c),
        fan_speed=np.clip(base.fan_speed + fan, crah.min_speed, 1.0),
        chw_supply_c=np.clip(base.chw_supply_c + water, chw.supply_min_c, chw.supply_max_c),
        economizer=np.where(economizer < _OFF, 0.0, base.economizer),
    )


def _chosen(flags: BoolArray, yes: PlantAction, no: PlantAction) -> PlantAction:
    return PlantAction(
        *(np.where(flags, getattr(yes, name), getattr(no, name)) for name in PlantAction.__dataclass_fields__)
    )
