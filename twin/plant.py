"""How plants are run: legacy, a good fixed rule, and the optimum of the steady twin as a table.

A control turns IT power (at the IT inlet, watts) and weather into setpoints; it keeps no state.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Protocol

import numpy as np

from facility.errors import ConfigError
from facility.records import FloatArray
from facility.site import Hall
from twin.air import Weather
from twin.hall import HallInputs, HallParams, HallState, PlantAction, steady
from twin.power import conversion_loss_w, server_fan_speed

__all__ = ["PLANTS", "PlantControl", "Weather", "legacy", "optimum", "plant_control", "ramped", "rule"]

PLANTS = ("legacy", "rule", "optimum")

_AIRFLOW_MARGIN = 1.1  # over what the servers take: load is never spread evenly
_DESIGN_INLET_C = 25.0  # at which a server's appetite for air is estimated
_STAGING_MARGIN = 1.2  # heat of fans, losses and pumps over IT power, when chillers are staged

# Largest change in 15 minutes. ASHRAE TC 9.9 (2021) allows inlet air 5 K in 15 minutes; half of that is used.
RAMPS_15_MIN = {"supply_air_c": 2.5, "chw_supply_c": 3.0, "fan_speed": 0.3, "chw_flow": 0.3, "tower_c": 5.0}


class PlantControl(Protocol):
    """Setpoints for B halls at once."""

    @property
    def name(self) -> str:
        """Name of the control, one of ``PLANTS``."""
        ...

    def action(self, load_w: FloatArray, weather: Weather) -> PlantAction:
        """Setpoints for IT power ``load_w`` (B,) at the IT inlet and ``weather`` (B,)."""
        ...


def plant_control(name: str, hall: Hall) -> PlantControl:
    """The control called ``name``; raises ConfigError for a name that is not one of ``PLANTS``."""
    if name == "legacy":
        return legacy(hall)
    if name == "rule":
        return rule(hall)
    if name == "optimum":
        return optimum(hall)
    raise ConfigError(f"no plant control is called {name!r}", where="plant", hint=f"use one of: {', '.join(PLANTS)}")


def legacy(hall: Hall) -> PlantControl:
    """18 C supply air, everything at full speed, chilled water fixed at 7 C, no economizer."""
    return _Legacy(HallParams.from_site(hall))


def rule(hall: Hall) -> PlantControl:
    """24 C supply air, just the air the servers take, economizer on, chilled water reset by load."""
    return _Rule(_Sizes.of(HallParams.from_site(hall)))


def optimum(hall: Hall) -> PlantControl:
    """The setpoints of least facility power with every inlet at or below 27 C; the table is built once in a process."""
    return _table(hall.model_dump_json())


def ramped(previous: PlantAction, wanted: PlantAction, dt_s: float) -> PlantAction:
    """``wanted``, held to ``RAMPS_15_MIN`` from ``previous``; units and the economizer switch at once."""
    parts = {}
    for part in fields(wanted):
        old, new = getattr(previous, part.name), getattr(wanted, part.name)
        limit = RAMPS_15_MIN.get(part.name)
        parts[part.name] = (
            new if limit is None else np.clip(new, old - limit * dt_s / 900.0, old + limit * dt_s / 900.0)
        )
    return PlantAction(**parts)


@dataclass(frozen=True, slots=True)
class _Legacy:
    params: HallParams
    name: str = "legacy"

    def action(self, load_w: FloatArray, weather: Weather) -> PlantAction:
        params, shape = self.params, np.shape(load_w)
        return PlantAction(
            supply_air_c=np.full(shape, 18.0),
            fan_speed=np.ones(shape),
            crahs_on=np.full(shape, float(params.crah.count)),
            chw_supply_c=np.full(shape, 7.0),
            chw_flow=np.ones(shape),
            economizer=np.zeros(shape),
            chillers_on=np.full(shape, float(params.chiller.count)),
            tower_c=np.full(shape, params.tower.setpoint_min_c),
        )


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What follows from IT power alone: DC power, air that the servers take, machines that must run."""

    params: HallParams
    dc_w: FloatArray  # grid, with every server on
    it_w: FloatArray  # at the design inlet

    @classmethod
    def of(cls, params: HallParams) -> _Sizes:
        node, servers = params.node, params.racks * params.nodes_per_rack
        dc_w = np.linspace(0.0, 1.0, 41) * servers * node.rated_dc_w
        speed = server_fan_speed(node, dc_w, np.asarray(servers), np.asarray(_DESIGN_INLET_C))
        total = dc_w + servers * node.fan_rated_w * speed**node.fan_exponent
        return cls(params, dc_w, total + conversion_loss_w(total, node.psu, servers))

    @property
    def servers(self) -> int:
        return self.params.racks * self.params.nodes_per_rack

    def dc_of(self, load_w: FloatArray) -> FloatArray:
        return np.asarray(np.interp(load_w, self.it_w, self.dc_w))

    def share_of(self, load_w: FloatArray) -> FloatArray:
        """Load over rated load, 0..1."""
        return np.asarray(np.clip(load_w / self.it_w[-1], 0.0, 1.0))

    def fan_speed(self, dc_w: FloatArray, inlet_c: FloatArray, margin: FloatArray | float) -> FloatArray:
        """Speed of all air handlers at which they deliver ``margin`` times what the servers take."""
        node, crah = self.params.node, self.params.crah
        speed = server_fan_speed(node, dc_w, np.asarray(self.servers), inlet_c)
        wanted = margin * self.servers * node.fan_airflow_m3_s * speed / (1.0 - self.params.room.bypass)
        return np.asarray(np.clip(wanted / (crah.count * crah.rated_airflow_m3_s), crah.min_speed, 1.0))

    def chillers_on(self, load_w: FloatArray) -> FloatArray:
        chiller = self.params.chiller
        return np.clip(np.ceil(_STAGING_MARGIN * load_w / chiller.rated_capacity_w), 1.0, float(chiller.count))

    def action(
        self,
        load_w: FloatArray,
        supply_air_c: FloatArray,
        fan_speed: FloatArray,
        chw_supply_c: FloatArray,
        chw_flow: FloatArray,
        tower_c: FloatArray,
    ) -> PlantAction:
        """Setpoints with every air handler on, at a low speed, and the economizer allowed."""
        crah, chw, shape = self.params.crah, self.params.chw, np.shape(load_w)
        return PlantAction(
            supply_air_c=np.clip(supply_air_c, crah.supply_min_c, crah.supply_max_c),
            fan_speed=fan_speed,
            crahs_on=np.full(shape, float(crah.count)),
            chw_supply_c=np.clip(chw_supply_c, chw.supply_min_c, chw.supply_max_c),
            chw_flow=np.clip(chw_flow, chw.min_flow, 1.0),
            economizer=np.ones(shape),
            chillers_on=self.chillers_on(load_w),
            tower_c=np.maximum(tower_c, self.params.tower.setpoint_min_c),
        )


