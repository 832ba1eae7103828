"""The hall as configured: computers, power chain and cooling plant.

Every figure is that of one unit unless its comment says otherwise.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from facility.site.base import StrictModel

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class LossCurve(StrictModel):
    """Loss of a converter as shares of its rating: ``no_load + proportional x l + square x l^2``, l per unit."""

    rated_w: Positive
    no_load: Share
    proportional: Share
    square: Share


class Gpu(StrictModel):
    """One accelerator. The caps are what this site allows; the board caps are what the driver accepts."""

    model: str
    per_node: Count
    idle_w: NotNegative
    max_w: Positive
    cap_min_w: Positive
    cap_max_w: Positive
    board_cap_min_w: Positive
    board_cap_max_w: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.board_cap_min_w <= self.cap_min_w <= self.cap_max_w <= self.board_cap_max_w:
            raise ValueError("caps must be ordered: board_cap_min_w <= cap_min_w <= cap_max_w <= board_cap_max_w")
        if self.idle_w >= self.max_w:
            raise ValueError("idle_w must be below max_w")
        return self


class HostComponent(StrictModel):
    """All units of one component of a node without its GPUs: watts with every GPU idle and with every GPU busy."""

    name: str
    idle_w: NotNegative
    full_w: NotNegative
    source: str

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.full_w < self.idle_w:
            raise ValueError(f"component {self.name!r}: full_w must not be below idle_w")
        return self


class ServerFans(StrictModel):
    """Fans of one node: flow follows heat over (``limit_c`` - inlet), power follows speed^``exponent``."""

    rated_w: Positive
    rated_airflow_m3_s: Positive
    rated_inlet_c: float  # with rated heat and this inlet the fans run at full speed
    limit_c: float  # air temperature that the hottest component tolerates at its surface
    min_speed: Share
    exponent: Positive


class Node(StrictModel):
    """One server type: GPUs, host, fans, leakage of its chips and its power supplies."""

    model: str
    gpu: Gpu
    host: tuple[HostComponent, ...] = Field(min_length=1)
    fans: ServerFans
    psu: LossCurve  # all supplies of a node together
    leakage_per_k: NotNegative  # share of the node's power for each kelvin of inlet above the reference
    leakage_reference_c: float
    leakage_limit_c: float  # beyond this inlet the chips throttle and leakage grows no more


class Ups(LossCurve):
    """One UPS module; ``modules`` share the load."""

    modules: Count
    heat_to_hall: Share  # the rest of its loss is ventilated to the outside


class Room(StrictModel):
    """Air and thermal mass of the hall."""

    thermal_mass_j_k: Positive
    envelope_ua_w_k: NotNegative
    bypass: Share  # share of the supply air that returns without passing a server
    recirculation_best: Share  # share of room air in the intake of the best-placed rack; others lie evenly between
    recirculation_worst: Share
    lighting_w: NotNegative  # inside the hall
    aux_w: NotNegative  # offices, controls, security: outside the hall

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.recirculation_worst < self.recirculation_best:
            raise ValueError("recirculation_worst must not be below recirculation_best")
        return self


class Crah(StrictModel):
    """One computer-room air handler with a variable-speed fan and a chilled-water coil."""

    count: Count
    redundant: Annotated[int, Field(ge=0)]  # how many of them the design can lose
    rated_airflow_m3_s: Positive
    rated_fan_w: Positive
    fan_exponent: Positive  # of the part of the pressure that follows flow
    static_share: Share  # share of the rated pressure that does not fall with flow
    min_speed: PositiveShare
    coil_ua_w_k: Positive  # at rated air and water flow
    coil_air_resistance_share: Share  # share of the coil's thermal resistance on the air side
    supply_min_c: float
    supply_max_c: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.redundant >= self.count:
            raise ValueError("redundant must be below count")
        return self


class ChilledWater(StrictModel):
    """The chilled-water loop: volume, design flow and pumps of the whole hall."""

    volume_m3: Positive
    design_flow_kg_s: Positive
    pump_rated_w: Positive
    pump_exponent: Positive
    min_flow: PositiveShare
    supply_min_c: float
    supply_max_c: float


class Economizer(StrictModel):
    """Water-side economizer: a heat exchanger in the chilled-water return, upstream of the chillers."""

    effectiveness: Share


class Chiller(StrictModel):
    """One water-cooled chiller (Gordon-Ng); rated at the two water temperatures given."""

    count: Count
    rated_capacity_w: Positive
    rated_cop: Positive
    rated_chw_supply_c: float
    rated_condenser_inlet_c: float
    no_load_share: Share  # power at no load over power at rated load, at rated temperatures
    capacity_per_k_evaporator: NotNegative
    capacity_per_k_condenser: NotNegative
    condenser_inlet_min_c: float  # head-pressure control keeps the condenser no colder
    min_load: PositiveShare  # below this the machine cycles


class Tower(StrictModel):
    """The cooling tower and condenser pumps of the whole hall, given by a design point."""

    design_heat_w: Positive
    design_wetbulb_c: float
    design_approach_k: Positive
    design_range_k: Positive
    design_air_kg_s: Positive
    fan_rated_w: Positive
    fan_exponent: Positive
    pump_rated_w: Positive  # constant speed
    cycles_of_concentration: Annotated[float, Field(gt=1)]
    setpoint_min_c: float


class Meter(StrictModel):
    """A meter and what it measures."""

    name: str
    measures: Literal["facility_power", "it_power", "cooling_power", "makeup_water"]


class Hall(StrictModel):
    """One data hall. Equipment is named by kind and number from 1: ``rack-1``, ``node-1``, ``pdu-1``, ``crah-1``."""

    name: str
    description: str = ""
    racks: Count
    nodes_per_rack: Count
    node: Node
    pdu: LossCurve  # one for each rack
    ups: Ups
    room: Room
    crah: Crah
    chilled_water: ChilledWater
    economizer: Economizer
    chiller: Chiller
    tower: Tower
    meter: tuple[Meter, ...] = ()

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.racks * self.nodes_per_rack

    @property
    def gpus(self) -> int:
        """Number of GPUs."""
        return self.nodes * self.node.gpu.per_node

    @property
    def node_names(self) -> tuple[str, ...]:
        """``node-1`` ... in rack order: node i stands in rack i // nodes_per_rack."""
        return tuple(f"node-{i + 1}" for i in range(self.nodes))

    def rack_of(self, node_index: int) -> int:
        """Index of the rack in which node ``node_index`` (from 0) stands."""
        return node_index // self.nodes_per_rack
