"""The hall and the setpoints of a case: what the site file and its plant control say, changed as the case asks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from facility.errors import ConfigError
from facility.records import FloatArray
from facility.site import Hall
from twin.air import Weather
from twin.hall import HallParams, PlantAction
from twin.halls import edited
from twin.plant import PlantControl, plant_control
from twin.power import server_fan_speed
from twin.scenarios.case import Case

_INLET_OVER_SUPPLY_K = 1.0  # at which a server's appetite for air is estimated, as in twin.plant


def changed_hall(hall: Hall, case: Case) -> Hall:
    """The hall of a case; raises ConfigError where more machines are lost than there are."""
    for lost, count, name in (
        (case.crahs_lost, hall.crah.count, "crahs_lost"),
        (case.chillers_lost, hall.chiller.count, "chillers_lost"),
    ):
        if lost > count:
            raise ConfigError(f"{name} is {lost} and the site has {count}", where=name, hint=f"at most {count}")
    worst = min(hall.room.recirculation_worst * case.recirculation_factor, 1.0)
    best = min(hall.room.recirculation_best * case.recirculation_factor, 1.0)
    changes = {
        "racks": hall.racks + case.extra_racks,
        "room.recirculation_best": best,
        "room.recirculation_worst": worst,
        "room.bypass": case.bypass,
        "ups.modules": case.ups_modules,
        "tower.cycles_of_concentration": case.cycles_of_concentration,
    }
    for path, value in changes.items():
        if value is not None:
            hall = edited(hall, path, value)
    return hall


@dataclass(frozen=True, slots=True)
class Setpoints:
    """The plant control of a case with the case's own setpoints on top."""

    case: Case
    hall: Hall
    params: HallParams  # of the hall as designed: the control knows no other
    control: PlantControl

    @classmethod
    def of(cls, case: Case, hall: Hall) -> Setpoints:
        """For a hall that ``changed_hall`` gave."""
        return cls(case, hall, HallParams.from_site(hall), plant_control(case.plant, hall))

    def action(self, load_w: FloatArray, dc_w: FloatArray, weather: Weather) -> PlantAction:
        """Setpoints (B,) for metered IT power and the servers' DC power, which is what their fans answer to."""
        case, own = self.case, self.control.action(load_w, weather)
        supply_c = self._supply(own)
        chw_c = self._chw(own, supply_c)
        tower_k = chw_c - own.chw_supply_c if case.water_follows else 0.0
        return replace(
            own,
            supply_air_c=supply_c,
            fan_speed=self._fan_speed(own, supply_c, dc_w),
            crahs_on=np.maximum(own.crahs_on - case.crahs_lost, 0.0),
            chw_supply_c=chw_c,
            tower_c=np.maximum(own.tower_c + tower_k, self.params.tower.setpoint_min_c),
            economizer={"on": np.ones_like(supply_c), "off": np.zeros_like(supply_c)}.get(
                case.economizer, own.economizer
            ),
            chillers_on=np.minimum(own.chillers_on, float(self.hall.chiller.count - case.chillers_lost)),
        )

    def _supply(self, own: PlantAction) -> FloatArray:
        """Within the limits of the air handlers."""
        case, crah = self.case, self.params.crah
        wanted = own.supply_air_c if case.supply_air_c is None else np.full_like(own.supply_air_c, case.supply_air_c)
        return np.clip(wanted + case.supply_air_offset_k, crah.supply_min_c, crah.supply_max_c)

    def _chw(self, own: PlantAction, supply_c: FloatArray) -> FloatArray:
        """Chilled water: what is asked, or the control's, moved with the supply air within the plant's limits."""
        if self.case.chw_supply_c is not None:
            return np.full_like(supply_c, self.case.chw_supply_c)
        if not self.case.water_follows:
            return own.chw_supply_c
        low, high = self.params.chw.supply_min_c, self.params.chw.supply_max_c
        return np.clip(own.chw_supply_c + supply_c - own.supply_air_c, low, high)

    def _fan_speed(self, own: PlantAction, supply_c: FloatArray, dc_w: FloatArray) -> FloatArray:
        """Warmer air makes servers take more of it: the air handlers deliver that, and what a lost one would have."""
        if self.control.name == "legacy":
            return np.clip(own.fan_speed * self.case.airflow_factor, 0.0, 1.0)
        count = self.hall.crah.count
        node, servers = self.params.node, np.asarray(float(self.params.racks * self.params.nodes_per_rack))
        wanted = server_fan_speed(node, dc_w, servers, supply_c + _INLET_OVER_SUPPLY_K)
        taken = server_fan_speed(node, dc_w, servers, own.supply_air_c + _INLET_OVER_SUPPLY_K)
        left = max(count - self.case.crahs_lost, 1)
        speed = own.fan_speed * (wanted / taken) * (count / left) * self.case.airflow_factor
        return np.clip(speed, 0.0, 1.0)