@dataclass(frozen=True, slots=True)
class _Rule:
    sizes: _Sizes
    name: str = "rule"

    def action(self, load_w: FloatArray, weather: Weather) -> PlantAction:
        sizes, share = self.sizes, self.sizes.share_of(load_w)
        supply = np.full(np.shape(load_w), 24.0)
        chw = 20.0 - 4.0 * share  # reset: the coil needs colder water for more heat
        speed = sizes.fan_speed(sizes.dc_of(load_w), supply + 1.0, _AIRFLOW_MARGIN)
        return sizes.action(load_w, supply, speed, chw, share, chw - 4.0)


_WETBULB_C = np.arange(-10.0, 31.0, 4.0)
_LOAD_SHARES = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
_INLET_LIMIT_C = 26.5  # of 27, the upper end of the recommended range: the table is interpolated
_DEPRESSION_K = 4.0  # dry bulb above wet bulb; it moves only the heat through the walls
_SETPOINTS = ("supply_air_c", "fan_speed", "chw_supply_c", "chw_flow", "tower_c")


@dataclass(frozen=True, slots=True)
class _Optimum:
    sizes: _Sizes
    grid: FloatArray  # (wet bulb, load, setpoint)
    name: str = "optimum"

    def action(self, load_w: FloatArray, weather: Weather) -> PlantAction:
        """Bilinear in wet bulb and load share; the ends of the table hold beyond it."""
        wet = np.clip((weather.wetbulb_c - _WETBULB_C[0]) / (_WETBULB_C[1] - _WETBULB_C[0]), 0, len(_WETBULB_C) - 1.001)
        share = self.sizes.share_of(load_w)
        load = np.clip((share - _LOAD_SHARES[0]) / (_LOAD_SHARES[1] - _LOAD_SHARES[0]), 0, len(_LOAD_SHARES) - 1.001)
        i, j = wet.astype(int), load.astype(int)
        u, v = (wet - i)[:, None], (load - j)[:, None]
        low = (1.0 - v) * self.grid[i, j] + v * self.grid[i, j + 1]
        high = (1.0 - v) * self.grid[i + 1, j] + v * self.grid[i + 1, j + 1]
        return self.sizes.action(load_w, *((1.0 - u) * low + u * high).T)


