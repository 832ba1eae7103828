"""One step of a data hall, batched: B halls of R racks at once, power and heat in one balance.

Plant quantities have shape (B,), rack quantities (B, R). Rates are positive into the consumer. IT power is metered at
the IT inlet, server fans and power-supply loss included (PUE category 3); the facility power is the main meter.

The step is implicit: the heat q that the coil moves is the root of one decreasing, piecewise linear equation. Every
limit (valve, coil, chiller, economizer) is a line in q, and the root of a minimum of decreasing lines is the minimum
of their roots, so the root is exact, stable for any ``dt_s``, and needs no iteration. See docs/physics.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from facility.records import FloatArray
from twin import cooling, power
from twin.air import AIR_HEAT_J_M3_K, WATER_CP_J_KG_K, saturation_specific_heat_j_kg_k
from twin.hall_records import HallFlows, HallInputs, HallParams, HallState, PlantAction, RoomParams
from twin.power import Value

__all__ = ["HallFlows", "HallInputs", "HallParams", "HallState", "PlantAction", "RoomParams", "steady", "step"]

_HALF_APPROACH_K = 2.0  # the tower's air is taken half an approach above the wet bulb


@dataclass(frozen=True, slots=True)
class _Servers:
    rack_w: FloatArray
    fan_w: FloatArray
    leakage_w: FloatArray
    psu_loss_w: FloatArray
    airflow_m3_s: FloatArray  # (B,)


@dataclass(frozen=True, slots=True)
class _Power:
    it_w: FloatArray
    rack_pdu_w: FloatArray
    pdu_w: FloatArray
    ups_w: FloatArray
    crah_w: FloatArray
    room_gain_w: FloatArray


@dataclass(frozen=True, slots=True)
class _Plant:
    """What limits the flow of heat in this step; see ``_coil_heat_w``."""

    air_w_k: FloatArray
    coil_w_k: FloatArray
    water_w_k: FloatArray
    loop_w_k: FloatArray  # heat capacity of the loop over dt
    pump_w: FloatArray
    cw_pump_w: FloatArray
    chiller_cap_w: FloatArray  # at the setpoint of the chilled water
    capped_tower_c: FloatArray  # tower water with that load rejected and the fan at full speed
    heat_factor: FloatArray  # heat rejected for each watt that a chiller takes, at the rated COP
    economizer_w_k: FloatArray
    approach_k_w: FloatArray
    ambient_c: FloatArray  # wet bulb plus the approach that the condenser pump's heat causes
    cs_j_kg_k: FloatArray


@dataclass(frozen=True, slots=True)
class _Rejection:
    economizer_w: FloatArray
    evaporator_w: FloatArray
    chiller_w: FloatArray
    rejected_w: FloatArray
    tower_c: FloatArray
    fan_speed: FloatArray
    fan_w: FloatArray
    chw_return_c: FloatArray


def step(
    params: HallParams, state: HallState, inputs: HallInputs, action: PlantAction, dt_s: float
) -> tuple[HallState, HallFlows]:
    """Advance every hall by ``dt_s`` seconds (any positive value); returns the new state and the flows of the step."""
    # 1. Electricity that becomes heat in the room, and what the plant could do with it.
    servers = _servers(params, inputs, state.inlet_c)
    powers = _powers(params, servers, action)
    plant = _plant(params, inputs, action, dt_s)
    # 2. Room air as a falling line in the coil's heat; the heat itself; the two temperatures that follow.
    inertia, ua = params.room.heat_capacity_j_k / dt_s, params.room.envelope_ua_w_k
    per_w = 1.0 / (inertia + ua)
    uncooled_c = (inertia * state.room_c + powers.room_gain_w + ua * inputs.weather.drybulb_c) * per_w
    coil_w = _coil_heat_w(plant, action, state.chw_c, np.asarray(uncooled_c), per_w, powers.crah_w)
    room_c = uncooled_c - per_w * coil_w
    chw_c = _chw_after(plant, action, state.chw_c, coil_w)
    # 3. Who takes that heat out of the water, and at what price.
    rejection = _reject(params, plant, action, state.chw_c, chw_c, coil_w)
    # 4. Where the air goes.
    supply_c = room_c - np.where(plant.air_w_k > 0.0, (coil_w - powers.crah_w) / np.maximum(plant.air_w_k, 1e-9), 0.0)
    inlet_c = _inlets(params, plant, servers, supply_c, room_c)
    new = HallState(room_c, chw_c, inlet_c)
    flows = _flows(params, inputs, state, new, servers, powers, plant, rejection, coil_w, supply_c, dt_s)
    return new, replace(flows, balance_residual_w=_residual_w(params, state, flows, plant, powers, dt_s))


def steady(
    params: HallParams, inputs: HallInputs, action: PlantAction, state: HallState | None = None, rounds: int = 8
) -> tuple[HallState, HallFlows]:
    """State and flows after a very long time: few steps suffice, as only server fans and leakage look back."""
    now = state or HallState.initial(params, len(inputs.rack_it_w))
    for _ in range(rounds):
        now, flows = step(params, now, inputs, action, 1e9)
    return now, flows


def _servers(params: HallParams, inputs: HallInputs, inlet_c: FloatArray) -> _Servers:
    node = params.node
    dc_w, count = inputs.rack_it_w, inputs.rack_servers
    speed = power.server_fan_speed(node, dc_w, count, inlet_c)
    fan_w = count * node.fan_rated_w * speed**node.fan_exponent
    leakage_w = power.leakage_w(node, dc_w, inlet_c)
    total = dc_w + fan_w + leakage_w
    psu_loss_w = power.conversion_loss_w(total, node.psu, np.maximum(count, 1e-9))
    airflow = (count * speed * node.fan_airflow_m3_s).sum(axis=1)
    return _Servers(total + psu_loss_w, fan_w, leakage_w, psu_loss_w, airflow)


def _powers(params: HallParams, servers: _Servers, action: PlantAction) -> _Power:
    rack_pdu_w = power.conversion_loss_w(servers.rack_w, params.pdu)
    it_w, pdu_w = servers.rack_w.sum(axis=1), rack_pdu_w.sum(axis=1)
    ups_w = power.conversion_loss_w(it_w + pdu_w, params.ups, params.ups_modules)
    crah_w = cooling.crah_fan_w(params.crah, action.crahs_on, action.fan_speed)
    gain = it_w + pdu_w + crah_w + params.room.lighting_w + params.room.ups_heat_to_hall * ups_w
    return _Power(it_w, rack_pdu_w, pdu_w, ups_w, crah_w, gain)


def _plant(params: HallParams, inputs: HallInputs, action: PlantAction, dt_s: float) -> _Plant:
    chw, tower, chiller, weather = params.chw, params.tower, params.chiller, inputs.weather
    air_w_k = cooling.air_capacity_w_k(cooling.crah_airflow_m3_s(params.crah, action.crahs_on, action.fan_speed))
    flow = np.clip(action.chw_flow, chw.min_flow, 1.0)
    water_w_k = flow * chw.design_flow_kg_s * WATER_CP_J_KG_K
    cw_pump_w = ((action.economizer > 0.0) | (action.chillers_on > 0.0)) * tower.pump_rated_w
    cs = saturation_specific_heat_j_kg_k(weather.wetbulb_c + _HALF_APPROACH_K, weather.pressure_pa)
    approach = cooling.approach_k_w(tower, cs)
    ambient = weather.wetbulb_c + approach * cw_pump_w
    heat_factor = 1.0 + 1.0 / chiller.rated_cop
    hottest = ambient + approach * heat_factor * action.chillers_on * chiller.rated_capacity_w
    cap_w = cooling.chiller_capacity_w(
        chiller, action.chillers_on, action.chw_supply_c, np.maximum(action.tower_c, hottest)
    )
    exchanger = chw.economizer_effectiveness * np.minimum(water_w_k, tower.water_kg_s * WATER_CP_J_KG_K)
    return _Plant(
        air_w_k=air_w_k,
        coil_w_k=cooling.coil_conductance_w_k(params.crah, action.crahs_on, action.fan_speed, air_w_k, water_w_k, flow),
        water_w_k=water_w_k,
        loop_w_k=np.asarray(chw.heat_capacity_j_k / dt_s),
        pump_w=cooling.chw_pump_w(chw, flow),
        cw_pump_w=np.asarray(cw_pump_w),
        chiller_cap_w=cap_w,
        capped_tower_c=ambient + approach * heat_factor * cap_w,
        heat_factor=np.asarray(heat_factor),
        economizer_w_k=np.asarray(action.economizer * exchanger),
        approach_k_w=approach,
        ambient_c=ambient,
        cs_j_kg_k=cs,
    )


def _economizer_lines(plant: _Plant, action: PlantAction) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """Conductance and cold side of the economizer beside chillers at their limit: tower at setpoint, or fan at full."""
    free = plant.economizer_w_k
    return (free, action.tower_c), (free / (1.0 + free * plant.approach_k_w), plant.capped_tower_c)


def _capped_chw(plant: _Plant, action: PlantAction, chw_c: FloatArray) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """Chilled water with chillers at their limit, lines (level, slope) in the coil's heat: alone, with economizer."""
    base = plant.loop_w_k * chw_c + plant.pump_w - plant.chiller_cap_w
    lines = [(base / plant.loop_w_k, 1.0 / plant.loop_w_k)]
    for conductance, cold_c in _economizer_lines(plant, action):
        total = plant.loop_w_k + conductance
        lines.append(((base + conductance * cold_c) / total, (1.0 - conductance / plant.water_w_k) / total))
    return tuple(lines)


