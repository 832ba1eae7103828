"""One point of a device family: where it is, what its raw value means, and what may be written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from facility.profile_snmp import OidTest
from facility.records import Point, Quality
from facility.site.base import StrictModel

RegisterType = Literal["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
Table = Literal["holding", "input", "coil", "discrete"]

REGISTERS: dict[str, int] = {
    "int16": 1,
    "uint16": 1,
    "int32": 2,
    "uint32": 2,
    "float32": 2,
    "int64": 4,
    "uint64": 4,
    "float64": 4,
}


class ProfilePoint(StrictModel):
    """One quantity: where it is, how its raw value is read, and what may be written to it.

    ``value = raw * scale + offset``, in ``unit``. An address with ``*`` stands for every instance that the device has;
    what each ``*`` met fills ``{1}``, ``{2}``... in the name and the description.
    """

    name: str = Field(pattern=r"^[a-z0-9{][a-z0-9_./{}-]*$")
    kind: str
    unit: str
    description: str = ""
    address: int | None = Field(default=None, ge=0, le=65535)  # modbus: zero-based
    table: Table = "holding"
    type: RegisterType = "uint16"
    word_order: Literal["big", "little"] = "big"
    exponent_address: int | None = Field(default=None, ge=0, le=65535)  # modbus: int16 power of ten (SunSpec)
    oid: str = Field(default="", pattern=r"^(\d+(\.(\d+|\*))+)?$")
    decimals_oid: str = Field(default="", pattern=r"^(\d+(\.(\d+|\*))+)?$")  # snmp: raw is divided by 10 to this
    divisor_oid: str = Field(default="", pattern=r"^(\d+(\.(\d+|\*))+)?$")  # snmp: raw is divided by this
    where: OidTest | None = None  # snmp: only instances that pass are points (a sensor's type)
    status: OidTest | None = None  # snmp: read with the value, which is bad where it does not pass
    fahrenheit: OidTest | None = None  # snmp: passes where the agent is set to deg F; the value becomes deg C
    resource: str = ""  # redfish: path of the resource
    pointer: str = ""  # redfish: JSON pointer (RFC 6901) to the number in it; "*" and "*Name" walk arrays
    only: Mapping[str, tuple[str, ...]] = {}  # redfish: members whose properties say one of these; "" for none at all
    words: Mapping[str, float] = {}  # redfish: the number that a word stands for; other words are no value
    null_lifts: bool = False  # redfish: null lifts the limit
    object: str = ""  # bacnet: type and instance, "analog-output,1"
    query: str = ""  # prometheus: PromQL
    time_query: str = ""  # prometheus: PromQL of the time (s since 1970) at which each series of ``query`` was measured
    file: str = ""  # hwmon: "CHIP/power1_input", or "CHIP/power:pin" for the one with that label; CHIP may have "*"
    sensor: str = ""  # ipmi: name in the sensor data repository, or "dcmi:limit"... (facility.devices.ipmi.points)
    optional: bool = False  # not every model has it: where the device says so there is no reading, instead of a bad one
    scale: float = 1.0
    offset: float = 0.0
    sentinels: tuple[float, ...] = ()  # raw values that mean "no value"
    writable: bool = False
    min: float | None = None
    max: float | None = None
    max_step: float | None = Field(default=None, gt=0)
    rollover: float | None = Field(default=None, gt=0)  # raw counts after which a counter begins again at 0
    max_rate_per_s: float | None = Field(default=None, gt=0)  # the fastest that a counter can rise, in ``unit``
    valid_min: float | None = None  # outside these the reading is uncertain
    valid_max: float | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.scale == 0:
            raise ValueError(f"point {self.name!r}: scale must not be 0")
        for low, high in ((self.min, self.max), (self.valid_min, self.valid_max)):
            if low is not None and high is not None and low > high:
                raise ValueError(f"point {self.name!r}: a minimum is above its maximum")
        tests = (self.where, self.status, self.fahrenheit)
        helpers = (self.decimals_oid, self.divisor_oid, *(test.oid for test in tests if test is not None))
        if any(oid.count("*") > self.oid.count("*") for oid in helpers):
            raise ValueError(f"point {self.name!r}: another OID has more '*' than the point's own")
        if self.writable and self.table in ("input", "discrete"):
            raise ValueError(f"point {self.name!r}: table {self.table!r} cannot be written")
        return self

    @property
    def is_bit(self) -> bool:
        """Whether the point is a Modbus coil or discrete input."""
        return self.table in ("coil", "discrete")

    @property
    def is_template(self) -> bool:
        """Whether the device is asked first: for the instances that ``*`` stands for, or for a scale of its own."""
        asks = self.decimals_oid or self.divisor_oid or self.where or self.fahrenheit or self.only
        addresses = (self.oid, self.resource, self.pointer, self.file, self.sensor)
        by_label = self.query and "{" in self.name  # prometheus: a point for each series
        return any("*" in address for address in addresses) or bool(asks or by_label)

    def instance(self, met: Sequence[str], **address: str) -> ProfilePoint:
        """The point of one instance: ``met`` is what each ``*`` met, ``address`` the fields without ``*``."""
        fill = {f"{{{number}}}": text for number, text in enumerate(met, start=1)}
        texts = {key: getattr(self, key) for key in ("name", "description")}
        for mark, text in fill.items():
            texts = {key: value.replace(mark, text) for key, value in texts.items()}
        return type(self).model_validate({**self.model_dump(), **texts, **address})

    @property
    def width(self) -> int:
        """Number of Modbus registers, or bits, that the point takes."""
        return 1 if self.is_bit else REGISTERS[self.type]

    def decode(self, raw: float | None) -> tuple[float | None, Quality]:
        """Value in ``unit`` and its quality; None where the device has none (a sentinel, not a number)."""
        if raw is None or not math.isfinite(raw) or raw in self.sentinels:
            return None, Quality.BAD
        value = raw * self.scale + self.offset
        low = -math.inf if self.valid_min is None else self.valid_min
        high = math.inf if self.valid_max is None else self.valid_max
        return value, Quality.GOOD if low <= value <= high else Quality.UNCERTAIN

    def encode(self, value: float) -> float:
        """The raw value for ``value`` in ``unit``; not yet rounded to the register's type."""
        return (value - self.offset) / self.scale

    def point_of(self, device_name: str) -> Point:
        """The point as the rest of the product knows it."""
        return Point(
            name=f"{device_name}/{self.name}",
            kind=self.kind,
            unit=self.unit,
            equipment=device_name,
            description=self.description,
            writable=self.writable,
            min=self.min,
            max=self.max,
            max_step=self.max_step,
            rollover=None if self.rollover is None else self.rollover * self.scale,
            max_rate_per_s=self.max_rate_per_s,
            may_be_unset=self.null_lifts or self.sensor == "dcmi:limit",
        )