@lru_cache(maxsize=8)
def _table(hall_json: str) -> _Optimum:
    """Searches a grid of setpoints at every wet bulb and load of the table, all in one batch of the steady twin."""
    sizes = _Sizes.of(HallParams.from_site(Hall.model_validate_json(hall_json)))
    grid = np.empty((len(_WETBULB_C), len(_LOAD_SHARES), len(_SETPOINTS)))
    for j, share in enumerate(_LOAD_SHARES):
        load_w = float(share * sizes.it_w[-1])
        for i, wetbulb in enumerate(_WETBULB_C):
            grid[i, j] = _best(sizes, load_w, float(wetbulb))
    return _Optimum(sizes, grid)


def _candidates(sizes: _Sizes, load_w: float) -> PlantAction:
    axes = np.meshgrid(
        np.array([18.0, 20.0, 22.0, 23.0, 24.0, 25.0, 26.0]),  # supply air
        np.array([1.0, 1.1, 1.3]),  # air over what the servers take
        np.array([2.5, 4.0, 6.0, 8.0, 11.0]),  # chilled water below supply air
        np.array([0.4, 0.55, 0.75, 1.0]),  # chilled-water flow
        np.array([2.0, 4.0, 7.0, -4.0]),  # tower below chilled water
    )
    supply, margin, below, flow, tower = (axis.ravel() for axis in axes)
    load = np.full(supply.shape, load_w)
    speed = sizes.fan_speed(sizes.dc_of(load), supply + 1.0, margin)
    return sizes.action(load, supply, speed, supply - below, flow, supply - below - tower)


def _best(sizes: _Sizes, load_w: float, wetbulb_c: float) -> FloatArray:
    """Setpoints of least facility power that keep every inlet within the limit; the coolest ones where none does."""
    params, action = sizes.params, _candidates(sizes, load_w)
    count = len(action.supply_air_c)
    servers = np.full((count, params.racks), float(params.nodes_per_rack))
    dc_w = sizes.dc_of(np.asarray(load_w)) / params.racks * np.ones_like(servers)
    wet = np.full(count, wetbulb_c)
    weather = Weather(wet + _DEPRESSION_K, wet, np.full(count, 101_325.0))
    _, flows = steady(params, HallInputs(dc_w, servers, weather), action, HallState.initial(params, count), rounds=4)
    allowed = flows.max_inlet_c <= _INLET_LIMIT_C
    score = np.where(allowed, flows.facility_w, np.inf) if allowed.any() else flows.max_inlet_c
    best = int(np.argmin(score))
    return np.array([getattr(action, name)[best] for name in _SETPOINTS])
