"""SNMP objects of the emulated PDUs and UPS: OIDs, types and decimal digits as the real devices give them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pysnmp.proto import rfc1902

Oid = tuple[int, ...]
Objects = dict[Oid, Any]

VOLTAGE_V = 208.0
POWER_FACTOR = 0.98
RARITAN = (1, 3, 6, 1, 4, 1, 13742, 6)
UPS = (1, 3, 6, 1, 2, 1, 33, 1)
SYSTEM = (1, 3, 6, 1, 2, 1, 1)
NORMAL_STATE, SENSOR_TEMPERATURE, SENSOR_HUMIDITY = 4, 10, 11  # PDU2-MIB
UPS_BATTERY_NORMAL, UPS_SOURCE_NORMAL = 2, 3  # RFC 1628
# PDU2-MIB sensor type and decimal digits of each quantity, as a PX3-5493U-K2 (firmware 4.2) reports them.
MEASUREMENTS = {
    "current_a": (1, 3),
    "voltage_v": (4, 0),
    "power_w": (5, 0),
    "apparent_power_va": (6, 0),
    "power_factor": (7, 2),
    "energy_wh": (8, 0),
    "frequency_hz": (23, 1),
}


def system_objects(name: str, description: str, identity: Oid, uptime_s: float) -> Objects:
    """The system group (RFC 3418)."""
    return {
        (*SYSTEM, 1, 0): rfc1902.OctetString(description),
        (*SYSTEM, 2, 0): rfc1902.ObjectIdentifier(identity),
        (*SYSTEM, 3, 0): rfc1902.TimeTicks(int(uptime_s * 100.0) % 2**32),
        (*SYSTEM, 4, 0): rfc1902.OctetString(""),
        (*SYSTEM, 5, 0): rfc1902.OctetString(name),
        (*SYSTEM, 6, 0): rfc1902.OctetString("emulated building"),
    }


def pdu_objects(name: str, values: Mapping[str, float], outlets: int, uptime_s: float) -> Objects:
    """A Raritan PX3 with one inlet, an outlet for each node, and a temperature and a humidity sensor."""
    objects = system_objects(name, "Raritan PDU, MD:PX3 (emulated)", RARITAN, uptime_s)
    _pole(objects, (5, 2, 3, 1, 4, 1, 1), (3, 3, 4, 1, 7, 1, 1), values, "inlet-1")
    for outlet in range(1, outlets + 1):
        _pole(objects, (5, 4, 3, 1, 4, 1, outlet), (3, 5, 4, 1, 7, 1, outlet), values, f"outlet-{outlet}")
    external = (
        (1, SENSOR_TEMPERATURE, 1, "Rack inlet temperature", values["rack_inlet_c"]),
        (2, SENSOR_HUMIDITY, 0, "Rack inlet humidity", values["rack_inlet_rh_pct"]),
    )
    for number, kind, digits, label, value in external:
        objects[(*RARITAN, 3, 6, 3, 1, 2, 1, number)] = rfc1902.Integer32(kind)
        objects[(*RARITAN, 3, 6, 3, 1, 4, 1, number)] = rfc1902.OctetString(label)
        objects[(*RARITAN, 3, 6, 3, 1, 17, 1, number)] = rfc1902.Gauge32(digits)
        objects[(*RARITAN, 5, 5, 3, 1, 3, 1, number)] = rfc1902.Integer32(NORMAL_STATE)
        objects[(*RARITAN, 5, 5, 3, 1, 4, 1, number)] = rfc1902.Integer32(round(value * 10**digits))
    return objects


def _pole(objects: Objects, reading: Oid, digits: Oid, values: Mapping[str, float], pole: str) -> None:
    """Measurements of an inlet or outlet, and their decimal digits."""
    for quantity, value in _electric(values[f"{pole}/power_w"], values[f"{pole}/energy_wh"]).items():
        kind, places = MEASUREMENTS[quantity]
        objects[(*RARITAN, *digits, kind)] = rfc1902.Gauge32(places)
        objects[(*RARITAN, *reading, kind)] = rfc1902.Gauge32(max(round(value * 10**places), 0) % 2**32)


def _electric(power_w: float, energy_wh: float) -> dict[str, float]:
    apparent_va = power_w / POWER_FACTOR
    return {
        "current_a": apparent_va / VOLTAGE_V,
        "voltage_v": VOLTAGE_V,
        "power_w": power_w,
        "apparent_power_va": apparent_va,
        "power_factor": POWER_FACTOR,
        "energy_wh": energy_wh,
        "frequency_hz": 60.0,
    }


def ups_objects(name: str, values: Mapping[str, float], uptime_s: float) -> Objects:
    """UPS-MIB (RFC 1628); three phases are reported as one line."""
    objects = system_objects(name, "Double-conversion UPS (emulated)", UPS[:-1], uptime_s)
    integers = {
        (2, 1, 0): UPS_BATTERY_NORMAL,
        (2, 2, 0): 0,
        (2, 3, 0): 12,
        (2, 4, 0): values["battery_charge_pct"],
        (2, 5, 0): 5_440,
        (2, 6, 0): 0,
        (2, 7, 0): values["temperature_c"],
        (3, 2, 0): 1,
        (3, 3, 1, 2, 1): 600,
        **_line((3, 3, 1), 3, values["input_power_w"]),
        (4, 1, 0): UPS_SOURCE_NORMAL,
        (4, 2, 0): 600,
        (4, 3, 0): 1,
        **_line((4, 4, 1), 2, values["output_power_w"]),
        (4, 4, 1, 5, 1): values["load_pct"],
    }
    objects[(*UPS, 1, 1, 0)] = rfc1902.OctetString("Eco-Orchestrator")
    objects[(*UPS, 1, 2, 0)] = rfc1902.OctetString("emulated")
    return objects | {(*UPS, *oid): rfc1902.Integer32(round(value)) for oid, value in integers.items()}


def _line(table: Oid, first: int, power_w: float) -> dict[Oid, float]:
    """Voltage (V), current (0.1 A) and power (W) of line 1, in three columns from ``first``."""
    current_a = power_w / (VOLTAGE_V * math.sqrt(3.0))
    return {(*table, first + i, 1): value for i, value in enumerate((VOLTAGE_V, current_a * 10.0, power_w))}
