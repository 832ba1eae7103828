"""Chilled water, economizer, chiller and cooling tower of the emulated hall, with their local loops."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from apps.emulator.instruments import PiLoop, Ramp, Sensor
from apps.emulator.moist_air import saturated_enthalpy_j_kg
from apps.emulator.nominal import WATER_CP_J_KG_K, Truth

MIN_FLOW = 0.4  # of the design flow: evaporator minimum
PUMP_EXPONENT = 2.5
PUMP_FIXED_SHARE = 0.3  # share of the pump's power that the differential-pressure loop keeps at no flow
TOWER_FAN_EXPONENT = 2.6
TOWER_MIN_SPEED = 0.2
NATURAL_DRAUGHT = 0.1  # of the rated exchange, with the fan off
COLD_BAND_K, WARM_BAND_K = 0.6, 0.6  # thermostat of the compressor below its lowest step
RESTART_S = 180.0
LATENT_J_KG = 2.45e6


@dataclass(slots=True)
class ChillerState:
    """Chilled-water loop, economizer and chiller."""

    supply_c: float = 7.5
    return_c: float = 11.0
    flow_kg_s: float = 1.0
    running: bool = True
    off_s: float = RESTART_S
    evaporator_w: float = 0.0
    economizer_w: float = 0.0
    economizing: bool = False
    power_w: float = 0.0
    pump_w: float = 0.0
    loop: PiLoop = field(default_factory=lambda: PiLoop(gain=0.12, reset_s=220.0, output=0.4))
    chw_sp: Ramp = field(default_factory=lambda: Ramp(0.3 / 60.0, 7.0))
    control_sensor: Sensor = field(default_factory=lambda: Sensor(12.0, 0.02, 0.01))


@dataclass(slots=True)
class TowerState:
    """Cooling tower and its basin."""

    basin_c: float = 18.0
    fan: float = 0.6
    fan_w: float = 0.0
    pump_w: float = 0.0
    rejected_w: float = 0.0
    makeup_kg_s: float = 0.0
    loop: PiLoop = field(default_factory=lambda: PiLoop(gain=0.15, reset_s=240.0, output=0.6))
    basin_sp: Ramp = field(default_factory=lambda: Ramp(1.0 / 60.0, 18.0))
    control_sensor: Sensor = field(default_factory=lambda: Sensor(20.0, 0.03, 0.01))


class WaterSide:
    """From the coils to the outdoor air."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self.chiller = ChillerState()
        self.tower = TowerState()
        self.chiller_failed = False  # a fault for tests and drills
        self._supply_j_k = 0.4 * truth.chw_volume_kg * WATER_CP_J_KG_K
        self._return_j_k = 0.6 * truth.chw_volume_kg * WATER_CP_J_KG_K
        self._basin_j_k = truth.basin_kg * WATER_CP_J_KG_K
        hot_c = truth.tower_wetbulb_c + truth.tower_approach_k + truth.tower_heat_w / self._tower_w_k
        drop = saturated_enthalpy_j_kg(hot_c) - saturated_enthalpy_j_kg(truth.tower_wetbulb_c)
        self._exchange_kg_s = truth.tower_heat_w / drop  # effectiveness times air flow at the design point

    @property
    def _tower_w_k(self) -> float:
        return self._truth.tower_flow_kg_s * WATER_CP_J_KG_K

    def step(
        self, coil_w: float, coil_kg_s: float, economizer_on: bool, wetbulb_c: float, fouling: float, dt_s: float
    ) -> None:
        """Advance loop, chiller and tower by ``dt_s`` with the coils' heat and flow."""
        chiller, tower, truth = self.chiller, self.tower, self._truth
        chiller.flow_kg_s = min(max(coil_kg_s, MIN_FLOW * truth.chw_flow_kg_s), truth.chw_flow_kg_s)
        share = chiller.flow_kg_s / truth.chw_flow_kg_s
        chiller.pump_w = truth.chw_pump_w * (PUMP_FIXED_SHARE + (1.0 - PUMP_FIXED_SHARE) * share**PUMP_EXPONENT)
        loop_w_k = chiller.flow_kg_s * WATER_CP_J_KG_K
        after_c = self._economize(economizer_on, loop_w_k)
        self._compress(wetbulb_c, fouling, dt_s)
        heat_w = loop_w_k * (chiller.supply_c - chiller.return_c) + coil_w + chiller.pump_w
        supply_w = loop_w_k * (after_c - chiller.supply_c) - chiller.evaporator_w
        chiller.return_c += heat_w * dt_s / self._return_j_k
        chiller.supply_c += supply_w * dt_s / self._supply_j_k
        tower.pump_w = truth.tower_pump_w if chiller.running or chiller.economizing else 0.0
        self._reject(wetbulb_c, fouling, dt_s)

    def _economize(self, on: bool, loop_w_k: float) -> float:
        """Water temperature after the economizer; its valve lets no more cold through than the setpoint asks for."""
        chiller, basin_c = self.chiller, self.tower.basin_c
        margin_k = 0.4 if chiller.economizing else 1.2
        chiller.economizing = on and basin_c < chiller.return_c - margin_k
        chiller.economizer_w = 0.0
        if chiller.economizing:
            possible = self._truth.economizer_effectiveness * min(loop_w_k, self._tower_w_k)
            wanted_w = loop_w_k * (chiller.return_c - chiller.chw_sp.value + 0.2)
            chiller.economizer_w = max(min(possible * (chiller.return_c - basin_c), wanted_w), 0.0)
        return chiller.return_c - chiller.economizer_w / loop_w_k

    def _compress(self, wetbulb_c: float, fouling: float, dt_s: float) -> None:
        """Capacity loop of the chiller, cycling below its lowest step; heat taken and power drawn."""
        chiller, truth = self.chiller, self._truth
        seen_c = chiller.control_sensor.value
        error = 0.0 if math.isnan(seen_c) else seen_c - chiller.chw_sp.value
        self._switch(error, dt_s)
        chiller.evaporator_w = chiller.power_w = 0.0
        if not chiller.running:
            chiller.loop.integral = chiller.loop.output = truth.chiller_min_load
            return
        load = max(chiller.loop.update(error, dt_s), truth.chiller_min_load)
        water_c = max(self.tower.basin_c + chiller.economizer_w / self._tower_w_k, truth.head_pressure_c)
        capacity = 1.0 + 0.027 * (chiller.supply_c - truth.rated_chw_c) - 0.012 * (water_c - truth.rated_condenser_c)
        per_unit = load * min(max(capacity, 0.3), 1.4)
        chiller.evaporator_w = per_unit * truth.chiller_capacity_w
        rated_w = truth.chiller_capacity_w / truth.chiller_cop
        lift = _carnot(chiller.supply_c, water_c, per_unit, 8.0 * fouling)
        rated_lift = _carnot(truth.rated_chw_c, truth.rated_condenser_c, 1.0, 0.0)
        idle = truth.chiller_idle_share
        chiller.power_w = rated_w * (idle + (1.0 - idle) * per_unit * lift / rated_lift)

    def _switch(self, error_k: float, dt_s: float) -> None:
        chiller = self.chiller
        chiller.off_s = 0.0 if chiller.running else chiller.off_s + dt_s
        if self.chiller_failed or (chiller.running and error_k < -COLD_BAND_K):
            chiller.running = False
        elif not chiller.running and error_k > WARM_BAND_K and chiller.off_s >= RESTART_S:
            chiller.running = True

    def _reject(self, wetbulb_c: float, fouling: float, dt_s: float) -> None:
        chiller, tower, truth = self.chiller, self.tower, self._truth
        seen_c = tower.control_sensor.value
        wanted = tower.fan if math.isnan(seen_c) else tower.loop.update(seen_c - tower.basin_sp.value, dt_s)
        wanted = wanted if tower.pump_w > 0.0 and wanted >= TOWER_MIN_SPEED else 0.0
        step = dt_s / 60.0
        tower.fan += min(max(wanted - tower.fan, -step), step)
        on = tower.fan > 0.0
        tower.fan_w = truth.tower_fan_w * (0.06 * on + 0.94 * tower.fan**TOWER_FAN_EXPONENT)
        heat_w = chiller.evaporator_w + chiller.power_w + chiller.economizer_w + tower.pump_w
        hot_c = tower.basin_c + (heat_w / self._tower_w_k if tower.pump_w > 0.0 else 0.0)
        exchange = self._exchange_kg_s * (1.0 - fouling) * max(tower.fan, NATURAL_DRAUGHT) ** 0.75
        drop = saturated_enthalpy_j_kg(hot_c) - saturated_enthalpy_j_kg(wetbulb_c)
        tower.rejected_w = max(exchange * drop, 0.0) if tower.pump_w > 0.0 else 0.0
        tower.basin_c += (heat_w - tower.rejected_w) * dt_s / self._basin_j_k
        evaporated = 0.85 * tower.rejected_w / LATENT_J_KG
        cycles = truth.cycles_of_concentration
        tower.makeup_kg_s = evaporated * cycles / (cycles - 1.0)

    def stored_j(self) -> float:
        """Heat in the water, from 0 C."""
        loop = self._supply_j_k * self.chiller.supply_c + self._return_j_k * self.chiller.return_c
        return loop + self._basin_j_k * self.tower.basin_c


def _carnot(chw_c: float, condenser_c: float, load: float, fouling_k: float) -> float:
    """Least work for each watt of cooling: refrigerant below the chilled water and above the condenser's."""
    evaporating_c = chw_c - 2.0 - 3.0 * load
    condensing_c = condenser_c + 4.0 + 4.0 * load + fouling_k
    return max(condensing_c - evaporating_c, 8.0) / (evaporating_c + 273.15)
