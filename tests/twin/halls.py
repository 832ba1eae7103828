"""Halls, weather and setpoints for the tests of the twin."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np

from facility.records import FloatArray
from facility.site import Hall, load_site
from twin.air import STANDARD_PRESSURE_PA, Weather
from twin.hall import HallInputs, HallParams, PlantAction

SITES = ("site.toml", "site-1mw.toml")


def hall(name: str = "site.toml") -> Hall:
    with as_file(files("data") / name) as path:
        return load_site(path).hall


def params(name: str = "site.toml") -> HallParams:
    return HallParams.from_site(hall(name))


def outside(wetbulb_c: FloatArray | float, drybulb_c: FloatArray | float | None = None, batch: int = 1) -> Weather:
    wet = np.broadcast_to(np.asarray(wetbulb_c, dtype=float), np.shape(wetbulb_c) or (batch,))
    dry = wet + 4.0 if drybulb_c is None else np.broadcast_to(np.asarray(drybulb_c, dtype=float), wet.shape)
    return Weather(dry, wet, np.full(wet.shape, STANDARD_PRESSURE_PA))


def setpoints(batch: int, **changes: FloatArray | float) -> PlantAction:
    """Good manual settings of the reference hall, with changes."""
    chosen: dict[str, FloatArray | float] = {
        "supply_air_c": 24.0,
        "fan_speed": 0.6,
        "crahs_on": 2.0,
        "chw_supply_c": 15.0,
        "chw_flow": 0.8,
        "economizer": 1.0,
        "chillers_on": 1.0,
        "tower_c": 11.0,
        **changes,
    }
    return PlantAction(**{name: np.broadcast_to(np.asarray(value, float), (batch,)) for name, value in chosen.items()})


def random_inputs(hall_params: HallParams, batch: int, rng: np.random.Generator) -> HallInputs:
    """Any load from nothing to full, some servers off, weather from arctic to unlivable."""
    servers = rng.integers(0, hall_params.nodes_per_rack + 1, (batch, hall_params.racks)).astype(float)
    heat = servers * rng.uniform(0.1, 1.0, servers.shape) * hall_params.node.rated_dc_w
    dry = rng.uniform(-30.0, 50.0, batch)
    return HallInputs(heat, servers, Weather.of(dry, rng.uniform(5.0, 100.0, batch), rng.uniform(8e4, 1.03e5, batch)))


def random_action(hall_params: HallParams, batch: int, rng: np.random.Generator) -> PlantAction:
    """Any setpoints, failed machines among them."""
    return setpoints(
        batch,
        supply_air_c=rng.uniform(15.0, 27.0, batch),
        fan_speed=rng.uniform(0.0, 1.2, batch),
        crahs_on=rng.integers(0, hall_params.crah.count + 1, batch).astype(float),
        chw_supply_c=rng.uniform(6.0, 20.0, batch),
        chw_flow=rng.uniform(0.0, 1.2, batch),
        economizer=rng.integers(0, 2, batch).astype(float),
        chillers_on=rng.integers(0, hall_params.chiller.count + 1, batch).astype(float),
        tower_c=rng.uniform(4.0, 28.0, batch),
    )
