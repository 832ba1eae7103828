"""One decision from what is known: the policy's, with the predicted effect of its setpoints; live or replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from facility.errors import ConfigError
from facility.records import Command, Decision, Effect, Forecasts, State
from facility.site import Site
from scheduler.joint import JointPolicy, total_w
from scheduler.policy import Policy
from scheduler.rules import POLICIES, make_policy
from twin.air import Weather
from twin.plant import PLANTS, plant_control
from twin.saving import Band, SavingModel, Setpoints
from twin.scenarios.ensemble import spread_ensemble

MODEL_VERSION = "steady-twin-1"
DRAWS = 16
POWER, ENERGY, CARBON = "facility_power_saved_w", "facility_energy_saved_kwh", "carbon_saved_g"


def make_joint(name: str, site: Site, max_age_s: float) -> Policy:
    """``JOBS+PLANT``, or one of the two with the site's own for the other; raises ConfigError that lists the names."""
    jobs, plant = site.control.policy, str(site.control.plant)
    for part in name.split("+") if name else ():
        if part in PLANTS:
            plant = part
        elif part in POLICIES:
            jobs = part
        else:
            known = f"{', '.join(sorted(POLICIES))}, with + and {', '.join(PLANTS)}"
            raise ConfigError(f"no policy {part!r}", where="policy", hint=f"one of: {known}")
    return JointPolicy(make_policy(jobs), plant_control(plant, site.hall), site.roles, max_age_s)


class Decider:
    """A policy with the twin beside it that predicts what the policy's setpoints save."""

    def __init__(self, policy: Policy, site: Site, max_age_s: float) -> None:
        """``max_age_s``: older readings are not used for the prediction."""
        self.policy = policy
        self._roles, self._tick_s, self._max_age_s = site.roles, site.control.tick_s, max_age_s
        self._pressure_pa = _pressure_pa(site.site.altitude_m)
        self._model = SavingModel(spread_ensemble(site.hall, DRAWS).halls)

    def decide(self, state: State, forecasts: Forecasts) -> Decision:
        """The policy's decision; its effects are left out where load or weather is missing or old."""
        decision = self.policy.decide(state, forecasts)
        effects = self._effects(decision.commands, state, forecasts)
        return replace(decision, effects=effects, model_version=MODEL_VERSION) if effects else decision

    def _effects(self, commands: Sequence[Command], state: State, forecasts: Forecasts) -> tuple[Effect, ...]:
        it_w = total_w(state, self._roles.it_power_w, self._max_age_s)
        drybulb_c, rh_pct = (self._known(state, point) for point in (self._roles.drybulb_c, self._roles.rh_pct))
        wanted = {command.point: command.value for command in commands if command.value is not None}
        if it_w is None or drybulb_c is None or rh_pct is None or not self._setpoints(wanted):
            return ()
        known = {name: point.value for name, point in state.points.items() if point.value is not None}
        now, then = (Setpoints(**self._setpoints(values)) for values in (known, {**known, **wanted}))
        weather = Weather.of(np.array([drybulb_c]), np.array([rh_pct]), self._pressure_pa)
        return self._as_effects(self._model.saved_w(it_w, weather, now, then), forecasts)

    def _as_effects(self, saved: Band, forecasts: Forecasts) -> tuple[Effect, ...]:
        hours = self._tick_s / 3600.0
        kwh = [hours * watts / 1000.0 for watts in (saved.value, saved.low, saved.high)]
        effects = (
            Effect(POWER, "W", saved.value, saved.low, saved.high),
            Effect(ENERGY, "kWh", *kwh),
        )
        carbon = forecasts.get("carbon_intensity_g_kwh")
        if carbon is None or not len(carbon.value) or np.isnan(carbon.value[0]):
            return effects
        grams = [float(carbon.value[0]) * energy for energy in kwh]
        return (*effects, Effect(CARBON, "g", *grams))

    def _setpoints(self, values: Mapping[str, float | None]) -> dict[str, float]:
        """The means over the points of each role, in the twin's terms."""
        roles = self._roles
        named = {
            "supply_air_c": (roles.supply_air_setpoint_c, 1.0),
            "fan_speed": (roles.fan_speed_setpoint_pct, 0.01),
            "chw_supply_c": (roles.chw_supply_setpoint_c, 1.0),
            "economizer": (roles.economizer_enable_flag, 1.0),
            "tower_c": (roles.tower_water_setpoint_c, 1.0),
        }
        found = {}
        for name, (points, scale) in named.items():
            known = [value for point in points if (value := values.get(point)) is not None]
            if known:
                found[name] = scale * sum(known) / len(known)
        return found

    def _known(self, state: State, name: str) -> float | None:
        point = state.points.get(name)
        return point.value if point is not None and point.is_usable(self._max_age_s) else None


def _pressure_pa(altitude_m: float) -> float:
    """Standard atmosphere (ISO 2533), troposphere."""
    return float(101_325.0 * (1.0 - 2.25577e-5 * altitude_m) ** 5.2559)
