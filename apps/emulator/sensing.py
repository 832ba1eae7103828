"""What is true in the building, and what its instruments make of it; points are named as the devices report them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from apps.emulator.instruments import Sensor
from apps.emulator.moist_air import relative_humidity_pct
from apps.emulator.plant import Plant

METER_ERROR_SHARE = 0.005  # class 0.5 (IEC 62053-22)


@dataclass(frozen=True, slots=True)
class Make:
    """A kind of sensor: time constant, noise (absolute and as a share of the value), resolution."""

    tau_s: float
    noise: float
    resolution: float
    noise_share: float = 0.0


AIR_TEMPERATURE = Make(45.0, 0.06, 0.1)
RACK_TEMPERATURE = Make(60.0, 0.08, 0.1)
WATER_TEMPERATURE = Make(20.0, 0.03, 0.05)
HUMIDITY = Make(60.0, 0.4, 0.5)
POSITION = Make(1.0, 0.15, 0.1)
POWER = Make(1.0, 0.5, 1.0, 0.002)
FLOW = Make(5.0, 0.005, 0.001)


def make_of(point: str) -> Make:
    """The sensor that stands at a point, by the point's name."""
    quantity = point.rpartition("/")[2]
    if quantity.endswith("_w"):
        return POWER
    if quantity.endswith("_kg_s"):
        return FLOW
    if quantity.endswith("rh_pct"):
        return HUMIDITY
    if quantity.endswith("_pct"):
        return POSITION
    if quantity.startswith("rack_"):
        return RACK_TEMPERATURE
    return WATER_TEMPERATURE if quantity.startswith(("chw_", "basin_")) else AIR_TEMPERATURE


def true_values(plant: Plant, drybulb_c: float, rh_pct: float) -> dict[str, float]:
    """Every analogue quantity that an instrument measures, by point."""
    return {
        **_crah_values(plant),
        **_water_values(plant),
        "tower-1/outdoor_drybulb_c": drybulb_c,
        "tower-1/outdoor_rh_pct": rh_pct,
        **_electric_values(plant),
        **_rack_values(plant),
    }


def _crah_values(plant: Plant) -> dict[str, float]:
    room, values = plant.air.room, {}
    for i, crah in enumerate(plant.air.crahs):
        name = f"crah-{i + 1}"
        values[f"{name}/supply_air_c"] = crah.supply_c
        values[f"{name}/return_air_c"] = room.hot_c
        values[f"{name}/return_rh_pct"] = relative_humidity_pct(room.hot_c, plant.state.dewpoint_c)
        values[f"{name}/fan_speed_pct"] = 100.0 * crah.fan
        values[f"{name}/chw_valve_pct"] = 100.0 * crah.valve.position
        values[f"{name}/fan_power_w"] = crah.fan_w
    return values


def _water_values(plant: Plant) -> dict[str, float]:
    chiller, tower = plant.water.chiller, plant.water.tower
    return {
        "chiller-1/chw_supply_c": chiller.supply_c,
        "chiller-1/chw_return_c": chiller.return_c,
        "chiller-1/chw_flow_kg_s": chiller.flow_kg_s,
        "chiller-1/load_pct": 100.0 * chiller.evaporator_w / plant.truth.chiller_capacity_w,
        "chiller-1/power_w": chiller.power_w,
        "chiller-1/pump_power_w": chiller.pump_w,
        "tower-1/basin_c": tower.basin_c,
        "tower-1/fan_speed_pct": 100.0 * tower.fan,
        "tower-1/fan_power_w": tower.fan_w,
        "tower-1/pump_power_w": tower.pump_w,
    }


def _electric_values(plant: Plant) -> dict[str, float]:
    power = plant.power_w
    return {
        "meter-main/power_w": power["facility"],
        "ups-1/output_power_w": power["ups_output"],
        "ups-1/input_power_w": power["ups_output"] + power["ups_loss"],
        "ups-1/load_pct": 100.0 * power["ups_output"] / plant.truth.ups_rated_w,
        "ups-1/temperature_c": plant.air.room.hot_c + 6.0,  # electronics in their own cabinet
    }


def _rack_values(plant: Plant) -> dict[str, float]:
    values = {}
    for i, rack in enumerate(plant.air.racks):
        name = f"pdu-{i + 1}"
        values[f"{name}/inlet-1/power_w"] = plant.power_w[name]
        values[f"{name}/rack_inlet_c"] = rack.inlet_c
        values[f"{name}/rack_inlet_rh_pct"] = relative_humidity_pct(rack.inlet_c, plant.state.dewpoint_c)
        for j, node_w in enumerate(rack.node_w):
            values[f"{name}/outlet-{j + 1}/power_w"] = node_w
    return values


class Instruments:
    """One sensor for every true value, and the small constant error of each energy meter."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._seed = seed
        self._sensors: dict[str, Sensor] = {}
        self._gains: dict[str, float] = {}
        self.values: dict[str, float] = {}

    def update(self, true: dict[str, float], dt_s: float) -> None:
        """Let every sensor see its true value for ``dt_s``."""
        for point, value in true.items():
            sensor, make = self._sensors.get(point), make_of(point)
            if sensor is None:
                sensor = self._sensors[point] = Sensor(make.tau_s, make.noise, make.resolution)
            sensor.noise = make.noise + make.noise_share * abs(value) if value else 0.0
            sensor.update(value * self.gain(point) if make is POWER else value, dt_s, self._rng)
            self.values[point] = sensor.value

    def gain(self, point: str) -> float:
        """The meter behind a power or energy point reads this many times the truth; the same for both."""
        device = point.rpartition("/")[0]
        if device not in self._gains:
            error = random.Random(f"{self._seed} {device}").uniform(-METER_ERROR_SHARE, METER_ERROR_SHARE)
            self._gains[device] = 1.0 + error
        return self._gains[device]
