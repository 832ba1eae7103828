"""The emulated hall's true parameters: nameplates of the site file, each off by a few per cent that nobody is told.

The behaviour behind the nameplates is this building's own: other exponents, losses and time constants than the twin's.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from typing import Any

from facility.site import Hall

WATER_CP_J_KG_K = 4_186.0
AIR_J_M3_K = 1.2 * 1_006.0  # standard air, by which fans are rated
ERROR_SHARE = 0.05  # parameters lie evenly within this share of their nominal value
NOMINAL_IT_SHARE = 0.9  # host power at full load that is there with every GPU busy


@dataclass(frozen=True, slots=True)
class Truth:
    """What the building really is. One unit's figure unless said otherwise; loads of the hall scale with its size."""

    # servers, each node
    gpus_per_node: int
    gpu_idle_w: float
    gpu_max_w: float
    host_idle_w: float
    host_full_w: float
    node_fan_w: float  # at full speed
    node_airflow_m3_s: float  # at full speed
    psu_rated_w: float
    node_heat_j_k: float
    # power chain
    pdu_rated_w: float
    pdu_fixed_share: float  # of the rating
    pdu_square_share: float
    ups_rated_w: float  # all modules
    ups_fixed_share: float
    ups_slope_share: float
    lighting_w: float
    aux_w: float
    # room
    racks: int
    nodes_per_rack: int
    bypass: float
    recirculation_best: float
    recirculation_worst: float
    structure_j_k: float
    structure_ua_w_k: float  # between the air and the structure
    envelope_ua_w_k: float
    # air handlers
    crahs: int
    crah_airflow_m3_s: float
    crah_fan_w: float
    coil_ua_w_k: float
    # water
    chw_flow_kg_s: float
    chw_volume_kg: float
    chw_pump_w: float
    economizer_effectiveness: float
    chiller_capacity_w: float  # all machines
    chiller_cop: float
    chiller_idle_share: float
    chiller_min_load: float
    rated_chw_c: float
    rated_condenser_c: float
    head_pressure_c: float
    # tower
    tower_heat_w: float
    tower_wetbulb_c: float
    tower_approach_k: float
    tower_flow_kg_s: float
    tower_air_kg_s: float
    tower_fan_w: float
    tower_pump_w: float
    basin_kg: float
    cycles_of_concentration: float

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.racks * self.nodes_per_rack


# Counts, and reference conditions of a rating: an error there is one of the rated figure.
_EXACT = frozenset(
    {"gpus_per_node", "gpu_max_w", "racks", "nodes_per_rack", "crahs", "pdu_rated_w", "ups_rated_w", "psu_rated_w"}
    | {"lighting_w", "chiller_min_load", "rated_chw_c", "rated_condenser_c", "head_pressure_c", "tower_wetbulb_c"}
)


def draw_truth(hall: Hall, seed: int) -> Truth:
    """The building behind ``hall``: the same seed gives the same building."""
    rng = random.Random(seed)
    values = nominal(hall)
    for field in fields(Truth):
        if field.name not in _EXACT:
            values[field.name] *= 1.0 + rng.uniform(-ERROR_SHARE, ERROR_SHARE)
    return Truth(**values)


def nominal(hall: Hall) -> dict[str, Any]:
    """Nameplate values by field name."""
    return {**_servers(hall), **_chain(hall), **_room(hall), **_water(hall), **_tower(hall)}


def _servers(hall: Hall) -> dict[str, Any]:
    node = hall.node
    return {
        "gpus_per_node": node.gpu.per_node,
        "gpu_idle_w": node.gpu.idle_w,
        "gpu_max_w": node.gpu.max_w,
        "host_idle_w": sum(part.idle_w for part in node.host),
        "host_full_w": NOMINAL_IT_SHARE * sum(part.full_w for part in node.host),
        "node_fan_w": node.fans.rated_w,
        "node_airflow_m3_s": node.fans.rated_airflow_m3_s,
        "psu_rated_w": node.psu.rated_w,
        "node_heat_j_k": 30_000.0,  # 60 kg of mostly steel, copper and aluminium
    }


def _chain(hall: Hall) -> dict[str, Any]:
    return {
        "pdu_rated_w": hall.pdu.rated_w,
        "pdu_fixed_share": 0.005,  # transformer core
        "pdu_square_share": 0.016,  # windings and cords
        "ups_rated_w": hall.ups.rated_w * hall.ups.modules,
        "ups_fixed_share": 0.024,  # old double conversion: 91-92 % at a third of the load
        "ups_slope_share": 0.035,
        "lighting_w": hall.room.lighting_w,
        "aux_w": hall.room.aux_w,
    }


def _room(hall: Hall) -> dict[str, Any]:
    room, crah = hall.room, hall.crah
    return {
        "racks": hall.racks,
        "nodes_per_rack": hall.nodes_per_rack,
        "bypass": room.bypass,
        "recirculation_best": room.recirculation_best,
        "recirculation_worst": room.recirculation_worst,
        "structure_j_k": room.thermal_mass_j_k,
        "structure_ua_w_k": 150.0 * hall.nodes,
        "envelope_ua_w_k": room.envelope_ua_w_k,
        "crahs": crah.count,
        "crah_airflow_m3_s": crah.rated_airflow_m3_s,
        "crah_fan_w": crah.rated_fan_w,
        "coil_ua_w_k": crah.coil_ua_w_k,
    }


def _water(hall: Hall) -> dict[str, Any]:
    loop, chiller = hall.chilled_water, hall.chiller
    return {
        "chw_flow_kg_s": loop.design_flow_kg_s,
        "chw_volume_kg": loop.volume_m3 * 1_000.0,
        "chw_pump_w": loop.pump_rated_w,
        "economizer_effectiveness": 0.95 * hall.economizer.effectiveness,  # plates are never as clean as in the offer
        "chiller_capacity_w": chiller.rated_capacity_w * chiller.count,
        "chiller_cop": chiller.rated_cop,
        "chiller_idle_share": chiller.no_load_share,
        "chiller_min_load": chiller.min_load,
        "rated_chw_c": chiller.rated_chw_supply_c,
        "rated_condenser_c": chiller.rated_condenser_inlet_c,
        "head_pressure_c": chiller.condenser_inlet_min_c,
    }


def _tower(hall: Hall) -> dict[str, Any]:
    tower = hall.tower
    flow_kg_s = tower.design_heat_w / (tower.design_range_k * WATER_CP_J_KG_K)
    return {
        "tower_heat_w": tower.design_heat_w,
        "tower_wetbulb_c": tower.design_wetbulb_c,
        "tower_approach_k": tower.design_approach_k,
        "tower_flow_kg_s": flow_kg_s,
        "tower_air_kg_s": tower.design_air_kg_s,
        "tower_fan_w": tower.fan_rated_w,
        "tower_pump_w": tower.pump_rated_w,
        "basin_kg": 120.0 * flow_kg_s,  # two minutes of flow
        "cycles_of_concentration": tower.cycles_of_concentration,
    }
