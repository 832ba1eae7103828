"""What the addresses of an ipmi profile mean, and the points that stand for the sensors of a BMC.

- ``NAME`` or ``NAME@ENTITY.INSTANCE``: an analog sensor of the sensor data repository (``Temp@3.1``, as ipmitool
  writes it, where several have one name). With ``*`` in the name: every such sensor whose unit is the point's.
- ``dcmi:power``, ``dcmi:limit``, ``dcmi:limit-active``, ``chassis:power``.
- ``pmbus:[BUS/]ADDRESS:COMMAND[:FORMAT][:pec]``: a supply behind the BMC, by Master Write-Read. BUS is that request's
  first byte (1, the first private bus, where not given), ADDRESS has 7 bits, COMMAND is a name or a number, FORMAT one
  of byte, word, linear11, ulinear16, direct,M,B,R and ein[,M,B,R].
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

from facility import pmbus
from facility.devices.ipmi.sdr import Sensor
from facility.errors import ConfigError, DataError
from facility.profile_point import ProfilePoint

Plain = Literal["dcmi:power", "dcmi:limit", "dcmi:limit-active", "chassis:power"]
PLAIN: tuple[str, ...] = get_args(Plain)
FIRST_PRIVATE_BUS = 0x01


@dataclass(frozen=True, slots=True)
class Named:
    """A sensor by its name, and by its entity where that is given."""

    name: str
    entity_id: str = ""

    def find(self, sensors: Sequence[Sensor]) -> Sensor | None:
        """The one sensor that is meant; None where the BMC has none. Raises DataError where it has several."""
        found = [s for s in sensors if s.name == self.name and self.entity_id in ("", s.entity_id)]
        if len(found) > 1 and not self.entity_id:
            choices = ", ".join(f"{s.name}@{s.entity_id}" for s in found)
            raise DataError(f"several sensors are named {self.name!r}", hint=f"say which in the profile: {choices}")
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Supply:
    """A register of a PMBus device behind the BMC."""

    bus: int
    address: int
    command: int
    format: pmbus.Format
    coefficients: pmbus.Coefficients | None
    has_pec: bool

    @property
    def length(self) -> int:
        """Bytes that a read brings, the length of a block included, the packet error code not."""
        return {"byte": 1, "ein": 7}.get(self.format, 2)

    def request(self) -> bytes:
        """Master Write-Read: bus, address with the write bit, how many bytes to read, the command."""
        return bytes((self.bus, self.address << 1, self.length + self.has_pec, self.command))


Address = Named | Supply | Plain


def parse(text: str) -> Address:
    """The address in a profile; raises ConfigError where it is none."""
    for plain in get_args(Plain):
        if text == plain:
            known: Plain = plain
            return known
    kind, _, rest = text.partition(":")
    if kind == "pmbus":
        return _supply(text, rest.split(":"))
    if kind in ("dcmi", "chassis"):
        raise ConfigError(f"{text!r} is no address", where="sensor", hint=f"one of {', '.join(PLAIN)}")
    entity = re.fullmatch(r"(.+)@(\d+\.\d+)", text)
    return Named(entity[1], entity[2]) if entity else Named(text)


def _supply(text: str, parts: list[str]) -> Supply:
    try:
        where, name, *options = parts
        bus, _, address = where.rpartition("/")
        has_pec = "pec" in options
        options = [option for option in options if option != "pec"]
        command = _command(name)
        spelled, *numbers = (options or [pmbus.default_format(command)])[0].split(",")
        if len(options) > 1 or spelled not in get_args(pmbus.Format):
            raise ValueError(f"no format {':'.join(options)!r}")
        coefficients = pmbus.Coefficients(*(int(number) for number in numbers)) if numbers else None
        if spelled == "direct" and coefficients is None:
            raise ValueError("direct needs its coefficients, direct,M,B,R")
        supply = Supply(
            int(bus, 0) if bus else FIRST_PRIVATE_BUS,
            int(address, 0),
            command,
            spelled,  # type: ignore[arg-type]  # checked above
            coefficients,
            has_pec,
        )
        if not 0 <= supply.bus <= 0xFF or not 0 <= supply.address <= 0x7F:
            raise ValueError("a bus has 8 bits, an address 7")
    except (ValueError, TypeError, DataError) as error:
        hint = "pmbus:[BUS/]ADDRESS:COMMAND[:FORMAT][:pec], as in pmbus:0x58:READ_PIN"
        raise ConfigError(f"{text!r} is no address of a supply: {error}", where="sensor", hint=hint) from error
    return supply


def _command(name: str) -> int:
    if name in pmbus.Command.__members__:
        return pmbus.Command[name]
    code = int(name, 0)
    if not 0 <= code <= 0xFF:
        raise ValueError("a command has 8 bits")
    return code


def instances(template: ProfilePoint, sensors: Sequence[Sensor]) -> list[ProfilePoint]:
    """The points that a template with ``*`` stands for: sensors of that name and of the point's unit."""
    met = {
        (sensor.name, sensor.entity_id): sensor
        for sensor in sensors
        if sensor.unit == template.unit and fnmatchcase(sensor.name, template.sensor)
    }
    found = list(met.values())
    slugs = Counter(_slug(sensor) for sensor in found)
    longer = Counter(f"{_slug(sensor)}-{sensor.entity_id}" for sensor in found)
    points = []
    for sensor in found:
        name = _slug(sensor)
        if slugs[name] > 1:
            entity = f"{name}-{sensor.entity_id}"
            name = entity if longer[entity] == 1 else f"{name}-{sensor.number}"
        address = f"{sensor.name}@{sensor.entity_id}"
        point = template.instance([name], sensor=address, description=f"{sensor.name}, entity {sensor.entity_id}")
        points.append(point)
    return points


def _slug(sensor: Sensor) -> str:
    """The sensor's name as part of a point's."""
    return re.sub(r"[^a-z0-9]+", "-", sensor.name.lower()).strip("-") or f"sensor-{sensor.number}"
