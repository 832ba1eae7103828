"""What the points of a building are for, from their names, kinds, units and equipment.

The conventions are those of points.csv: `equipment/quantity_unit`, equipment numbered with a trailing `-N`. Nothing
depends on how many units there are, and a kind of point that is missing is simply absent from the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from facility.errors import DataError
from facility.records import FloatArray, Point
from facility.site.site import Roles

_NUMBER = re.compile(r"[-_ ]?\d+$")
_UNIT_SUFFIX = re.compile(r"_(c|f|k|kw|w|mw|pct|pa|kpa|lps|kwh|wh|m3|rpm)$")

_FACTOR: dict[str, tuple[float, float]] = {  # unit -> factor, offset to kW, degrees Celsius
    "w": (1e-3, 0.0),
    "kw": (1.0, 0.0),
    "mw": (1e3, 0.0),
    "degf": (5.0 / 9.0, -160.0 / 9.0),
    "f": (5.0 / 9.0, -160.0 / 9.0),
    "k": (1.0, -273.15),
}
_NO_POWER = ("setpoint", "status", "command", "counter", "energy")
_COUNTER_KWH = {"wh": 1e-3, "kwh": 1.0, "mwh": 1e3}


@dataclass(frozen=True, slots=True)
class Topology:
    """Names of points by what they are for."""

    facility: str
    it: tuple[str, ...]
    energy: str | None  # the register of the facility meter
    ups_output: tuple[str, ...]
    drybulb: str | None
    rh: str | None
    wetbulb: str | None
    inlets: tuple[str, ...]
    setpoints: tuple[str, ...]
    statuses: tuple[str, ...]
    counters: tuple[str, ...]
    states: tuple[str, ...]  # every other analogue point, said to the model through means by class of equipment
    scale: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_kw_c(self, name: str, value: FloatArray) -> FloatArray:
        """``value`` of a point in kW or degrees Celsius; other units stay as they are."""
        factor, offset = self.scale.get(name, (1.0, 0.0))
        return value * factor + offset

    @property
    def known(self) -> dict[str, tuple[str, ...]]:
        """What `--known` may name, and the points behind it."""
        return {"it": self.it, "setpoints": self.setpoints}


def class_of(point: Point) -> str:
    """Equipment without its number: `crah-3` and `crah-1` are of class `crah`."""
    return _NUMBER.sub("", point.equipment)


def quantity_of(name: str) -> str:
    """The quantity of a point without equipment and unit: `zone-1/inlet_top_c` gives `inlet_top`."""
    return _UNIT_SUFFIX.sub("", name.split("/", 1)[1])


def infer_topology(points: Mapping[str, Point], recorded: Iterable[str]) -> Topology:
    """What each recorded point is for; raises DataError where facility or IT power is missing."""
    have = [points[name] for name in sorted(recorded)]
    power = [point for point in have if _is_power(point)]
    total = [point for point in power if quantity_of(point.name) == "power"]
    facility = [point.name for point in total if point.equipment == "main"]
    it = [point.name for point in total if point.equipment.startswith("pdu")]
    if not facility:
        raise DataError("no point measures the power of the facility", hint="expected main/power_kw of kind power")
    if not it:
        raise DataError("no point measures IT power", hint="expected pdu-1/power_kw, pdu-2/power_kw, ... of kind power")
    setpoints, statuses = _of_kind(have, "setpoint"), _of_kind(have, "status")
    counters = _of_kind(have, "counter", "energy")
    weather = {quantity_of(point.name): point for point in have if class_of(point) == "wx"}
    known = {*facility, *it, *setpoints, *statuses, *counters, *(point.name for point in weather.values())}
    return Topology(
        facility=facility[0],
        it=tuple(it),
        energy=_first(have, lambda point: class_of(point) == "main" and point.unit.lower() in _COUNTER_KWH),
        ups_output=tuple(p.name for p in power if class_of(p) == "ups" and "output" in quantity_of(p.name)),
        drybulb=_weather(weather, "drybulb", "temperature"),
        rh=_weather(weather, "rh", "humidity"),
        wetbulb=_weather(weather, "wetbulb", ""),
        inlets=tuple(
            p.name for p in have if p.equipment.startswith("zone") and quantity_of(p.name).startswith("inlet")
        ),
        setpoints=setpoints,
        statuses=statuses,
        counters=counters,
        states=tuple(point.name for point in have if point.name not in known),
        scale={point.name: _FACTOR[unit] for point in have if (unit := point.unit.lower()) in _FACTOR},
    )


def register_kwh(point: Point) -> float:
    """Kilowatt-hours in one count of an energy register."""
    return _COUNTER_KWH[point.unit.lower()]


def zone_of(inlet: Point, it: Iterable[str]) -> str | None:
    """The IT meter with the same number as the zone of ``inlet``."""
    number = _NUMBER.search(inlet.equipment)
    digits = number.group().lstrip("-_ ") if number else None
    return next((name for name in it if digits and name.split("/")[0].endswith(f"-{digits}")), None)


def _is_power(point: Point) -> bool:
    return point.kind == "power" or (point.unit.lower() in ("w", "kw", "mw") and point.kind not in _NO_POWER)


def _of_kind(have: list[Point], *kinds: str) -> tuple[str, ...]:
    return tuple(point.name for point in have if point.kind in kinds)


def _first(have: list[Point], wanted: Callable[[Point], bool]) -> str | None:
    return next((point.name for point in have if wanted(point)), None)


def _weather(weather: Mapping[str, Point], quantity: str, kind: str) -> str | None:
    """By the name of the quantity, else the only point of that kind."""
    if quantity in weather:
        return weather[quantity].name
    alike = [point.name for key, point in weather.items() if kind and point.kind == kind and key != "wetbulb"]
    return alike[0] if len(alike) == 1 else None


def with_roles(topology: Topology, roles: Roles, recorded: Iterable[str]) -> Topology:
    """The topology with what a site file says outright; raises DataError where it names a point without rows."""
    single = (roles.facility_power_w, roles.facility_energy_wh, roles.drybulb_c, roles.rh_pct)
    have = set(recorded)
    missing = [name for name in (*single, *roles.it_power_w, *roles.rack_inlet_c) if name and name not in have]
    if missing:
        raise DataError(f"no rows of {', '.join(missing[:5])}", where="roles of the site", hint="name recorded points")
    return replace(
        topology,
        facility=roles.facility_power_w or topology.facility,
        it=roles.it_power_w or topology.it,
        inlets=roles.rack_inlet_c or topology.inlets,
        drybulb=roles.drybulb_c or topology.drybulb,
        rh=roles.rh_pct or topology.rh,
        energy=roles.facility_energy_wh or topology.energy,
    )
