"""What new setpoints of the plant would save: the steady twin at the present ones against the wanted ones.

Both sides share load, weather and every draw of what is not known of the hall, so the band is that of the difference.
It is the saving once the hall has settled: minutes for air and water, hours for the structure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from facility.records import FloatArray
from facility.site import Hall
from twin.air import Weather
from twin.hall import HallInputs, HallParams, PlantAction, steady
from twin.halls import batch
from twin.plant import PlantControl, rule
from twin.power import conversion_loss_w, server_fan_speed

DESIGN_INLET_C = 25.0  # at which metered IT power is taken apart into fans and electronics, as in twin.plant
BAND = (5.0, 95.0)  # percentiles of the draws


@dataclass(frozen=True, slots=True)
class Setpoints:
    """Those that are known, in the plant's terms; None where a hall has no such point."""

    supply_air_c: float | None = None
    fan_speed: float | None = None  # 0..1
    chw_supply_c: float | None = None
    economizer: float | None = None  # 1 where it may run
    tower_c: float | None = None

    def over(self, action: PlantAction) -> PlantAction:
        """``action`` with what is known in its place."""
        known = {
            name: np.full_like(action.supply_air_c, value)
            for name in ("supply_air_c", "fan_speed", "chw_supply_c", "economizer", "tower_c")
            if (value := getattr(self, name)) is not None
        }
        return replace(action, **known)


@dataclass(frozen=True, slots=True)
class Band:
    """A value with the 5th and 95th percentile of the draws."""

    value: float
    low: float
    high: float


class SavingModel:
    """The twin of one hall, ready to compare setpoints."""

    def __init__(self, halls: tuple[Hall, ...]) -> None:
        """``halls`` are draws of the one that stands there, the most likely first."""
        self._params = batch(halls)
        self._size = len(halls)
        self._control: PlantControl = rule(halls[0])  # for what no point tells: pumps, machines that run
        self._dc_w, self._it_w = _load_table(HallParams.from_site(halls[0]))

    def saved_w(self, it_w: float, weather: Weather, now: Setpoints, wanted: Setpoints) -> Band:
        """Facility power (W) at ``now`` less that at ``wanted``, for IT power (W) and weather (1,); positive saves."""
        power = [self._facility_w(it_w, weather, setpoints) for setpoints in (now, wanted)]
        return _band(power[0] - power[1])

    def _facility_w(self, it_w: float, weather: Weather, setpoints: Setpoints) -> FloatArray:
        load = np.full(self._size, it_w)
        outside = weather.at(0, self._size)
        racks, per_rack = self._params.racks, self._params.nodes_per_rack
        dc_w = np.interp(it_w, self._it_w, self._dc_w) / racks
        inputs = HallInputs(np.full((self._size, racks), dc_w), np.full((self._size, racks), float(per_rack)), outside)
        action = setpoints.over(self._control.action(load, outside))
        _, flows = steady(self._params, inputs, action)
        return flows.facility_w


def _band(draws: FloatArray) -> Band:
    low, high = np.percentile(draws, BAND)
    value = float(draws[0])
    return Band(value, min(float(low), value), max(float(high), value))


def _load_table(params: HallParams) -> tuple[FloatArray, FloatArray]:
    """DC power of all servers, and what their meters then show (W, rising), with every server on."""
    node, servers = params.node, params.racks * params.nodes_per_rack
    dc_w = np.linspace(0.0, 1.0, 41) * servers * node.rated_dc_w
    speed = server_fan_speed(node, dc_w, np.asarray(servers), np.asarray(DESIGN_INLET_C))
    total = dc_w + servers * node.fan_rated_w * speed**node.fan_exponent
    return dc_w, np.asarray(total + conversion_loss_w(total, node.psu, servers))
