"""A case over its hours on a batch of halls: the twin, step by step, and the energy on site afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from facility.site import Hall
from twin.air import Weather
from twin.cooling import chiller_capacity_w
from twin.hall import HallFlows, HallInputs, HallParams, HallState, PlantAction, steady, step
from twin.scenarios.building import Setpoints, changed_hall
from twin.scenarios.case import Case
from twin.scenarios.ensemble import Ensemble
from twin.scenarios.load import Load, load_of
from twin.scenarios.surroundings import Surroundings

LOADS = (
    "it_w",
    "pdu_loss_w",
    "ups_loss_w",
    "crah_fan_w",
    "chiller_w",
    "chw_pump_w",
    "cw_pump_w",
    "tower_fan_w",
    "aux_w",
)  # they sum to the main meter
_KEPT = (
    *LOADS,
    "facility_w",
    "server_fan_w",
    "leakage_w",
    "water_l_h",
    "coil_w",
    "economizer_w",
    "evaporator_w",
    "rejected_w",
    "supply_air_c",
    "return_air_c",
    "chw_supply_c",
    "tower_fan_speed",
    "airflow_m3_s",
    "server_airflow_m3_s",
    "balance_residual_w",
)
_SETTLING_ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Trajectory:
    """What happened: flows and temperatures by name, each (T, B); see ``twin.hall.HallFlows`` for the names."""

    case: Case
    hall: Hall  # of the case
    params: HallParams  # the batch
    around: Surroundings
    load: Load
    flows: dict[str, FloatArray]
    worst: tuple[HallState, HallInputs, PlantAction]  # of the step with the most heat outside and inside


def simulate(
    ensemble: Ensemble, case: Case, around: Surroundings, progress: Callable[[float], None] | None = None
) -> Trajectory:
    """Steps every draw of the hall through the hours of ``around``; ``progress`` hears the share that is done."""
    halls = ensemble.map(lambda hall: changed_hall(hall, case))
    params, setpoints = halls.params(), Setpoints.of(case, halls.halls[0])
    load = load_of(case, around, float(setpoints.params.node.gpu_max_w))
    run = _Run(params, setpoints, load, around, ensemble.size)
    state, per_dc = run.settled()
    flows: dict[str, FloatArray] = {}
    worst, worst_w, kept = None, -np.inf, state
    for index in range(around.steps):
        inputs = run.inputs(index)
        dc_w = inputs.rack_it_w.sum(axis=1)
        action = setpoints.action(per_dc * dc_w, dc_w, inputs.weather)  # local loops follow load within minutes
        kept = state
        state, now = step(params, state, inputs, action, around.step_s)
        per_dc = now.it_w / dc_w
        for name, value in _values(params, now, action).items():
            flows.setdefault(name, np.empty((around.steps, ensemble.size)))[index] = value
        if now.rejected_w[0] > worst_w:
            worst, worst_w = (kept, inputs, action), float(now.rejected_w[0])
        if progress is not None:
            progress((index + 1) / around.steps)
    assert worst is not None  # noqa: S101 - there is at least one step
    return Trajectory(case, halls.halls[0], params, around, load, flows, worst)


@dataclass(frozen=True, slots=True)
class _Run:
    params: HallParams
    setpoints: Setpoints
    load: Load
    around: Surroundings
    batch: int

    def inputs(self, index: int) -> HallInputs:
        weather: Weather = self.around.weather.at(index, self.batch)
        return self.load.inputs(self.params, index, weather)

    def settled(self) -> tuple[HallState, FloatArray]:
        """Every hall had its first hour lasted for ever, and its metered IT power over the DC power of its servers."""
        inputs = self.inputs(0)
        dc_w = inputs.rack_it_w.sum(axis=1)
        state, load_w = HallState.initial(self.params, self.batch), dc_w
        for _ in range(3):  # the setpoints follow the IT power, which follows them a little
            action = self.setpoints.action(load_w, dc_w, inputs.weather)
            state, flows = steady(self.params, inputs, action, state, rounds=_SETTLING_ROUNDS)
            load_w = flows.it_w
        return state, load_w / dc_w


def _values(params: HallParams, now: HallFlows, action: PlantAction) -> dict[str, FloatArray]:
    chiller = params.chiller
    installed = np.full_like(now.it_w, float(chiller.count))
    return {name: getattr(now, name) for name in _KEPT} | {
        "max_inlet_c": now.max_inlet_c,
        "min_inlet_c": now.inlet_c.min(axis=1),
        "max_rack_w": now.rack_w.max(axis=1),
        "chiller_cap_w": chiller_capacity_w(chiller, installed, now.chw_supply_c, now.tower_c),
        "supply_setpoint_c": action.supply_air_c,
        "chw_setpoint_c": action.chw_supply_c,
        "fan_speed": action.fan_speed,
        "chillers_on": action.chillers_on,
    }
