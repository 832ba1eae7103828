"""Cooling equipment: coil, fans, chilled water, chiller and tower, each a small function on arrays of shape (B,).

Temperatures in degrees Celsius, heat and power in watts, flows in kg/s and m3/s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import psychrolib

from facility.records import FloatArray
from facility.site import hall as site
from twin.air import (
    AIR_HEAT_J_M3_K,
    DRY_AIR_CP_J_KG_K,
    LATENT_HEAT_J_KG,
    STANDARD_PRESSURE_PA,
    WATER_CP_J_KG_K,
)
from twin.power import Value

_KELVIN = 273.15
_MIN_LIFT_K = 5.0  # assumed: least condenser inlet over chilled water at which a chiller runs
_CONVECTION_EXPONENT = (
    0.8  # turbulent forced convection, Dittus-Boelter (Incropera, Fundamentals of Heat and Mass Transfer)
)
_MERKEL_EXPONENT = 0.4  # NTU = c (water / air)^(1 + n), n = -0.6 (Braun, Klein and Mitchell, ASHRAE Trans. 95(2), 1989)


@dataclass(frozen=True, slots=True)
class CrahParams:
    """One air handler; ``count`` of them."""

    count: int
    rated_airflow_m3_s: Value
    rated_fan_w: Value
    fan_exponent: Value
    static_share: Value
    min_speed: Value
    coil_ua_w_k: Value
    air_resistance_share: Value
    supply_min_c: float
    supply_max_c: float

    @classmethod
    def from_site(cls, crah: site.Crah) -> CrahParams:
        """Of a configured air handler."""
        return cls(
            count=crah.count,
            rated_airflow_m3_s=crah.rated_airflow_m3_s,
            rated_fan_w=crah.rated_fan_w,
            fan_exponent=crah.fan_exponent,
            static_share=crah.static_share,
            min_speed=crah.min_speed,
            coil_ua_w_k=crah.coil_ua_w_k,
            air_resistance_share=crah.coil_air_resistance_share,
            supply_min_c=crah.supply_min_c,
            supply_max_c=crah.supply_max_c,
        )


@dataclass(frozen=True, slots=True)
class ChwParams:
    """The chilled-water loop of the hall, with the economizer's heat exchanger."""

    heat_capacity_j_k: Value
    design_flow_kg_s: Value
    pump_rated_w: Value
    pump_exponent: Value
    min_flow: Value
    supply_min_c: float
    supply_max_c: float
    economizer_effectiveness: Value

    @classmethod
    def from_site(cls, hall: site.Hall) -> ChwParams:
        """Of a configured hall."""
        loop = hall.chilled_water
        return cls(
            heat_capacity_j_k=loop.volume_m3 * 1_000.0 * WATER_CP_J_KG_K,
            design_flow_kg_s=loop.design_flow_kg_s,
            pump_rated_w=loop.pump_rated_w,
            pump_exponent=loop.pump_exponent,
            min_flow=loop.min_flow,
            supply_min_c=loop.supply_min_c,
            supply_max_c=loop.supply_max_c,
            economizer_effectiveness=hall.economizer.effectiveness,
        )


@dataclass(frozen=True, slots=True)
class ChillerParams:
    """One chiller as Gordon-Ng: entropy production ``entropy_w_k`` and heat-exchanger resistance ``resistance_k_w``."""

    count: int
    rated_capacity_w: Value
    rated_cop: Value
    rated_chw_c: Value
    rated_condenser_c: Value
    entropy_w_k: Value
    resistance_k_w: Value
    capacity_per_k_evaporator: Value
    capacity_per_k_condenser: Value
    condenser_min_c: Value
    min_load: Value

    @classmethod
    def from_site(cls, chiller: site.Chiller) -> ChillerParams:
        """Of a configured chiller: both coefficients follow from its power at no load and at rated load."""
        cold = chiller.rated_chw_supply_c + _KELVIN
        warm = chiller.rated_condenser_inlet_c + _KELVIN
        heat = chiller.rated_capacity_w
        power = heat / chiller.rated_cop
        entropy = chiller.no_load_share * power / warm
        resistance = (cold - warm * (heat + cold * entropy) / (heat + power)) / heat
        return cls(
            count=chiller.count,
            rated_capacity_w=heat,
            rated_cop=chiller.rated_cop,
            rated_chw_c=chiller.rated_chw_supply_c,
            rated_condenser_c=chiller.rated_condenser_inlet_c,
            entropy_w_k=entropy,
            resistance_k_w=resistance,
            capacity_per_k_evaporator=chiller.capacity_per_k_evaporator,
            capacity_per_k_condenser=chiller.capacity_per_k_condenser,
            condenser_min_c=chiller.condenser_inlet_min_c,
            min_load=chiller.min_load,
        )


