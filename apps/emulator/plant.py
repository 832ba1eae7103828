"""The emulated plant as a whole: power chain, air and water, fouling, and the energies that its meters count."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from apps.emulator.airside import AirSide, NodeLoad
from apps.emulator.moist_air import dewpoint_c, wetbulb_c
from apps.emulator.nominal import Truth
from apps.emulator.waterside import WaterSide

STEP_S = 5.0
FOULING_MAX = 0.15  # of a coil's conductance, a filter's drag, a tower's exchange
FOULING_S = 120.0 * 86_400.0  # after this long, 63 % of it; then somebody cleans in vain
ECONOMIZER_APPROACH_K = 3.0  # with free cooling the tower aims this far below the chilled water
DEWPOINT_S = 6.0 * 3_600.0


@dataclass(frozen=True, slots=True)
class Setpoints:
    """What the devices' local loops are asked to hold; ``basin_c`` None leaves the tower to its own sequence."""

    supply_air_c: Sequence[float]
    fan_pct: Sequence[float]
    chw_c: float
    economizer_on: bool
    basin_c: float | None
    local_basin_c: float = 18.0


@dataclass(slots=True)
class PlantState:
    """What lasts besides temperatures: age, humidity and energies in J by name; water in kg."""

    age_s: float = 0.0
    dewpoint_c: float = 9.5
    energy_j: dict[str, float] = field(default_factory=dict)
    water_kg: float = 0.0


class Plant:
    """The hall; ``step`` advances it by a few seconds."""

    def __init__(self, truth: Truth, seed: int = 0) -> None:
        self.truth = truth
        self._rng = random.Random(seed)
        self.air = AirSide(truth)
        self.water = WaterSide(truth)
        self.state = PlantState()
        self.power_w: dict[str, float] = {}
        self.air.loads([NodeLoad(0.0, 0.0, truth.gpus_per_node)] * truth.nodes)
        self._electricity()

    @property
    def fouling(self) -> float:
        """Share lost to dirt by now; it starts from nothing and grows."""
        return FOULING_MAX * (1.0 - math.exp(-self.state.age_s / FOULING_S))

    def step(
        self, loads: Sequence[NodeLoad], setpoints: Setpoints, drybulb_c: float, rh_pct: float, dt_s: float = STEP_S
    ) -> None:
        """Advance by ``dt_s`` (at most about 10 s, for stability) with one NodeLoad for each node."""
        air, water, fouling = self.air, self.water, self.fouling
        self._follow(setpoints, dt_s)
        self._sense_for_control(dt_s)
        air.loads(loads)
        coil_w = air.coils(water.chiller.supply_c, fouling, dt_s)
        flow_kg_s = sum(crah.water_kg_s for crah in air.crahs)
        water.step(coil_w, flow_kg_s, setpoints.economizer_on, wetbulb_c(drybulb_c, rh_pct), fouling, dt_s)
        self._electricity()
        power = self.power_w
        air.move_air(power["pdu_loss"] + power["ups_loss"] + self.truth.lighting_w, drybulb_c, dt_s)
        self._count(dt_s)
        outdoors = min(max(dewpoint_c(drybulb_c, rh_pct), 5.5), 15.0)  # the humidifier and the coil keep it there
        self.state.dewpoint_c += (outdoors - self.state.dewpoint_c) * dt_s / DEWPOINT_S

    def _follow(self, setpoints: Setpoints, dt_s: float) -> None:
        for crah, supply_c, fan_pct in zip(self.air.crahs, setpoints.supply_air_c, setpoints.fan_pct, strict=True):
            crah.supply_sp.follow(supply_c, dt_s)
            crah.fan_sp.follow(fan_pct, dt_s)
        chw_c = self.water.chiller.chw_sp.follow(setpoints.chw_c, dt_s)
        basin_c = setpoints.basin_c
        if basin_c is None:
            free_c = chw_c - ECONOMIZER_APPROACH_K
            basin_c = min(setpoints.local_basin_c, free_c) if setpoints.economizer_on else setpoints.local_basin_c
        self.water.tower.basin_sp.follow(basin_c, dt_s)

    def _sense_for_control(self, dt_s: float) -> None:
        for crah in self.air.crahs:
            crah.control_sensor.update(crah.supply_c, dt_s, self._rng)
        self.water.chiller.control_sensor.update(self.water.chiller.supply_c, dt_s, self._rng)
        self.water.tower.control_sensor.update(self.water.tower.basin_c, dt_s, self._rng)

    def _electricity(self) -> None:
        """Every power of this step by name, in W; ``facility`` is what the main meter sees."""
        truth, water = self.truth, self.water
        racks_w = [sum(rack.node_w) for rack in self.air.racks]
        pdu_losses_w = [
            truth.pdu_rated_w * (truth.pdu_fixed_share + truth.pdu_square_share * (rack_w / truth.pdu_rated_w) ** 2)
            for rack_w in racks_w
        ]
        it_w, pdu_loss_w = sum(racks_w), sum(pdu_losses_w)
        ups_w = it_w + pdu_loss_w
        load = ups_w / truth.ups_rated_w
        ups_loss_w = truth.ups_rated_w * (truth.ups_fixed_share + truth.ups_slope_share * load**1.3)
        power = {"it": it_w, "pdu_loss": pdu_loss_w, "ups_output": ups_w, "ups_loss": ups_loss_w}
        power |= {f"pdu-{i + 1}": sum(pair) for i, pair in enumerate(zip(racks_w, pdu_losses_w, strict=True))}
        nodes_w = (node_w for rack in self.air.racks for node_w in rack.node_w)
        power |= {f"node-{i + 1}": node_w for i, node_w in enumerate(nodes_w)}
        power |= {f"crah-{i + 1}": crah.fan_w for i, crah in enumerate(self.air.crahs)}
        power |= {"chiller": water.chiller.power_w, "chw_pump": water.chiller.pump_w}
        power |= {"tower_fan": water.tower.fan_w, "cw_pump": water.tower.pump_w}
        cooling_w = sum(crah.fan_w for crah in self.air.crahs) + sum(
            power[part] for part in ("chiller", "chw_pump", "tower_fan", "cw_pump")
        )
        power["cooling"] = cooling_w
        power["facility"] = ups_w + ups_loss_w + cooling_w + truth.lighting_w + truth.aux_w
        self.power_w = power

    def _count(self, dt_s: float) -> None:
        energy = self.state.energy_j
        for name, power_w in self.power_w.items():
            energy[name] = energy.get(name, 0.0) + power_w * dt_s
        energy["envelope"] = energy.get("envelope", 0.0) + self.air.envelope_w * dt_s
        energy["rejected"] = energy.get("rejected", 0.0) + self.water.tower.rejected_w * dt_s
        self.state.water_kg += self.water.tower.makeup_kg_s * dt_s
        self.state.age_s += dt_s

    def energy_wh(self, name: str) -> float:
        """Energy counted since the start by name of ``power_w``; 0 before the first step."""
        return self.state.energy_j.get(name, 0.0) / 3_600.0

    def stored_j(self) -> float:
        """Heat in all masses, from 0 C."""
        return self.air.stored_j() + self.water.stored_j()

    def balance_residual_j(self, stored_before_j: float) -> float:
        """All heat that came in since the start, less what left and what is stored in addition."""
        energy = self.state.energy_j
        aux_j = self.truth.aux_w * self.state.age_s
        outside_j = energy["tower_fan"] + aux_j  # their heat never enters the hall or its water
        came_j = energy["facility"] + energy["envelope"] - outside_j
        return came_j - energy["rejected"] - (self.stored_j() - stored_before_j)
