"""What a report says of a site that no meter can tell: who, where, which points are meters, which contracts.

All of it is optional. What is not here is reported as missing, with where to get it; nothing is made up.
"""

from __future__ import annotations

from datetime import date
from typing import Literal, Self

from pydantic import Field, model_validator

from facility.site.base import StrictModel
from facility.site.hall import NotNegative, Positive

Quantity = Literal[
    "facility",
    "ups_input",
    "ups_output",
    "pdu_output",
    "it",
    "cooling",
    "heat_removed",
    "reused_heat",
    "water",
    "potable_water",
    "generator",
    "onsite_renewable",
    "cpu_utilisation",
    "intake_setpoint",
    "waste_heat_temperature",
    "drybulb",
]
"""What a report can be made of: energy, water, and means of what is no energy."""

Nothing = Literal["reused_heat", "potable_water", "generator", "onsite_renewable", "instruments"]


class ChilledWaterMeter(StrictModel):
    """The three points of one chilled-water loop, from which the heat it removes follows."""

    supply_c: str
    return_c: str
    flow: str


class ReportMeters(StrictModel):
    """Points of each quantity; several are summed, setpoints and utilisations are averaged.

    The unit of the readings says whether a point counts (Wh, kWh, MWh, l, m3) or is a rate (W, kW, MW, l/s, m3/h).
    Facility and IT are those of [roles].
    """

    ups_input: tuple[str, ...] = ()
    ups_output: tuple[str, ...] = ()
    pdu_output: tuple[str, ...] = ()
    cooling: tuple[str, ...] = ()  # fans, pumps, chillers, towers
    heat_removed: tuple[str, ...] = ()  # heat meters
    chilled_water: tuple[ChilledWaterMeter, ...] = ()  # instead of heat meters
    reused_heat: tuple[str, ...] = ()  # at the hand-over to whoever uses the heat outside the data centre
    water: tuple[str, ...] = ()  # all that enters the site for the data centre
    potable_water: tuple[str, ...] = ()
    generator: tuple[str, ...] = ()
    onsite_renewable: tuple[str, ...] = ()
    cpu_utilisation: tuple[str, ...] = ()
    intake_setpoint: tuple[str, ...] = ()  # without it the supply-air setpoints of [roles]
    waste_heat_temperature: tuple[str, ...] = ()
    carbon_intensity: str = ""  # g/kWh, location-based


class Instrument(StrictModel):
    """Energy of a known origin: a cancelled guarantee of origin, a power purchase agreement, a supplier's product."""

    kind: Literal["guarantee_of_origin", "ppa", "supplier"]
    kwh: NotNegative
    start: date
    end: date  # the first day after it
    g_kwh: NotNegative
    renewable: bool = True
    source: str = Field(min_length=1)  # number of the cancellation, contract

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end <= self.start:
            raise ValueError("end must be after start")
        return self


class ResidualMix(StrictModel):
    """Intensity of the energy that nobody has claimed: what is not under a contract is accounted with it."""

    g_kwh: NotNegative
    source: str = Field(min_length=1)


class Embodied(StrictModel):
    """Carbon of making one kind of equipment, cradle to gate."""

    item: str
    count: Positive
    kg_each: NotNegative
    life_years: Positive
    source: str = Field(min_length=1)


class Redundancy(StrictModel):
    """Levels of redundancy as N, N+1, 2N and so on."""

    electrical_high_voltage: str = ""
    electrical_low_voltage: str = ""
    electrical_rack: str = ""
    cooling_room: str = ""
    cooling_rack: str = ""


class Ashrae904(StrictModel):
    """Limits of ASHRAE 90.4, from the tables of the edition that the authority has adopted."""

    climate_zone: str = ""
    mlc_max: Positive | None = None
    elc_max: Positive | None = None
    source: str = ""  # edition and tables

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        limits = (self.mlc_max, self.elc_max)
        if any(limit is not None for limit in limits) and not (self.climate_zone and self.source):
            raise ValueError("a limit needs 'climate_zone' and 'source' (edition and tables)")
        return self


class Ict(StrictModel):
    """Capacity and traffic of the equipment, as its owners measured them."""

    server_capacity: NotNegative | None = None
    storage_pb: NotNegative | None = None
    incoming_gb_s: NotNegative | None = None
    outgoing_gb_s: NotNegative | None = None
    incoming_eb: NotNegative | None = None
    outgoing_eb: NotNegative | None = None
    server_work_per_s: Positive | None = None  # summed over servers, from their benchmark
    server_max_w: Positive | None = None


class ReportFacts(StrictModel):
    """The table [report]."""

    owner: str = ""
    operator: str = ""
    lau_code: str = ""
    kind: Literal["", "enterprise", "colocation", "co-hosting"] = ""
    in_operation_since: str = Field(default="", pattern=r"^(\d{4}-(0[1-9]|1[0-2]))?$")  # year and month
    rated_it_kw: Positive | None = None
    floor_m2: Positive | None = None
    computer_room_m2: Positive | None = None
    grid_functions: str = ""
    battery_to_grid_kw: NotNegative | None = None
    refrigerants: tuple[str, ...] = ()
    none_of: tuple[Nothing, ...] = ()  # declared not to be there: zero, not missing
    meters: ReportMeters = ReportMeters()
    instrument: tuple[Instrument, ...] = ()
    residual_mix: ResidualMix | None = None
    embodied: tuple[Embodied, ...] = ()
    redundancy: Redundancy = Redundancy()
    ashrae_90_4: Ashrae904 = Ashrae904()
    ict: Ict = Ict()
