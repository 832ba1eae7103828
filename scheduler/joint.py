"""One decision for jobs and plant: a job policy and a plant control side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from facility.records import Command, Decision, Forecasts, State
from facility.site import Roles
from scheduler.policy import Policy
from twin.plant import PlantControl, Weather

WATTS = {"W": 1.0, "kW": 1e3, "MW": 1e6}


def total_w(state: State, points: Sequence[str], max_age_s: float) -> float | None:
    """Power of all ``points`` in watts, whatever their unit; None where one is missing, old or of no unit of power."""
    values = []
    for name in points:
        point = state.points.get(name)
        if point is None or not point.is_usable(max_age_s) or point.unit not in WATTS or point.value is None:
            return None
        values.append(WATTS[point.unit] * point.value)
    return sum(values) if values else None


class JointPolicy:
    """Serves the policy port with the decisions of ``jobs`` and the setpoints of ``plant``.

    Where load or weather is missing, or older than ``max_age_s``, the plant is left as it is, and the reason says so.
    """

    def __init__(self, jobs: Policy, plant: PlantControl, roles: Roles, max_age_s: float) -> None:
        self._jobs = jobs
        self._max_age_s = max_age_s
        self._plant = plant
        self._roles = roles
        self.name = f"{jobs.name}+{plant.name}"
        self.version = jobs.version

    def decide(self, state: State, forecasts: Forecasts) -> Decision:
        """The job policy's decision with the plant's setpoints added."""
        decision = self._jobs.decide(state, forecasts)
        commands, reason = self._setpoints(state)
        return replace(
            decision,
            policy=self.name,
            commands=(*commands, *decision.commands),
            reason=f"{decision.reason}; {reason}",
        )

    def _setpoints(self, state: State) -> tuple[tuple[Command, ...], str]:
        load_w = total_w(state, self._roles.it_power_w, self._max_age_s)
        drybulb_c, rh_pct = self._known(state, self._roles.drybulb_c), self._known(state, self._roles.rh_pct)
        if load_w is None or drybulb_c is None or rh_pct is None:
            return (), "plant left as it is: IT power or outdoor weather is missing or old"
        action = self._plant.action(np.array([load_w]), Weather.of(np.array([drybulb_c]), np.array([rh_pct])))
        reason = f"plant {self._plant.name}: {load_w / 1000:.1f} kW IT, {drybulb_c:.1f} C and {rh_pct:.0f} % RH outside"
        wanted = (
            (self._roles.supply_air_setpoint_c, action.supply_air_c, "degC"),
            (self._roles.fan_speed_setpoint_pct, 100.0 * action.fan_speed, "%"),
            (self._roles.chw_supply_setpoint_c, action.chw_supply_c, "degC"),
            (self._roles.economizer_enable_flag, action.economizer, "1"),
            (self._roles.tower_water_setpoint_c, action.tower_c, "degC"),
        )
        commands = tuple(
            Command(point, round(float(np.ravel(value)[0]), 2), unit, reason)
            for points, value, unit in wanted
            for point in points
        )
        return commands, reason

    def _known(self, state: State, point: str) -> float | None:
        found = state.points.get(point)
        return found.value if found is not None and found.is_usable(self._max_age_s) else None
