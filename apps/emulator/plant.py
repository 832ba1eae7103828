"""The emulated plant as a whole: power chain, air and water, fouling, and the energies that its meters count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
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

    def step(self, loads: Sequence[NodeLoad], setpoints: Setpoints, drybulb_c: float, rh_pct: float, dt_s: float = STEP_S) -> None:  # fmt: skip
        """Advance by ``dt_s`` (at most about 10 s, for stability) with one NodeLoad for each node."""
        air, water, fouling = self.air, self.water, self.fouling
        self._follow(setpoints, dt_s)
        self._sense_for_control(dt_s)
        air.loads(loads)
        wanted_kg_s = sum(crah.water_kg_s for crah in air.crahs)
        flow_share = min(self.truth.chw_flow_kg_s / max(wanted_kg_s, 1e-9), 1.0)
        coil_w = air.coils(water.chiller.supply_c, flow_share, fouling, dt_s)
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
        # The local controllers' own sensors: their noise is drowned by the valve's stiction, so it is left out.
        for crah in self.air.crahs:
            _lag(crah.control_sensor, crah.supply_c, dt_s)
        _lag(self.water.chiller.control_sensor, self.water.chiller.supply_c, dt_s)
        _lag(self.water.tower.control_sensor, self.water.tower.basin_c, dt_s)
