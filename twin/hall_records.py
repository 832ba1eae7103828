"""What a hall is made of, remembers, is told and answers: the records of twin.hall.step."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from facility.records import FloatArray
from facility.site import hall as site
from twin.air import Weather
from twin.cooling import ChillerParams, ChwParams, CrahParams, TowerParams
from twin.power import LossParams, NodeParams, Value


@dataclass(frozen=True, slots=True)
class RoomParams:
    """The hall's air and structure."""

    heat_capacity_j_k: Value
    envelope_ua_w_k: Value
    bypass: Value
    recirculation: FloatArray  # (R,)
    lighting_w: Value
    aux_w: Value
    ups_heat_to_hall: Value


@dataclass(frozen=True, slots=True)
class HallParams:
    """Parameters of a hall. A value may be an array, one hall a row: (B,) for plant, (B, 1) for rack quantities."""

    racks: int
    nodes_per_rack: int
    node: NodeParams
    pdu: LossParams
    ups: LossParams
    ups_modules: Value
    room: RoomParams
    crah: CrahParams
    chw: ChwParams
    chiller: ChillerParams
    tower: TowerParams

    @classmethod
    def from_site(cls, hall: site.Hall) -> HallParams:
        """Of a configured hall."""
        room = hall.room
        return cls(
            racks=hall.racks,
            nodes_per_rack=hall.nodes_per_rack,
            node=NodeParams.from_site(hall.node),
            pdu=LossParams.from_site(hall.pdu),
            ups=LossParams.from_site(hall.ups),
            ups_modules=hall.ups.modules,
            room=RoomParams(
                heat_capacity_j_k=room.thermal_mass_j_k,
                envelope_ua_w_k=room.envelope_ua_w_k,
                bypass=room.bypass,
                recirculation=np.linspace(room.recirculation_best, room.recirculation_worst, hall.racks),
                lighting_w=room.lighting_w,
                aux_w=room.aux_w,
                ups_heat_to_hall=hall.ups.heat_to_hall,
            ),
            crah=CrahParams.from_site(hall.crah),
            chw=ChwParams.from_site(hall),
            chiller=ChillerParams.from_site(hall.chiller),
            tower=TowerParams.from_site(hall.tower),
        )


@dataclass(frozen=True, slots=True)
class HallState:
    """What a hall remembers."""

    room_c: FloatArray  # (B,) mixed room and return air, with the structure
    chw_c: FloatArray  # (B,) chilled-water supply
    inlet_c: FloatArray  # (B, R)

    @classmethod
    def initial(cls, params: HallParams, batch: int = 1, room_c: float = 24.0, chw_c: float = 10.0) -> HallState:
        """Every hall at the same temperatures."""
        return cls(np.full(batch, room_c), np.full(batch, chw_c), np.full((batch, params.racks), room_c))


@dataclass(frozen=True, slots=True)
class HallInputs:
    """What happens to a hall during the step."""

    rack_it_w: FloatArray  # (B, R) DC power of the servers without their fans (twin.power.node_it_w summed)
    rack_servers: FloatArray  # (B, R) servers that are switched on
    weather: Weather  # (B,)


@dataclass(frozen=True, slots=True)
class PlantAction:
    """Setpoints and running units, each (B,)."""

    supply_air_c: FloatArray  # air that leaves the air handlers
    fan_speed: FloatArray  # of each running air handler, 0..1; held to the machine's minimum
    crahs_on: FloatArray
    chw_supply_c: FloatArray  # chilled water that leaves the plant
    chw_flow: FloatArray  # share of design flow; held to the pumps' minimum
    economizer: FloatArray  # 1 where it may run
    chillers_on: FloatArray
    tower_c: FloatArray  # tower water; the fan runs full where this cannot be reached

    def row(self, index: slice | FloatArray) -> PlantAction:
        """The action of some halls of the batch."""
        return PlantAction(*(getattr(self, part.name)[index] for part in fields(self)))


@dataclass(frozen=True, slots=True)
class HallFlows:
    """Powers, heats and temperatures over the step, (B,) unless said; temperatures are those at its end."""

    it_w: FloatArray  # at the IT inlet: the denominator of PUE
    rack_w: FloatArray  # (B, R) the same for each rack
    server_fan_w: FloatArray  # part of it_w
    leakage_w: FloatArray  # part of it_w, against the reference inlet
    psu_loss_w: FloatArray  # part of it_w
    pdu_loss_w: FloatArray
    rack_pdu_loss_w: FloatArray  # (B, R)
    ups_loss_w: FloatArray
    crah_fan_w: FloatArray
    chiller_w: FloatArray
    chw_pump_w: FloatArray
    cw_pump_w: FloatArray
    tower_fan_w: FloatArray
    aux_w: FloatArray  # lighting, offices, controls
    facility_w: FloatArray  # the main meter: all of the above
    pue: FloatArray  # facility_w / it_w; not a number where nothing is on
    coil_w: FloatArray  # heat from the room to the chilled water
    economizer_w: FloatArray  # heat the economizer takes from it
    evaporator_w: FloatArray  # heat the chillers take from it
    rejected_w: FloatArray  # heat the tower gives to the outside
    envelope_w: FloatArray  # heat gained through the walls
    storage_w: FloatArray  # heat stored in room and water
    economizer_share: FloatArray  # of the heat taken from the chilled water; zero where none is taken
    inlet_c: FloatArray  # (B, R)
    supply_air_c: FloatArray
    return_air_c: FloatArray
    chw_supply_c: FloatArray
    chw_return_c: FloatArray
    tower_c: FloatArray
    tower_fan_speed: FloatArray
    airflow_m3_s: FloatArray  # of the air handlers
    server_airflow_m3_s: FloatArray
    water_l_h: FloatArray  # make-up water
    balance_residual_w: FloatArray  # largest violation of the balances of room, loop and site; rounding only

    @property
    def cooling_w(self) -> FloatArray:
        """Electricity for cooling."""
        return self.crah_fan_w + self.chiller_w + self.chw_pump_w + self.cw_pump_w + self.tower_fan_w

    @property
    def max_inlet_c(self) -> FloatArray:
        """The warmest intake of each hall."""
        return np.asarray(self.inlet_c.max(axis=1))
