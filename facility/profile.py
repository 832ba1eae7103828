"""A device family as data: who it is, its points, and how control is given back."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from facility.errors import ConfigError
from facility.profile_point import ProfilePoint, check_address, copies
from facility.profile_snmp import Described, Identify
from facility.records import Point
from facility.site.base import StrictModel, load_toml, validate

Protocol = Literal["modbus", "snmp", "ipmi", "redfish", "bacnet", "prometheus", "hwmon"]


class About(StrictModel):
    """What the profile is, and where its addresses come from."""

    name: str
    protocol: Protocol
    description: str = ""
    source: str


class ModbusWays(StrictModel):
    """How a family wants to be asked over Modbus."""

    max_gap: int = Field(default=0, ge=0, le=124)  # registers of no point that one request may read through
    max_registers: int = Field(default=125, ge=2, le=125)  # in one request
    byte_order: Literal["big", "little"] = "big"  # within a register; the standard says big
    sunspec_models: tuple[int, ...] = ()  # addresses count from the ID register of the first of these models found


class Release(StrictModel):
    """How a device goes back to its own control.

    ``timeout``: it reverts when ``heartbeat_point`` has not changed for ``timeout_point`` minutes, and at once when
    ``release_value`` is written to ``release_point``. With ``timeout_point`` alone it reverts when nothing was said to
    it for so long; to give it back at once, what stood there before is written. ``none``: it has no way of its own.
    ``relinquish`` (BACnet): each point goes back by itself when our slot of its priority array is emptied; hand-over
    points, where the device has them too, go back with the last of our slots.
    ``action`` (Redfish): each point goes back by an action of its resource; a limit that null lifts, to what it was.
    ``value``: ``release_value`` written to ``release_point`` is all that it takes.
    """

    kind: Literal["relinquish", "timeout", "action", "value", "none"] = "none"
    actions: tuple[str, ...] = ()  # redfish: the first of these that the written resource offers
    heartbeat_point: str = ""
    active_point: str = ""  # reads 1 while the device obeys, where it says so
    timeout_point: str = ""
    release_point: str = ""
    release_value: float = 0.0

    @property
    def points(self) -> tuple[str, ...]:
        """Names of the points that serve the hand-over, in the profile's own words."""
        if self.kind not in ("timeout", "relinquish", "value"):
            return ()
        return tuple(name for name in (self.heartbeat_point, self.timeout_point, self.release_point) if name)


class Profile(StrictModel):
    """One profile file."""

    profile: About
    identify: Identify = Identify()
    release: Release = Release()
    modbus: ModbusWays = ModbusWays()
    point: tuple[ProfilePoint, ...] = ()
    described: tuple[Described, ...] = ()

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
            return {**data, "point": [copy for entry in data["point"] for copy in copies(entry)]}
        return data

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.point and not self.described:
            raise ValueError("a profile has at least one [[point]] or [[described]]")
        if self.described and self.profile.protocol != "snmp":
            raise ValueError("[[described]] is for snmp")
        names = [point.name for point in self.point if not point.only]  # with it they are alternatives
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"point names are used twice: {', '.join(twice)}")
        for point in self.point:
            check_address(point, self.profile.protocol)
        _check_release(self.release, self.point)
        if self.release.kind == "relinquish" and self.profile.protocol != "bacnet":
            raise ValueError("[release] of kind 'relinquish' is for bacnet")
        if self.modbus != ModbusWays() and self.protocol != "modbus":
            raise ValueError(f"[modbus] belongs to profiles of that protocol, this one is for {self.protocol}")
        return self

    def points_of(self, device_name: str) -> dict[str, Point]:
        """The points that every device of this family has, by full name; templates are found out on the device."""
        points = (point.point_of(device_name) for point in self.point if not point.is_template)
        return {point.name: point for point in points}


def _check_release(release: Release, points: Iterable[ProfilePoint]) -> None:
    writable = {point.name for point in points if point.writable}
    is_whole = release.timeout_point and bool(release.heartbeat_point) == bool(release.release_point)
    if release.kind == "timeout" and not is_whole:
        raise ValueError(
            "[release] of kind 'timeout' needs heartbeat_point, timeout_point and release_point, or timeout_point alone"
        )
    if release.kind == "value" and not release.release_point:
        raise ValueError("[release] of kind 'value' needs release_point")
    for name in release.points:
        if name not in writable:
            raise ValueError(f"[release] names {name!r}, which is not a writable point of this profile")


def shipped_profiles() -> tuple[str, ...]:
    """Names of the profiles that ship with the product."""
    folder = files("facility") / "profiles"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_profile(name_or_path: str | Path) -> Profile:
    """A shipped profile by name, or one of the user's by path (it ends in .toml); raises ConfigError.

    The devices of a family share one profile: a thousand of them are thousands of points.
    """
    text = str(name_or_path)
    path = Path(text).expanduser()
    changed = path.stat() if text.endswith(".toml") and path.is_file() else None
    return _load(text, (changed.st_mtime_ns, changed.st_size) if changed else None)


@functools.lru_cache(maxsize=256)
def _load(text: str, changed: tuple[int, int] | None) -> Profile:  # ``changed``: a file that is new is read anew
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