def _coil_heat_w(
    plant: _Plant, action: PlantAction, chw_c: FloatArray, uncooled_c: FloatArray, per_w: Value, fan_w: FloatArray
) -> FloatArray:
    """Heat from room to water: what the valve asks to hold the supply air, or what the open coil gives."""
    valve = (plant.air_w_k * (uncooled_c - action.supply_air_c) + fan_w) / (1.0 + plant.air_w_k * per_w)
    k = plant.coil_w_k

    def root(level_c: FloatArray, slope: FloatArray) -> FloatArray:
        """q = k (room(q) - level - slope q)."""
        return k * (uncooled_c - level_c) / (1.0 + k * (per_w + slope))

    alone, at_setpoint, full_fan = (root(*line) for line in _capped_chw(plant, action, chw_c))
    capped = np.maximum(alone, np.minimum(at_setpoint, full_fan))
    regulated = root(action.chw_supply_c, np.zeros_like(k))
    floating = root(chw_c + plant.pump_w / plant.loop_w_k, 1.0 / plant.loop_w_k)
    full_open = np.maximum(np.minimum(regulated, capped), floating)
    return np.maximum(np.minimum(valve, full_open), 0.0)


def _chw_after(plant: _Plant, action: PlantAction, chw_c: FloatArray, coil_w: FloatArray) -> FloatArray:
    """Chilled water at the end: its setpoint; warmer with the plant at its limit, colder where it has yet to warm."""
    alone, at_setpoint, full_fan = (level + slope * coil_w for level, slope in _capped_chw(plant, action, chw_c))
    capped = np.minimum(alone, np.maximum(at_setpoint, full_fan))
    floating = chw_c + (coil_w + plant.pump_w) / plant.loop_w_k
    return np.minimum(np.maximum(action.chw_supply_c, capped), floating)


