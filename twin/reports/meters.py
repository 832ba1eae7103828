"""Which points serve which quantity of a report: what the site file says, else what the names of points say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from facility.site import Roles
from facility.site.report import ChilledWaterMeter, Quantity, ReportMeters
from twin.reports.units import is_known, is_register, is_water

WHERE: Mapping[Quantity, str] = {
    "facility": "the main meter: name its register in [roles] facility_energy_wh, or its power in facility_power_w",
    "ups_input": "the UPS's input meter: name it in [report.meters] ups_input",
    "ups_output": "the UPS's output meter: name it in [report.meters] ups_output",
    "pdu_output": "the PDUs' output meters: name them in [report.meters] pdu_output",
    "it": "meters at the inlets of the servers: name them in [roles] it_energy_wh or it_power_w",
    "cooling": "meters of fans, pumps, chillers and towers: name them in [report.meters] cooling",
    "heat_removed": "a heat meter, or chilled-water flow and temperatures: [report.meters] heat_removed, chilled_water",
    "reused_heat": "a heat meter at the hand-over: [report.meters] reused_heat; none_of = ['reused_heat'] if none is",
    "water": "the meter of the water that enters the site: name it in [report.meters] water",
    "potable_water": "the meter of potable water: [report.meters] potable_water, or none_of = ['potable_water']",
    "generator": "the generators' meter: [report.meters] generator, or none_of = ['generator']",
    "onsite_renewable": "the meter of on-site renewables: [report.meters] onsite_renewable, or none_of",
    "cpu_utilisation": "mean CPU utilisation of the servers: name the points in [report.meters] cpu_utilisation",
    "intake_setpoint": "the setpoint of the IT intake air: [report.meters] intake_setpoint",
    "waste_heat_temperature": "the temperature of the waste heat: [report.meters] waste_heat_temperature",
    "drybulb": "outdoor dry bulb: name its point in [roles] drybulb_c",
}
CARBON_POINT = "grid/carbon_intensity_g_kwh"
CARBON_DIRECT_POINT = "grid/carbon_intensity_direct_g_kwh"
_WEATHER = "weather/drybulb_c"
_NUMBER = re.compile(r"[-_]?\d+$")


@dataclass(frozen=True, slots=True)
class Meters:
    """Points by quantity; ``reasons`` says of a quantity without points what the site file named in vain."""

    points: Mapping[Quantity, tuple[str, ...]]
    chilled_water: tuple[ChilledWaterMeter, ...]
    reasons: Mapping[Quantity, str]
    carbon: str

    @property
    def names(self) -> tuple[str, ...]:
        """Every point that must be read."""
        loops = [name for one in self.chilled_water for name in (one.supply_c, one.return_c, one.flow)]
        return tuple(dict.fromkeys([*(name for group in self.points.values() for name in group), *loops]))


def choose(units: Mapping[str, str], roles: Roles, asked: ReportMeters) -> Meters:
    """What each quantity is read from, among the points of a source with their ``units``.

    A quantity whose points are named and not all there has none: a part of the meters would be a wrong sum.
    """
    named = _named(units, roles, asked)
    points: dict[Quantity, tuple[str, ...]] = {}
    reasons: dict[Quantity, str] = {}
    for quantity, guess in _guesses(units).items():
        wanted = named.get(quantity) or guess
        absent = [name for name in wanted if name not in units]
        if absent:
            more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            reasons[quantity] = f"no readings of {absent[0]}{more}, which the site file names"
        elif wanted:
            points[quantity] = wanted
    loops = asked.chilled_water or _loops(units)
    whole = tuple(one for one in loops if {one.supply_c, one.return_c, one.flow} <= set(units))
    carbon = asked.carbon_intensity or (CARBON_POINT if CARBON_POINT in units else "")
    return Meters(points, whole if len(whole) == len(loops) else (), reasons, carbon)


def _named(units: Mapping[str, str], roles: Roles, asked: ReportMeters) -> dict[Quantity, tuple[str, ...]]:
    named: dict[Quantity, tuple[str, ...]] = {
        "facility": _either(units, _one(roles.facility_energy_wh), _one(roles.facility_power_w)),
        "it": _either(units, roles.it_energy_wh, roles.it_power_w),
        "ups_input": asked.ups_input,
        "ups_output": asked.ups_output,
        "pdu_output": asked.pdu_output,
        "cooling": asked.cooling,
        "heat_removed": asked.heat_removed,
        "reused_heat": asked.reused_heat,
        "water": asked.water,
        "potable_water": asked.potable_water,
        "generator": asked.generator,
        "onsite_renewable": asked.onsite_renewable,
        "cpu_utilisation": asked.cpu_utilisation,
        "intake_setpoint": asked.intake_setpoint or roles.supply_air_setpoint_c,
        "waste_heat_temperature": asked.waste_heat_temperature,
        "drybulb": _one(roles.drybulb_c),
    }
    return named


def _one(name: str) -> tuple[str, ...]:
    return (name,) if name else ()


def _either(units: Mapping[str, str], first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """The registers where they are all there, else the powers; what is named first where neither is."""
    if first and all(name in units for name in first):
        return first
    return second if second and all(name in units for name in second) else first or second


def _guesses(units: Mapping[str, str]) -> dict[Quantity, tuple[str, ...]]:
    """By the conventions of points.csv: ``main/power_kw``, ``ups-1/output_kw``, ``pdu-1/power_kw``."""
    energy = [name for name, unit in units.items() if is_known(unit) and not is_water(unit)]
    main = [name for name in energy if _class(name) in ("main", "meter-main", "facility")]
    none: tuple[str, ...] = ()
    return {
        "facility": _register_first(units, (name for name in main if _quantity(name) in ("power", "energy")))[:1],
        "ups_input": _rates(units, energy, "ups", ("input", "input_power")),
        "ups_output": _rates(units, energy, "ups", ("output", "output_power")),
        "pdu_output": _rates(units, energy, "pdu", ("power", "output_power")),
        "it": none,
        "cooling": _rates(units, energy, "mech", ("power",)),
        "heat_removed": none,
        "reused_heat": none,
        "water": _register_first(units, (name for name in units if is_water(units[name]) and "makeup" in name))[:1],
        "potable_water": none,
        "generator": none,
        "onsite_renewable": none,
        "cpu_utilisation": none,
        "intake_setpoint": tuple(name for name in ("sp/supply_air_c",) if name in units),
        "waste_heat_temperature": none,
        "drybulb": tuple(name for name in ("wx/drybulb_c", _WEATHER) if name in units)[:1],
    }


def _rates(
    units: Mapping[str, str], names: Iterable[str], equipment: str, quantities: tuple[str, ...]
) -> tuple[str, ...]:
    return tuple(
        n for n in names if _class(n) == equipment and _quantity(n) in quantities and not is_register(units[n])
    )


def _register_first(units: Mapping[str, str], names: Iterable[str]) -> tuple[str, ...]:
    """Registers before rates: a register counts while it is not read."""
    return tuple(sorted(names, key=lambda name: not is_register(units[name])))


def _loops(units: Mapping[str, str]) -> tuple[ChilledWaterMeter, ...]:
    """``chw/supply_c`` with its return and flow."""
    flows = [name for name in ("chw/flow_lps", "chw/flow_kg_s") if name in units]
    if not flows or "chw/supply_c" not in units or "chw/return_c" not in units:
        return ()
    return (ChilledWaterMeter(supply_c="chw/supply_c", return_c="chw/return_c", flow=flows[0]),)


def _class(name: str) -> str:
    """Equipment without its number: ``ups-1/output_kw`` gives ``ups``."""
    return _NUMBER.sub("", name.split("/")[0])


def _quantity(name: str) -> str:
    """The last part of a name without its unit: ``main/power_kw`` gives ``power``."""
    parts = name.split("/")
    return re.sub(r"_(w|kw|mw|wh|kwh|mwh)$", "", parts[-1]) if len(parts) == 2 else ""