def copies(entry: Any) -> list[Any]:
    """``repeat = 24`` makes 24 points: ``{n}`` becomes 1 to 24, and the address grows by ``step`` registers a point."""
    if not isinstance(entry, dict) or "repeat" not in entry:
        return [entry]
    repeat, step = entry["repeat"], entry.get("step", 0)
    if not isinstance(repeat, int) or not 1 <= repeat <= 1000 or not isinstance(step, int):
        raise ValueError(f"point {entry.get('name')!r}: repeat is 1 to 1000, step a number of registers")
    if "{n}" not in str(entry.get("name")):
        raise ValueError(f"point {entry.get('name')!r}: a repeated point needs {{n}} in its name")
    return [_copy(entry, number, step) for number in range(1, repeat + 1)]


def _copy(entry: dict[str, Any], number: int, step: int) -> dict[str, Any]:
    copy: dict[str, Any] = {
        key: value.replace("{n}", str(number)) if isinstance(value, str) else value
        for key, value in entry.items()
        if key not in ("repeat", "step")
    }
    if "address" in copy:
        copy["address"] += (number - 1) * step
    return copy


_ADDRESS: Mapping[str, str] = {
    "modbus": "address",
    "snmp": "oid",
    "redfish": "resource",
    "bacnet": "object",
    "prometheus": "query",
    "hwmon": "file",
    "ipmi": "sensor",
}


def check_address(point: ProfilePoint, protocol: str) -> None:
    """Raise ValueError where the point's address is not one of ``protocol``."""
    wanted = _ADDRESS[protocol]
    given = {field for field in _ADDRESS.values() if getattr(point, field) not in (None, "")}
    if given != {wanted}:
        got = ", ".join(sorted(given)) or "none"
        raise ValueError(f"point {point.name!r}: {protocol} needs {wanted!r} as its address and no other, got {got}")
    if point.exponent_address is not None and (protocol != "modbus" or point.table != "holding"):
        raise ValueError(f"point {point.name!r}: 'exponent_address' belongs to Modbus holding registers")
    if point.address is not None and point.address + point.width > 65536:
        raise ValueError(f"point {point.name!r}: reaches beyond the last register")
    if (protocol == "redfish") != point.pointer.startswith("/"):
        raise ValueError(f"point {point.name!r}: redfish, and no other, has a 'pointer' that begins with '/'")
    if protocol != "redfish" and (point.only or point.words or point.null_lifts):
        raise ValueError(f"point {point.name!r}: 'only', 'words' and 'null_lifts' belong to redfish")
    if protocol != "prometheus" and point.time_query:
        raise ValueError(f"point {point.name!r}: 'time_query' belongs to prometheus")