def _reject(
    params: HallParams,
    plant: _Plant,
    action: PlantAction,
    chw_before_c: FloatArray,
    chw_c: FloatArray,
    coil_w: FloatArray,
) -> _Rejection:
    """Splits the plant's heat between economizer and chillers, then the tower, whose water rests on the rated COP."""
    chiller, tower, extra = params.chiller, params.tower, plant.heat_factor - 1.0
    plant_w = np.maximum(coil_w + plant.pump_w - plant.loop_w_k * (chw_c - chw_before_c), 0.0)
    return_c = chw_c + coil_w / plant.water_w_k
    free, approach = plant.economizer_w_k, plant.approach_k_w
    at_setpoint = free * (return_c - action.tower_c)
    full_fan = free * (return_c - plant.ambient_c - approach * plant.heat_factor * plant_w)
    full_fan = full_fan / np.maximum(1.0 - free * approach * extra, 0.1)
    economizer_w = np.clip(np.minimum(at_setpoint, full_fan), 0.0, plant_w)
    economizer_w = np.where(action.chillers_on > 0.0, economizer_w, plant_w)
    evaporator_w = plant_w - economizer_w
    expected_w = plant_w + extra * evaporator_w
    speed = cooling.tower_fan_speed(tower, approach, expected_w, plant.ambient_c, action.tower_c)
    tower_c = np.maximum(action.tower_c, plant.ambient_c + approach * expected_w)
    condenser_c = tower_c + economizer_w / (tower.water_kg_s * WATER_CP_J_KG_K)
    chiller_w = cooling.chiller_power_w(chiller, action.chillers_on, evaporator_w, chw_c, condenser_c)
    rejected_w = plant_w + chiller_w + plant.cw_pump_w
    return _Rejection(
        economizer_w, evaporator_w, chiller_w, rejected_w, tower_c, speed, cooling.tower_fan_w(tower, speed), return_c
    )


