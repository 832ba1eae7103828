"""Points that a device describes itself, as texts: their names and units in the project's words.

A name becomes a point name with the unit's suffix, a unit the project's SI unit with the factor that leads to it. Where
a device gives one quantity in several units (deg C and deg F), the one that needs no conversion is kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

from facility.profile_point import ProfilePoint


@dataclass(frozen=True, slots=True)
class Unit:
    """What a unit's text means: ``value = number * scale + offset`` in ``unit``."""

    suffix: str
    unit: str
    kind: str
    scale: float = 1.0
    offset: float = 0.0
    rank: int = 0  # the lowest is kept where a quantity is given several times: 0 metric, 1 other

    def applied_to(self, value: float) -> float:
        """``value`` of the device's unit in the project's."""
        return value * self.scale + self.offset


CELSIUS = Unit("c", "degC", "temperature")
FAHRENHEIT = Unit("c", "degC", "temperature", 5 / 9, -160 / 9, rank=1)
PER_CENT = Unit("pct", "%", "ratio")
HUMIDITY = Unit("rh_pct", "%", "humidity")

# Factors of NIST SP 811, appendix B.8: psi, inch of water (4 degC), cubic foot a minute, US gallon a minute.
_UNITS: dict[str, Unit] = {
    **dict.fromkeys(("c", "degc", "degreec", "degreesc", "celsius", "degcelsius"), CELSIUS),
    **dict.fromkeys(("f", "degf", "degreef", "degreesf", "fahrenheit", "degfahrenheit"), FAHRENHEIT),
    "k": Unit("k", "K", "temperature_difference"),
    "%": PER_CENT,
    **dict.fromkeys(("%rh", "%r.h.", "rh%", "rh"), HUMIDITY),
    "w": Unit("w", "W", "power"),
    "kw": Unit("w", "W", "power", 1e3),
    "va": Unit("va", "VA", "apparent_power"),
    "kva": Unit("va", "VA", "apparent_power", 1e3),
    "var": Unit("var", "var", "reactive_power"),
    "kvar": Unit("var", "var", "reactive_power", 1e3),
    "wh": Unit("wh", "Wh", "energy"),
    "kwh": Unit("wh", "Wh", "energy", 1e3),
    "mwh": Unit("wh", "Wh", "energy", 1e6),
    "kvah": Unit("vah", "VAh", "apparent_energy", 1e3),
    **dict.fromkeys(("a", "aac", "adc"), Unit("a", "A", "current")),
    "ma": Unit("a", "A", "current", 1e-3),
    **dict.fromkeys(("v", "vac", "vdc"), Unit("v", "V", "voltage")),
    "mv": Unit("v", "V", "voltage", 1e-3),
    "hz": Unit("hz", "Hz", "frequency"),
    "pa": Unit("pa", "Pa", "pressure"),
    "hpa": Unit("pa", "Pa", "pressure", 100.0),
    "kpa": Unit("pa", "Pa", "pressure", 1e3),
    "mbar": Unit("pa", "Pa", "pressure", 100.0),
    "bar": Unit("pa", "Pa", "pressure", 1e5),
    "psi": Unit("pa", "Pa", "pressure", 6894.757, rank=1),
    **dict.fromkeys(('"wc', "\\wc", "inwc", "inh2o", "in.wc"), Unit("pa", "Pa", "pressure", 249.0889, rank=1)),
    "l/s": Unit("m3_s", "m3/s", "flow", 1e-3),
    **dict.fromkeys(("l/min", "lpm"), Unit("m3_s", "m3/s", "flow", 1e-3 / 60)),
    "l/h": Unit("m3_s", "m3/s", "flow", 1e-3 / 3600),
    **dict.fromkeys(("m3/h", "cmh"), Unit("m3_s", "m3/s", "flow", 1 / 3600)),
    "m3/s": Unit("m3_s", "m3/s", "flow"),
    "cfm": Unit("m3_s", "m3/s", "flow", 4.719474e-4, rank=1),
    "gpm": Unit("m3_s", "m3/s", "flow", 6.309020e-5, rank=1),
    "rpm": Unit("rpm", "rpm", "speed"),
    **dict.fromkeys(("s", "sec", "second", "seconds"), Unit("s", "s", "duration")),
    **dict.fromkeys(("min", "minute", "minutes"), Unit("min", "min", "duration")),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), Unit("h", "h", "duration")),
    **dict.fromkeys(("d", "day", "days"), Unit("h", "h", "duration", 24.0)),
    **dict.fromkeys(("week", "weeks"), Unit("h", "h", "duration", 168.0)),
    "": Unit("count", "1", "count"),
}
FLAG = Unit("flag", "1", "flag")
_DIFFERENCE = re.compile(r"superheat|subcool|delta|differen|hysteresis|dead_?band|_dt$")


def unit_of(text: str, name: str) -> Unit:
    """The unit that a device writes as ``text`` for a quantity of this (sanitised) name.

    A difference of temperatures is in kelvin, for 0 degF is not 0 K away. A unit that is not known stays as it is, in
    the point's unit and in its name.
    """
    key = unicodedata.normalize("NFKC", text).replace("°", "").replace("³", "3").replace(" ", "").lower()
    unit = _UNITS.get(key)
    if unit is None:
        return Unit(sanitise(text) or "count", text.strip(), "other")
    if unit.suffix == "c" and _DIFFERENCE.search(name):
        return replace(unit, suffix="k", unit="K", kind="temperature_difference", offset=0.0)
    if unit is PER_CENT and re.search(r"humid|_rh$", name):
        return HUMIDITY
    return unit


def sanitise(text: str) -> str:
    """A device's text as part of a point name: small letters, digits and underscores, at most 80."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", ascii_text.lower()).strip("_")[:80].strip("_")


def full_name(prefix: str, base: str, unit: Unit) -> str:
    """The point's name: the unit's suffix is not said twice."""
    if unit.suffix == "rh_pct" and base.endswith(("humidity", "_rh")):
        return f"{prefix}{base}_pct"
    return f"{prefix}{base}" if base.endswith(f"_{unit.suffix}") else f"{prefix}{base}_{unit.suffix}"


def without_repeats(found: Iterable[tuple[ProfilePoint, int]]) -> list[ProfilePoint]:
    """One point a quantity, the one of the lowest rank; different rows of the same name are numbered from 2."""
    by_name: dict[str, list[tuple[ProfilePoint, int]]] = {}
    for point, rank in found:
        by_name.setdefault(point.name, []).append((point, rank))
    kept = []
    for name, group in by_name.items():
        best = min(rank for _, rank in group)
        alike = [point for point, rank in group if rank == best]
        kept += alike[:1]
        stem, _, suffix = name.rpartition("_")
        kept += [
            point.model_copy(update={"name": f"{stem}_{number}_{suffix}"}) for number, point in enumerate(alike[1:], 2)
        ]
    return kept
