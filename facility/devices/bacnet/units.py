"""Engineering units: what an object says of itself, against what the profile makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bacpypes3.basetypes import EngineeringUnits


@dataclass(frozen=True, slots=True)
class Unit:
    """``base = value * scale + offset`` in the first unit of its quantity below."""

    quantity: str
    scale: float = 1.0
    offset: float = 0.0


_FAHRENHEIT = Unit("temperature", 5.0 / 9.0, -160.0 / 9.0)
_KELVIN = Unit("temperature", 1.0, -273.15)
_CFM, _GPM, _GALLON = 4.719474432e-4, 6.30901964e-5, 3.785411784e-3  # m3/s, m3/s, m3 (NIST SP 811)

# Units as profiles write them.
PROFILE = {
    "degC": Unit("temperature"),
    "degF": _FAHRENHEIT,
    "K": _KELVIN,
    "1": Unit("ratio"),
    "%": Unit("ratio", 0.01),
    "W": Unit("power"),
    "kW": Unit("power", 1e3),
    "VA": Unit("apparent power"),
    "Wh": Unit("energy"),
    "kWh": Unit("energy", 1e3),
    "V": Unit("voltage"),
    "A": Unit("current"),
    "Hz": Unit("frequency"),
    "rpm": Unit("speed"),
    "Pa": Unit("pressure"),
    "kPa": Unit("pressure", 1e3),
    "kg/s": Unit("mass flow"),
    "m3/s": Unit("volume flow"),
    "l/s": Unit("volume flow", 1e-3),
    "m3": Unit("volume"),
    "l": Unit("volume", 1e-3),
    "s": Unit("time"),
    "min": Unit("time", 60.0),
    "h": Unit("time", 3600.0),
}

# Units as the standard names them (BACnetEngineeringUnits, ASHRAE 135, clause 21); others raise no question.
BACNET = {
    "degrees-celsius": Unit("temperature"),
    "degrees-fahrenheit": _FAHRENHEIT,
    "degrees-kelvin": _KELVIN,
    "percent": Unit("ratio", 0.01),
    "percent-relative-humidity": Unit("ratio", 0.01),
    "power-factor": Unit("ratio"),
    "milliwatts": Unit("power", 1e-3),
    "watts": Unit("power"),
    "kilowatts": Unit("power", 1e3),
    "megawatts": Unit("power", 1e6),
    "btus-per-hour": Unit("power", 0.29307107),
    "horsepower": Unit("power", 745.69987),
    "tons-refrigeration": Unit("power", 3516.8528),
    "volt-amperes": Unit("apparent power"),
    "kilovolt-amperes": Unit("apparent power", 1e3),
    "watt-hours": Unit("energy"),
    "kilowatt-hours": Unit("energy", 1e3),
    "megawatt-hours": Unit("energy", 1e6),
    "joules": Unit("energy", 1.0 / 3600.0),
    "kilojoules": Unit("energy", 1e3 / 3600.0),
    "megajoules": Unit("energy", 1e6 / 3600.0),
    "volts": Unit("voltage"),
    "millivolts": Unit("voltage", 1e-3),
    "kilovolts": Unit("voltage", 1e3),
    "amperes": Unit("current"),
    "milliamperes": Unit("current", 1e-3),
    "hertz": Unit("frequency"),
    "revolutions-per-minute": Unit("speed"),
    "pascals": Unit("pressure"),
    "hectopascals": Unit("pressure", 1e2),
    "kilopascals": Unit("pressure", 1e3),
    "bars": Unit("pressure", 1e5),
    "millibars": Unit("pressure", 1e2),
    "pounds-force-per-square-inch": Unit("pressure", 6894.7573),
    "inches-of-water": Unit("pressure", 249.08891),
    "kilograms-per-second": Unit("mass flow"),
    "kilograms-per-minute": Unit("mass flow", 1.0 / 60.0),
    "kilograms-per-hour": Unit("mass flow", 1.0 / 3600.0),
    "cubic-meters-per-second": Unit("volume flow"),
    "cubic-meters-per-hour": Unit("volume flow", 1.0 / 3600.0),
    "liters-per-second": Unit("volume flow", 1e-3),
    "liters-per-minute": Unit("volume flow", 1e-3 / 60.0),
    "liters-per-hour": Unit("volume flow", 1e-3 / 3600.0),
    "cubic-feet-per-minute": Unit("volume flow", _CFM),
    "us-gallons-per-minute": Unit("volume flow", _GPM),
    "cubic-meters": Unit("volume"),
    "liters": Unit("volume", 1e-3),
    "us-gallons": Unit("volume", _GALLON),
    "seconds": Unit("time"),
    "minutes": Unit("time", 60.0),
    "hours": Unit("time", 3600.0),
}


def unit_error(code: int, unit: str, scale: float, offset: float) -> str:
    """What is wrong with reading an object of unit ``code`` as ``raw * scale + offset`` in ``unit``; empty: nothing.

    An object without a unit, or one that is not in the tables, is left to the profile.
    """
    name = str(EngineeringUnits(code))
    has, wants = BACNET.get(name), PROFILE.get(unit)
    if has is None or wants is None:
        return ""
    if has.quantity != wants.quantity:
        return f"the object holds {name}, the profile wants {unit}"
    right_scale, right_offset = has.scale / wants.scale, (has.offset - wants.offset) / wants.scale
    near = math.isclose(scale, right_scale, rel_tol=0.01) and math.isclose(offset, right_offset, abs_tol=0.1)
    return "" if near else f"the object holds {name}: {unit} needs scale {right_scale:g} and offset {right_offset:g}"