def _inlets(
    params: HallParams, plant: _Plant, servers: _Servers, supply_c: FloatArray, room_c: FloatArray
) -> FloatArray:
    """Intake of each rack: supply air mixed with room air, more of it where the servers want more than is delivered."""
    delivered = (1.0 - params.room.bypass) * plant.air_w_k / AIR_HEAT_J_M3_K
    short = np.clip(1.0 - delivered / np.maximum(servers.airflow_m3_s, 1e-9), 0.0, 1.0)
    fixed = params.room.recirculation
    mixed = fixed + (1.0 - fixed) * short[:, None]
    return np.asarray(supply_c[:, None] + mixed * (room_c - supply_c)[:, None])


def _residual_w(
    params: HallParams, before: HallState, flows: HallFlows, plant: _Plant, powers: _Power, dt_s: float
) -> FloatArray:
    """Largest violation of three balances, each from temperatures and powers anew: room air, chilled water, site."""
    room = params.room
    room_w = room.heat_capacity_j_k / dt_s * (flows.return_air_c - before.room_c)
    loop_w = plant.loop_w_k * (flows.chw_supply_c - before.chw_c)
    air_w = plant.air_w_k * (flows.return_air_c - flows.supply_air_c)  # what the coil took, less the fans' heat
    water_w = plant.water_w_k * (flows.chw_return_c - flows.chw_supply_c)
    outside_w = flows.rejected_w + flows.tower_fan_w + room.aux_w + (1.0 - room.ups_heat_to_hall) * flows.ups_loss_w
    residuals = (
        powers.room_gain_w - powers.crah_w + flows.envelope_w - air_w - room_w,
        water_w + flows.chw_pump_w - flows.economizer_w - flows.evaporator_w - loop_w,
        flows.facility_w + flows.envelope_w - outside_w - room_w - loop_w,
    )
    return np.asarray(np.max(np.abs(residuals), axis=0))


def _flows(
    params: HallParams,
    inputs: HallInputs,
    before: HallState,
    after: HallState,
    servers: _Servers,
    powers: _Power,
    plant: _Plant,
    rejection: _Rejection,
    coil_w: FloatArray,
    supply_c: FloatArray,
    dt_s: float,
) -> HallFlows:
    weather, room, r = inputs.weather, params.room, rejection
    aux_w = np.full(powers.it_w.shape, room.lighting_w + room.aux_w)
    cooling_w = powers.crah_w + r.chiller_w + plant.pump_w + plant.cw_pump_w + r.fan_w
    facility_w = powers.it_w + powers.pdu_w + powers.ups_w + cooling_w + aux_w
    room_storage_w = room.heat_capacity_j_k / dt_s * (after.room_c - before.room_c)
    taken_w = r.economizer_w + r.evaporator_w
    cw_water = cooling.makeup_water_kg_s(
        params.tower, r.rejected_w, r.fan_speed, plant.cs_j_kg_k, weather.drybulb_c, weather.wetbulb_c
    )
    return HallFlows(
        it_w=powers.it_w,
        rack_w=servers.rack_w,
        server_fan_w=servers.fan_w.sum(axis=1),
        leakage_w=servers.leakage_w.sum(axis=1),
        psu_loss_w=servers.psu_loss_w.sum(axis=1),
        pdu_loss_w=powers.pdu_w,
        rack_pdu_loss_w=powers.rack_pdu_w,
        ups_loss_w=powers.ups_w,
        crah_fan_w=powers.crah_w,
        chiller_w=r.chiller_w,
        chw_pump_w=plant.pump_w,
        cw_pump_w=plant.cw_pump_w,
        tower_fan_w=r.fan_w,
        aux_w=aux_w,
        facility_w=facility_w,
        pue=np.where(powers.it_w > 0.0, facility_w / np.maximum(powers.it_w, 1e-9), np.nan),
        coil_w=coil_w,
        economizer_w=r.economizer_w,
        evaporator_w=r.evaporator_w,
        rejected_w=r.rejected_w,
        envelope_w=np.asarray(room.envelope_ua_w_k * (weather.drybulb_c - after.room_c)),
        storage_w=room_storage_w + plant.loop_w_k * (after.chw_c - before.chw_c),
        economizer_share=np.where(taken_w > 0.0, r.economizer_w / np.maximum(taken_w, 1e-9), 0.0),
        inlet_c=after.inlet_c,
        supply_air_c=supply_c,
        return_air_c=after.room_c,
        chw_supply_c=after.chw_c,
        chw_return_c=r.chw_return_c,
        tower_c=r.tower_c,
        tower_fan_speed=r.fan_speed,
        airflow_m3_s=plant.air_w_k / AIR_HEAT_J_M3_K,
        server_airflow_m3_s=servers.airflow_m3_s,
        water_l_h=cw_water * 3_600.0,
        balance_residual_w=np.zeros_like(facility_w),
    )
