"""Servers, room air and air handlers of the emulated hall: explicit steps of a few seconds between lumped masses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from apps.emulator.instruments import PiLoop, Ramp, Sensor, Valve
from apps.emulator.nominal import AIR_J_M3_K, WATER_CP_J_KG_K, Truth

ZONE_AIR_S = 35.0  # heat capacity of cold and hot zone, as seconds of the rated airflow: air, plenum skin, racks' skin
COIL_LAG_S = 25.0
FAN_EXPONENT = 2.6
FAN_LINEAR_SHARE = 0.12  # share of the rated power that follows speed: the static pressure under the floor
VALVE_RANGE = 35.0  # equal-percentage characteristic


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """What the GPUs of one node do: power of the busy ones and how many idle."""

    busy_w: float
    busy_gpus: float
    idle_gpus: float


@dataclass(slots=True)
class RackState:
    """One rack: intake and exhaust temperature, what its nodes draw at their inlets, the air they take."""

    inlet_c: float = 19.0
    exhaust_c: float = 27.0
    node_w: list[float] = field(default_factory=list)
    airflow_m3_s: float = 0.0


@dataclass(slots=True)
class CrahState:
    """One air handler."""

    fan: float = 1.0  # speed, 0..1
    coil_w: float = 0.0  # heat from air to water
    water_kg_s: float = 0.0
    fan_w: float = 0.0
    supply_c: float = 18.0
    valve: Valve = field(default_factory=lambda: Valve(0.4))
    loop: PiLoop = field(default_factory=lambda: PiLoop(gain=0.02, reset_s=70.0, output=0.4))
    supply_sp: Ramp = field(default_factory=lambda: Ramp(0.3 / 60.0, 18.0))  # 0.3 K a minute
    fan_sp: Ramp = field(default_factory=lambda: Ramp(5.0 / 60.0, 100.0))  # 5 % a minute
    control_sensor: Sensor = field(default_factory=lambda: Sensor(15.0, 0.03, 0.01))


@dataclass(slots=True)
class RoomState:
    """Temperatures of the lumped masses of the room."""

    cold_c: float = 18.5
    hot_c: float = 23.0
    structure_c: float = 22.0


def node_power(truth: Truth, load: NodeLoad, inlet_c: float) -> tuple[float, float]:
    """Power at the IT inlet (W, fans and supplies included) and airflow (m3/s) of one node."""
    gpu_w = load.busy_w + load.idle_gpus * truth.gpu_idle_w
    share = load.busy_gpus / truth.gpus_per_node
    host_w = truth.host_idle_w + (truth.host_full_w - truth.host_idle_w) * share**0.8
    full_w = truth.gpus_per_node * truth.gpu_max_w + truth.host_full_w
    speed = 0.28 + 0.52 * (gpu_w + host_w) / full_w + 0.025 * max(inlet_c - 23.0, 0.0)
    speed = min(max(speed, 0.28), 1.0)
    fan_w = truth.node_fan_w * (0.05 + 0.95 * speed**2.7)
    leak = 1.0 + 0.0012 * min(max(inlet_c - 20.0, -10.0), 25.0)
    dc_w = (gpu_w + host_w) * leak + fan_w
    per_unit = dc_w / truth.psu_rated_w
    loss_w = truth.psu_rated_w * (0.009 + 0.011 * per_unit + 0.024 * per_unit**2)
    return dc_w + loss_w, truth.node_airflow_m3_s * speed


class AirSide:
    """Racks, room and air handlers; heat that leaves through the coils is handed to the water."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self.racks = [RackState() for _ in range(truth.racks)]
        self.crahs = [CrahState() for _ in range(truth.crahs)]
        self.room = RoomState()
        self.envelope_w = 0.0
        self._zone_j_k = ZONE_AIR_S * AIR_J_M3_K * truth.crahs * truth.crah_airflow_m3_s
        self._rack_j_k = truth.node_heat_j_k * truth.nodes_per_rack
        spread = truth.recirculation_worst - truth.recirculation_best
        last = max(truth.racks - 1, 1)
        self._recirculation = [truth.recirculation_best + spread * i / last for i in range(truth.racks)]

    def loads(self, loads: Sequence[NodeLoad]) -> None:
        """Electricity of the servers at their present intake temperature."""
        per_rack = self._truth.nodes_per_rack
        for i, rack in enumerate(self.racks):
            pairs = [node_power(self._truth, load, rack.inlet_c) for load in loads[i * per_rack : (i + 1) * per_rack]]
            rack.node_w = [power for power, _ in pairs]
            rack.airflow_m3_s = sum(flow for _, flow in pairs)

    def coils(self, chw_c: float, fouling: float, dt_s: float) -> float:
        """Local loops and coils of all air handlers; returns the heat given to the water in W."""
        for crah in self.crahs:
            self._drive(crah, dt_s)
            self._coil(crah, chw_c, fouling, dt_s)
        return sum(crah.coil_w for crah in self.crahs)

    def _drive(self, crah: CrahState, dt_s: float) -> None:
        error = crah.control_sensor.value - crah.supply_sp.value
        if not math.isnan(error):
            crah.valve.drive(crah.loop.update(error, dt_s), dt_s)
        step = dt_s / 60.0  # the drive goes from standstill to full speed in a minute
        crah.fan += min(max(crah.fan_sp.value / 100.0 - crah.fan, -step), step)

    def _coil(self, crah: CrahState, chw_c: float, fouling: float, dt_s: float) -> None:
        truth, hot_c = self._truth, self.room.hot_c
        air_w_k = AIR_J_M3_K * truth.crah_airflow_m3_s * crah.fan
        opening = (VALVE_RANGE**crah.valve.position - 1.0) / (VALVE_RANGE - 1.0)
        share = max(opening, 1e-4)
        crah.water_kg_s = truth.chw_flow_kg_s / truth.crahs * share
        water_w_k = crah.water_kg_s * WATER_CP_J_KG_K
        ua = truth.coil_ua_w_k * (1.0 - fouling) / (0.6 * crah.fan**-0.75 + 0.4 * share**-0.7)
        wanted_w = effectiveness(ua, air_w_k, water_w_k) * min(air_w_k, water_w_k) * max(hot_c - chw_c, 0.0)
        crah.coil_w += (wanted_w - crah.coil_w) * min(dt_s / COIL_LAG_S, 1.0)
        filter_drag = 1.0 + fouling
        speed = crah.fan
        crah.fan_w = (
            truth.crah_fan_w * filter_drag * (FAN_LINEAR_SHARE * speed + (1.0 - FAN_LINEAR_SHARE) * speed**FAN_EXPONENT)
        )
        crah.supply_c = hot_c - (crah.coil_w - crah.fan_w) / air_w_k

    def move_air(self, losses_w: float, drybulb_c: float, dt_s: float) -> None:
        """One step of racks, cold and hot zone and structure; ``losses_w`` is released straight into the hot zone."""
        truth, room = self._truth, self.room
        flows = [truth.crah_airflow_m3_s * crah.fan for crah in self.crahs]
        supply = sum(flows)
        supply_c = sum(flow * crah.supply_c for flow, crah in zip(flows, self.crahs, strict=True)) / supply
        delivered = supply * (1.0 - truth.bypass)
        demand = [(1.0 - self._recirculation[i]) * rack.airflow_m3_s for i, rack in enumerate(self.racks)]
        share = min(delivered / max(sum(demand), 1e-9), 1.0)
        cold_c, hot_c, structure_c = room.cold_c, room.hot_c, room.structure_c
        # Racks: what they draw cold, the rest from the hot zone.
        hot_w = losses_w
        for rack, cold in zip(self.racks, demand, strict=True):
            drawn, back = cold * share, rack.airflow_m3_s - cold * share
            rack.inlet_c = (drawn * cold_c + back * hot_c) / rack.airflow_m3_s
            through_w = AIR_J_M3_K * rack.airflow_m3_s * (rack.exhaust_c - rack.inlet_c)
            hot_w += AIR_J_M3_K * (rack.airflow_m3_s * rack.exhaust_c - back * hot_c)
            rack.exhaust_c += (sum(rack.node_w) - through_w) * dt_s / self._rack_j_k
        overflow = delivered - share * sum(demand)
        hot_w += AIR_J_M3_K * (overflow * cold_c + truth.bypass * supply * supply_c - supply * hot_c)
        # Structure and envelope.
        half_ua = 0.5 * truth.structure_ua_w_k
        to_cold, to_hot = half_ua * (structure_c - cold_c), half_ua * (structure_c - hot_c)
        self.envelope_w = truth.envelope_ua_w_k * (drybulb_c - structure_c)
        room.cold_c += (AIR_J_M3_K * delivered * (supply_c - cold_c) + to_cold) * dt_s / self._zone_j_k
        room.hot_c += (hot_w + to_hot) * dt_s / self._zone_j_k
        room.structure_c += (self.envelope_w - to_cold - to_hot) * dt_s / truth.structure_j_k

    def stored_j(self) -> float:
        """Heat in all masses of the air side, from 0 C."""
        zones = self._zone_j_k * (self.room.cold_c + self.room.hot_c)
        racks = sum(self._rack_j_k * rack.exhaust_c for rack in self.racks)
        return zones + racks + self._truth.structure_j_k * self.room.structure_c


def effectiveness(ua_w_k: float, first_w_k: float, second_w_k: float) -> float:
    """Effectiveness of a counterflow heat exchanger."""
    low, high = min(first_w_k, second_w_k), max(first_w_k, second_w_k)
    ratio, ntu = low / high, ua_w_k / low
    if ratio > 0.999:
        return ntu / (1.0 + ntu)
    decay = math.exp(-min(ntu * (1.0 - ratio), 50.0))
    return (1.0 - decay) / (1.0 - ratio * decay)