@dataclass(frozen=True, slots=True)
class TowerParams:
    """The tower: ``k_per_w`` is approach over heat at the design point; both exponents fit the Merkel model."""

    k_per_w: float
    fan_slope: float  # approach follows fan speed^-fan_slope
    air_slope: float  # approach follows the air's saturated specific heat^-air_slope
    design_cs_j_kg_k: float
    design_air_kg_s: Value
    water_kg_s: float
    fan_rated_w: Value
    fan_exponent: Value
    pump_rated_w: Value
    cycles: Value
    setpoint_min_c: float

    @classmethod
    def from_site(cls, tower: site.Tower) -> TowerParams:
        """Of a configured tower: sizes the Merkel model at the design point, then fits the two exponents around it."""
        water = tower.design_heat_w / (WATER_CP_J_KG_K * tower.design_range_k)
        design_cs = _specific_heat(tower.design_wetbulb_c + 0.5 * tower.design_approach_k)
        fill = _size_fill(tower, water, design_cs)
        fan_slope, air_slope = _fit_slopes(tower, fill, water, design_cs)
        return cls(
            k_per_w=tower.design_approach_k / tower.design_heat_w,
            fan_slope=fan_slope,
            air_slope=air_slope,
            design_cs_j_kg_k=design_cs,
            design_air_kg_s=tower.design_air_kg_s,
            water_kg_s=water,
            fan_rated_w=tower.fan_rated_w,
            fan_exponent=tower.fan_exponent,
            pump_rated_w=tower.pump_rated_w,
            cycles=tower.cycles_of_concentration,
            setpoint_min_c=tower.setpoint_min_c,
        )


def _specific_heat(t_c: float) -> float:
    """Of saturated air at standard pressure; sizing happens once, so psychrolib itself serves."""
    psychrolib.SetUnitSystem(psychrolib.SI)
    warm, cold = (psychrolib.GetSatAirEnthalpy(t_c + side, STANDARD_PRESSURE_PA) for side in (0.05, -0.05))
    return float((warm - cold) / 0.1)


def _size_fill(tower: site.Tower, water_kg_s: float, cs_j_kg_k: float) -> float:
    """The fill coefficient with which the tower meets its design approach, by bisection."""
    low, high = 0.05, 20.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        approach = merkel_approach_k_w(middle, tower.design_air_kg_s, water_kg_s, cs_j_kg_k) * tower.design_heat_w
        low, high = (middle, high) if approach > tower.design_approach_k else (low, middle)
    return 0.5 * (low + high)


def _fit_slopes(tower: site.Tower, fill: float, water_kg_s: float, design_cs: float) -> tuple[float, float]:
    """Least squares of the logarithm of the Merkel approach over fan speeds and air from 2 to 27 C."""
    design = tower.design_approach_k / tower.design_heat_w
    rows, wanted = [], []
    for cs in (_specific_heat(t_c) for t_c in (2.0, 8.0, 14.0, 20.0, 27.0)):
        for speed in (0.45, 0.6, 0.8, 1.0):
            approach = merkel_approach_k_w(fill, speed * tower.design_air_kg_s, water_kg_s, cs)
            rows.append((-np.log(speed), np.log(design_cs / cs)))
            wanted.append(np.log(approach / design))
    fan_slope, air_slope = np.linalg.lstsq(np.array(rows), np.array(wanted))[0]
    return float(fan_slope), float(air_slope)


def merkel_approach_k_w(fill: float, air_kg_s: float, water_kg_s: float, cs_j_kg_k: float) -> float:
    """Approach for each watt rejected (Braun et al. 1989).

    Q = eps m_a c_s (T_in - T_wb) and Q = m_w c_p (T_in - T_out), with eps that of a counterflow heat exchanger.
    """
    ratio = air_kg_s * cs_j_kg_k / (water_kg_s * WATER_CP_J_KG_K)
    ntu = fill * (water_kg_s / air_kg_s) ** _MERKEL_EXPONENT
    effectiveness = float(_effectiveness(np.asarray(ntu), np.asarray(ratio)))
    return 1.0 / (effectiveness * air_kg_s * cs_j_kg_k) - 1.0 / (water_kg_s * WATER_CP_J_KG_K)


def _effectiveness(ntu: FloatArray, ratio: FloatArray) -> FloatArray:
    """Counterflow effectiveness (Kays and London, Compact Heat Exchangers); equal capacities are approached."""
    safe = np.where(np.abs(1.0 - ratio) < 1e-6, 1.0 - 1e-6, ratio)
    decay = np.exp(-ntu * (1.0 - safe))
    return np.asarray((1.0 - decay) / (1.0 - safe * decay))


def crah_airflow_m3_s(crah: CrahParams, units: FloatArray, speed: FloatArray) -> FloatArray:
    """Air moved by ``units`` running air handlers; speed is held to [minimum, 1]."""
    return units * crah.rated_airflow_m3_s * np.clip(speed, crah.min_speed, 1.0)


def crah_fan_w(crah: CrahParams, units: FloatArray, speed: FloatArray) -> FloatArray:
    """Fan power: flow times a pressure of which ``static_share`` does not fall with flow; without it speed^exponent."""
    s = np.clip(speed, crah.min_speed, 1.0)
    pressure = crah.static_share + (1.0 - crah.static_share) * s ** (crah.fan_exponent - 1.0)
    return np.asarray(units * crah.rated_fan_w * s * pressure)


