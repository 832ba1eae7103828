"""One line of ``ipmitool sdr``, ``sdr elist`` or ``sensor``: the sensor, its number where it has one, its status.

Forms (ipmitool(1); ``|`` between the columns):

- ``sdr``        name | reading | status
- ``sdr elist``  name | id | status | entity | reading
- ``sensor``     name | number | unit or ``discrete`` | status | six thresholds

A reading is a number with its unit, words that say there is none, or the state of a discrete sensor: ``0x00`` and
words. ``Not Readable`` is what ipmitool writes for a sensor record that cannot hold a number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

READING_WIDTH = 15  # ipmitool cuts the reading of `sdr` to so many characters, and with it the unit
_NUMBER = re.compile(r"[-+]?\d{1,15}(?:\.\d{1,15})?(?:[eE][-+]?\d{1,2})?")
_UNIT = re.compile(r"[A-Za-z%][A-Za-z0-9%/*. -]{0,31}")
_STAMP = re.compile(r"timestamp:\s*(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)\s*(\S*)\s*", re.IGNORECASE)
_ID = re.compile(r"[0-9a-f]{2,4}h", re.IGNORECASE)
SILENT = ("no reading", "disabled", "na", "n/a")
WORKING = ("ok", "nc", "cr", "nr", "lnc", "lcr", "lnr", "unc", "ucr", "unr")  # past a threshold it still measures
STATUSES = (*WORKING, "ns", "us", "na")


class Kind(IntEnum):
    """What a line is."""

    BLANK = -1
    OTHER = 0  # no sensor line
    STAMP = 1
    NUMBER = 2
    SILENT = 3  # a sensor that measures, and has no number now
    DISCRETE = 4  # a sensor of states, which has no number ever


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of ipmitool's as the project's: value x scale + offset; the suffix of point names."""

    suffix: str
    symbol: str
    scale: float = 1.0
    offset: float = 0.0


CFM = 0.3048**3 / 60.0  # m3/s: a foot is 0.3048 m exactly
UNITS = {
    "degrees C": Unit("c", "degC"),
    "degrees F": Unit("c", "degC", 1.0 / 1.8, -32.0 / 1.8),
    "degrees K": Unit("c", "degC", 1.0, -273.15),
    "Volts": Unit("v", "V"),
    "Amps": Unit("a", "A"),
    "Watts": Unit("w", "W"),
    "Joules": Unit("j", "J"),
    "VA": Unit("va", "VA"),
    "RPM": Unit("rpm", "rpm"),
    "percent": Unit("pct", "%"),
    "Hz": Unit("hz", "Hz"),
    "CFM": Unit("m3_s", "m3/s", CFM),
    "unspecified": Unit("", "1"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line as understood."""

    kind: Kind
    sensor: str = ""
    value: float | None = None
    unit: Unit | None = None
    status: str = ""
    at: datetime | None = None


NOTHING = Line(Kind.OTHER)


def parse_line(text: str) -> Line:
    """One line of a dump; kind OTHER for whatever is none. Raises ValueError for a time that cannot be used."""
    cells = [cell.strip() for cell in text.split("|")]
    if len(cells) == 1:
        return _stamp(cells[0]) if cells[0] else Line(Kind.BLANK)
    if len(cells) == 3:
        sensor, reading, status = cells
    elif len(cells) == 5 and _ID.fullmatch(cells[1]):
        sensor, _, status, _, reading = cells
    elif len(cells) == 10:
        sensor, number, unit, status = cells[:4]
        reading = number if unit == "discrete" or number == "na" else f"{number} {unit}"
        if unit == "discrete":  # its status is the state in hexadecimal
            return Line(Kind.DISCRETE, sensor) if sensor else NOTHING
    else:
        return NOTHING
    if not sensor or status not in STATUSES:
        return NOTHING
    return _sensor(sensor, reading, status)


def _sensor(sensor: str, reading: str, status: str) -> Line:
    number, _, rest = reading.partition(" ")
    if _NUMBER.fullmatch(number) and _UNIT.fullmatch(rest):
        unit = _unit(rest, len(reading))
        if unit is None:
            return NOTHING
        if status in ("ns", "na"):  # the BMC itself does not stand by it
            return Line(Kind.SILENT, sensor, None, unit, status)
        return Line(Kind.NUMBER, sensor, float(number) * unit.scale + unit.offset, unit, status)
    if reading.lower() in SILENT:
        return Line(Kind.SILENT, sensor, status=status)
    return Line(Kind.DISCRETE, sensor, status=status)


def _unit(text: str, width: int) -> Unit | None:
    """The unit; one that was cut off by what it begins with, None where that could be several."""
    if text in UNITS:
        return UNITS[text]
    if width == READING_WIDTH:
        begun = [unit for name, unit in UNITS.items() if name.startswith(text)]
        return begun[0] if len(begun) == 1 else None
    return Unit(re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_"), text)


def _stamp(text: str) -> Line:
    if not text.lower().startswith("timestamp:"):
        return NOTHING
    found = _STAMP.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:60]!r} is no time")
    zone = "+00:00" if found[2].upper() in ("UTC", "GMT", "Z") else found[2]
    at = datetime.fromisoformat(f"{found[1]}{zone}")
    if at.tzinfo is None:
        raise ValueError(f"{text[:60]!r} does not say its time zone")
    try:
        return Line(Kind.STAMP, at=at.astimezone(UTC))
    except OverflowError as error:
        raise ValueError(f"{text[:60]!r} is beyond the calendar") from error
