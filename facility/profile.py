"""A device family as data: address, scale, limits and sentinels of each point, and how control is given back."""

from __future__ import annotations

import math
from collections.abc import Iterable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from facility.errors import ConfigError
from facility.records import Point, Quality
from facility.site.base import StrictModel, load_toml, validate

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


class About(StrictModel):
    """What the profile is, and where its addresses come from."""

    name: str
    protocol: Literal["modbus", "snmp"]
    description: str = ""
    source: str


class Release(StrictModel):
    """How a device goes back to its own control.

    ``timeout``: it reverts when ``heartbeat_point`` has not changed for ``timeout_point`` minutes, and at once when
    ``release_value`` is written to ``release_point``. ``none``: it has no way of its own.
    """

    kind: Literal["timeout", "none"] = "none"
    heartbeat_point: str = ""
    timeout_point: str = ""
    release_point: str = ""
    release_value: float = 0.0

    @property
    def points(self) -> tuple[str, ...]:
        """Names of the points that serve the hand-over, in the profile's own words."""
        return (self.heartbeat_point, self.timeout_point, self.release_point) if self.kind == "timeout" else ()


class ProfilePoint(StrictModel):
    """One quantity: where it is, how its raw value is read, and what may be written to it.

    ``value = raw * scale + offset``, in ``unit``.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_./-]*$")
    kind: str
    unit: str
    description: str = ""
    address: int | None = Field(default=None, ge=0, le=65535)  # modbus: zero-based
    table: Table = "holding"
    type: RegisterType = "uint16"
    word_order: Literal["big", "little"] = "big"
    oid: str = Field(default="", pattern=r"^(\d+(\.\d+)+)?$")
    scale: float = 1.0
    offset: float = 0.0
    sentinels: tuple[float, ...] = ()  # raw values that mean "no value"
    writable: bool = False
    min: float | None = None
    max: float | None = None
    max_step: float | None = Field(default=None, gt=0)
    valid_min: float | None = None  # outside these the reading is uncertain
    valid_max: float | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.scale == 0:
            raise ValueError(f"point {self.name!r}: scale must not be 0")
        for low, high in ((self.min, self.max), (self.valid_min, self.valid_max)):
            if low is not None and high is not None and low > high:
                raise ValueError(f"point {self.name!r}: a minimum is above its maximum")
        if self.writable and self.table in ("input", "discrete"):
            raise ValueError(f"point {self.name!r}: table {self.table!r} cannot be written")
        return self

    @property
    def is_bit(self) -> bool:
        """Whether the point is a Modbus coil or discrete input."""
        return self.table in ("coil", "discrete")

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
        )


class Profile(StrictModel):
    """One profile file."""

    profile: About
    release: Release = Release()
    point: tuple[ProfilePoint, ...] = Field(min_length=1)

    @property
    def name(self) -> str:
        """The profile's name, also that of its file."""
        return self.profile.name

    @property
    def protocol(self) -> str:
        """The protocol that the addresses belong to."""
        return self.profile.protocol

    @model_validator(mode="before")
    @classmethod
    def _unroll(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("point"), list):
            return {**data, "point": [copy for entry in data["point"] for copy in _copies(entry)]}
        return data

    @model_validator(mode="after")
    def _complete(self) -> Self:
        names = [point.name for point in self.point]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"point names are used twice: {', '.join(twice)}")
        for point in self.point:
            _check_address(point, self.profile.protocol)
        _check_release(self.release, self.point)
        return self

    def points_of(self, device_name: str) -> dict[str, Point]:
        """The points of a device of this family, by full name."""
        points = (point.point_of(device_name) for point in self.point)
        return {point.name: point for point in points}


def _copies(entry: Any) -> list[Any]:
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


def _check_address(point: ProfilePoint, protocol: str) -> None:
    if protocol == "snmp":
        if not point.oid or point.address is not None:
            raise ValueError(f"point {point.name!r}: an snmp point has an 'oid' and no 'address'")
        return
    if point.address is None or point.oid:
        raise ValueError(f"point {point.name!r}: a modbus point has an 'address' and no 'oid'")
    if point.address + point.width > 65536:
        raise ValueError(f"point {point.name!r}: reaches beyond the last register")


def _check_release(release: Release, points: Iterable[ProfilePoint]) -> None:
    writable = {point.name for point in points if point.writable}
    for name in release.points:
        if not name:
            raise ValueError("[release] of kind 'timeout' needs heartbeat_point, timeout_point and release_point")
        if name not in writable:
            raise ValueError(f"[release] names {name!r}, which is not a writable point of this profile")


def shipped_profiles() -> tuple[str, ...]:
    """Names of the profiles that ship with the product."""
    folder = files("facility") / "profiles"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_profile(name_or_path: str | Path) -> Profile:
    """A shipped profile by name, or one of the user's by path (it ends in .toml); raises ConfigError."""
    text = str(name_or_path)
    if text.endswith(".toml"):
        path = Path(text).expanduser()
        return _named(validate(Profile, load_toml(path), path), path.stem, text)
    if text not in shipped_profiles():
        known = ", ".join(shipped_profiles())
        raise ConfigError(f"no profile {text!r}", where="profile", hint=f"a path ending in .toml, or one of: {known}")
    with as_file(files("facility") / "profiles" / f"{text}.toml") as shipped:
        where = f"facility/profiles/{text}.toml"
        return _named(validate(Profile, load_toml(shipped), where), text, where)


def _named(profile: Profile, stem: str, where: str) -> Profile:
    if profile.name != stem:
        raise ConfigError(f"key 'profile.name': must be the file's name {stem!r}, got {profile.name!r}", where=where)
    return profile