def coil_conductance_w_k(
    crah: CrahParams, units: FloatArray, speed: FloatArray, air_w_k: FloatArray, water_w_k: FloatArray, flow: FloatArray
) -> FloatArray:
    """Most heat a coil moves for each kelvin between return air and water (effectiveness-NTU, counterflow, dry)."""
    s = np.clip(speed, crah.min_speed, 1.0)
    air = crah.air_resistance_share * s**-_CONVECTION_EXPONENT
    water = (1.0 - crah.air_resistance_share) * flow**-_CONVECTION_EXPONENT
    ua = units * crah.coil_ua_w_k / (air + water)
    smaller, larger = np.minimum(air_w_k, water_w_k), np.maximum(air_w_k, water_w_k)
    safe = np.maximum(smaller, 1e-9)
    return np.asarray(_effectiveness(ua / safe, safe / np.maximum(larger, 1e-9)) * smaller)


def air_capacity_w_k(airflow_m3_s: FloatArray) -> FloatArray:
    """Heat capacity rate of an air flow at standard density."""
    return airflow_m3_s * AIR_HEAT_J_M3_K


def chw_pump_w(chw: ChwParams, flow: FloatArray) -> FloatArray:
    """Power of the chilled-water pumps at ``flow`` (share of design)."""
    return np.asarray(chw.pump_rated_w * flow**chw.pump_exponent)


def chiller_capacity_w(
    chiller: ChillerParams, units: FloatArray, chw_c: FloatArray, condenser_c: FloatArray
) -> FloatArray:
    """Most heat that ``units`` chillers take; never below 30 % of rating, nor above 125 %."""
    share = (
        1.0
        + chiller.capacity_per_k_evaporator * (chw_c - chiller.rated_chw_c)
        - chiller.capacity_per_k_condenser * (condenser_c - chiller.rated_condenser_c)
    )
    return np.asarray(units * chiller.rated_capacity_w * np.clip(share, 0.3, 1.25))


def chiller_power_w(
    chiller: ChillerParams, units: FloatArray, heat_w: FloatArray, chw_c: FloatArray, condenser_c: FloatArray
) -> FloatArray:
    """Compressor power of ``units`` machines sharing ``heat_w``; cycles below the minimum load.

    Gordon and Ng (Cool Thermodynamics, 2000; see Jiang and Reddy, ASHRAE Trans. 109(2), 2003): with Te the supply of
    chilled water and Tc the condenser inlet in kelvin, (1 + 1/COP) (Te - R Q) = Tc (1 + Te S / Q). Power rises with
    Tc, and falls with Te, at every load.
    """
    units = np.maximum(units, 1e-9)
    each = heat_w / units
    smallest = chiller.min_load * chiller.rated_capacity_w
    loaded = np.maximum(each, smallest)
    cold = np.clip(chw_c, 2.0, 30.0) + _KELVIN
    warm = np.maximum(np.maximum(condenser_c, chiller.condenser_min_c) + _KELVIN, cold + _MIN_LIFT_K)
    running = warm * (loaded + cold * chiller.entropy_w_k) / (cold - chiller.resistance_k_w * loaded) - loaded
    return np.asarray(units * np.maximum(running, 0.0) * np.minimum(each / smallest, 1.0))


def approach_k_w(tower: TowerParams, cs_j_kg_k: FloatArray) -> FloatArray:
    """Approach to the wet bulb for each watt rejected with the fan at full speed."""
    return np.asarray(tower.k_per_w * (tower.design_cs_j_kg_k / cs_j_kg_k) ** tower.air_slope)


def tower_fan_speed(
    tower: TowerParams, approach_k_per_w: FloatArray, heat_w: FloatArray, wetbulb_c: FloatArray, setpoint_c: FloatArray
) -> FloatArray:
    """Fan speed (0..1) that brings the water to its setpoint: one where it cannot."""
    room = setpoint_c - wetbulb_c
    needed = approach_k_per_w * heat_w / np.maximum(room, 1e-6)
    return np.where(room <= 0.0, 1.0, np.minimum(needed ** (1.0 / tower.fan_slope), 1.0))


def tower_fan_w(tower: TowerParams, speed: FloatArray) -> FloatArray:
    """Fan power of the tower."""
    return np.asarray(tower.fan_rated_w * speed**tower.fan_exponent)


def makeup_water_kg_s(
    tower: TowerParams,
    heat_w: FloatArray,
    speed: FloatArray,
    cs_j_kg_k: FloatArray,
    drybulb_c: FloatArray,
    wetbulb_c: FloatArray,
) -> FloatArray:
    """Evaporation (heat less what the air, leaving saturated, takes sensibly) and the blow-down that it needs."""
    sensible = heat_w * DRY_AIR_CP_J_KG_K / cs_j_kg_k
    dry_air = speed * tower.design_air_kg_s * DRY_AIR_CP_J_KG_K * np.maximum(drybulb_c - wetbulb_c, 0.0)
    evaporated = np.clip(heat_w - sensible + dry_air, 0.0, 1.5 * heat_w) / LATENT_HEAT_J_KG
    return np.asarray(evaporated * (tower.cycles / (tower.cycles - 1.0)))
