"""What devices that a profile explains have in common: limits, and how control is given back."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Final

from facility.clock import Clock
from facility.errors import ConfigError, DeviceError, Reason, ReleaseUnknown
from facility.profile import Profile
from facility.profile_point import ProfilePoint
from facility.records import Command, Point, Quality, Reading, Verdict, VerdictKind

EXPAND_EVERY_S = 3600.0


def check_limits(points: Mapping[str, Point], command: Command) -> Verdict:
    """What a point's own description allows: writable, finite, clipped to its range."""
    point = points.get(command.point)
    if point is None:
        return Verdict(command, VerdictKind.REJECTED, None, "unknown_point", "the device has no such point")
    if not point.writable:
        return Verdict(command, VerdictKind.REJECTED, None, "not_writable", "the point is read only")
    if command.value is None:
        return Verdict(command, VerdictKind.ACCEPTED, None)
    if not math.isfinite(command.value):
        return Verdict(command, VerdictKind.REJECTED, None, "not_a_number", f"{command.value!r} is no value")
    low = -math.inf if point.min is None else point.min
    high = math.inf if point.max is None else point.max
    clipped = min(max(command.value, low), high)
    if clipped != command.value:
        detail = f"{command.value:g} is outside {low:g}..{high:g} {point.unit}"
        return Verdict(command, VerdictKind.CLIPPED, clipped, "range", detail)
    return Verdict(command, VerdictKind.ACCEPTED, command.value)


class Absent(Enum):
    """What a device says of a point that it does not have: no such object, no such register."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


class ProfileDevice(abc.ABC):
    """Base of the protocols that speak through a profile; a child reads and writes raw values."""

    def __init__(self, name: str, profile: Profile, clock: Clock, protocol: str) -> None:
        if profile.protocol != protocol:
            raise ConfigError(
                f"profile {profile.name!r} is for {profile.protocol}, the device speaks {protocol}", where=name
            )
        self.name = name
        self._profile = profile
        self._clock = clock
        self._points: dict[str, Point] = {}
        self._by_name: dict[str, ProfilePoint] = {}
        self._templates = tuple(point for point in profile.point if point.is_template)
        self._expanded_at: datetime | None = None
        self._adopt([])

    @property
    def points(self) -> Mapping[str, Point]:
        """Every point of this device, by name."""
        return self._points

    def _adopt(self, found: Sequence[ProfilePoint]) -> None:
        """Serve the profile's plain points and the ``found`` instances of its templates."""
        plain = [point for point in self._profile.point if not point.is_template]
        self._by_name = {f"{self.name}/{point.name}": point for point in (*plain, *found)}
        self._points = {name: point.point_of(self.name) for name, point in self._by_name.items()}

    async def _expand(self, templates: Sequence[ProfilePoint]) -> list[ProfilePoint]:
        """The instances that the device has of the profile's templates. Raises DeviceError."""
        raise DeviceError(f"{self._profile.protocol} has no points with '*'", where=self.name)

    @property
    def is_discovering(self) -> bool:
        """Whether the device has begun to say which points it has, and has not ended: the next read goes on with it."""
        return self._expanded_at is None and self._has_begun

    @property
    def _has_begun(self) -> bool:
        """Whether an unfinished ``_expand`` has had answers, which the next one need not ask for again."""
        return False

    async def _find_instances(self) -> None:
        """Look once an hour which instances there are: outlets, sensors and supplies come and go."""
        if not self._templates and not self._profile.described:
            return
        now = self._clock.now()
        if self._expanded_at is None or (now - self._expanded_at).total_seconds() > EXPAND_EVERY_S:
            self._adopt(await self._expand(self._templates))
            self._expanded_at = now

    @abc.abstractmethod
    async def _read_raw(self, wanted: Sequence[ProfilePoint]) -> Sequence[float | Absent | None]:
        """Raw values in the order of ``wanted``; None where the device has none, ABSENT where it says that it has no
        such point. Raises DeviceError.
        """

    @abc.abstractmethod
    async def _write_raw(self, point: ProfilePoint, raw: float) -> None:
        """Write one raw value; raises DeviceError."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Close connections; does not release."""

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        """Read some or all points, with the time at which the answer was complete; raises DeviceError."""
        await self._find_instances()
        names = list(self._by_name) if points is None else list(points)
        wanted = [self._explain(name) for name in names]
        raws = await self._read_raw(wanted)
        at = self._clock.now()
        if points is None and len(raws) != 1 and all(isinstance(raw, Absent) for raw in raws):
            raise DeviceError(
                f"unknown model: it has nothing of what the profile {self._profile.name!r} reads",
                where=self.name,
                hint="choose another profile; `eco site discover` may know which",
                reason=Reason.UNKNOWN_MODEL,
            )
        readings = []
        for name, point, raw in zip(names, wanted, raws, strict=True):
            if isinstance(raw, Absent):
                if point.optional and points is None:
                    continue
                raw = None
            value, quality = point.decode(raw)
            readings.append(Reading(name, value, point.unit, at, quality, self.name))
        return readings

    @property
    def restores(self) -> bool:
        """Whether what stood at a point is written back, where it is known: a limit that an operator had set stays."""
        return self._profile.release.kind == "value"

    def check(self, command: Command) -> Verdict:
        """Writable, finite and within the profile's limits; what is outside is clipped to them."""
        return check_limits(self._points, command)

    async def write(self, command: Command) -> None:
        """Send one command, which must be within limits; a value of None releases. Raises DeviceError."""
        if command.value is None:
            await self.release([command.point])
            return
        verdict = self.check(command)
        if verdict.kind is not VerdictKind.ACCEPTED:
            raise DeviceError(f"not written: {verdict.detail}", where=command.point)
        point = self._explain(command.point)
        await self._write_raw(point, point.encode(command.value))

    async def read_back(self, command: Command) -> Reading:
        """The value that the device now reports for the command's point."""
        (reading,) = await self.read([command.point])
        return reading

    async def release(self, points: Sequence[str] | None = None) -> None:
        """Give the device back to its own control; it is given back whole, whichever points are named.

        A device that takes no writes has nothing to give back. Raises DeviceError where its family knows no way.
        """
        concerned = [self._points[name] for name in (points or self._points) if name in self._points]
        if not any(point.writable for point in concerned):
            return
        release = self._profile.release
        if release.kind == "none" or not release.release_point:
            raise ReleaseUnknown(
                f"the profile {self._profile.name!r} knows no way to give control back",
                where=self.name,
                hint="set the points by hand to what the building wants",
            )
        flag = self._explain(f"{self.name}/{release.release_point}")
        await self._write_raw(flag, flag.encode(release.release_value))
        (raw,) = await self._read_raw([flag])
        value, quality = flag.decode(None if isinstance(raw, Absent) else raw)
        if quality is Quality.BAD or value != release.release_value:
            raise DeviceError(f"release was not taken: {flag.name} reports {value}", where=self.name)

    def _explain(self, name: str) -> ProfilePoint:
        point = self._by_name.get(name)
        if point is None:
            raise DeviceError("the device has no such point", where=name, hint=f"see profile {self._profile.name!r}")
        return point
