"""Redfish (DSP0266): each resource is fetched once a read, however many points lie in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from facility.clock import Clock
from facility.devices.base import ABSENT, Absent, ProfileDevice
from facility.devices.redfish.http import Answer
from facility.devices.redfish.resources import Json, limits_at, number_at
from facility.devices.redfish.session import RedfishSession
from facility.devices.redfish.walk import Walk, together
from facility.devices.redfish.write import Writer
from facility.errors import ConfigError, DeviceError, Reason, ReleaseUnknown
from facility.profile import Profile
from facility.profile_point import ProfilePoint
from facility.site import Device

GONE = (404, 410)


class RedfishDevice(ProfileDevice):
    """One Redfish service: a BMC, or what manages a rack. The service's own limits narrow those of the profile."""

    def __init__(self, device: Device, profile: Profile, clock: Clock) -> None:
        super().__init__(device.name, profile, clock, "redfish")
        if device.http is None:
            raise ConfigError("a redfish device needs a table 'http'", where=device.name)
        self._session = RedfishSession(device, device.http)
        self._writer = Writer(self._session)
        self._walk: Walk | None = None

    async def _expand(self, templates: Sequence[ProfilePoint]) -> list[ProfilePoint]:
        self._walk = self._walk or Walk(self._session)
        async with self._session.operation("discover"):
            found = await self._walk.expand(templates)
        if not found and len(templates) == len(self._profile.point):
            self._raise_on_failures(self._walk.answers)
            raise self._unknown_model()
        self._walk = None
        return found

    @property
    def _has_begun(self) -> bool:
        return self._walk is not None and bool(self._walk.answers)

    async def _read_raw(self, wanted: Sequence[ProfilePoint]) -> list[float | Absent | None]:
        paths = list(dict.fromkeys(point.resource for point in wanted))
        async with self._session.operation("read"):
            answers = dict(zip(paths, await together(self._session.get(path) for path in paths), strict=True))
        if not any(answer.is_resource for answer in answers.values()):
            self._raise_on_failures(answers.values())
        raws = [_raw(answers[point.resource], point) for point in wanted]
        if len(wanted) == len(self._by_name) > 1 and all(raw is ABSENT for raw in raws):
            raise self._unknown_model()
        for point in wanted:
            if point.writable and answers[point.resource].is_resource:
                self._narrow(point, answers[point.resource].body)
        return raws

    def _raise_on_failures(self, answers: Iterable[Answer]) -> None:
        """One resource that fails costs its own points; where nothing came, the first failure is the device's."""
        for answer in answers:
            if not answer.is_resource and answer.status not in GONE:
                raise self._session.refused("read", answer)

    def _unknown_model(self) -> DeviceError:
        return DeviceError(
            f"unknown model: it has nothing of what the profile {self._profile.name!r} reads",
            where=self._session.where,
            hint="choose another profile",
            reason=Reason.UNKNOWN_MODEL,
        )

    def _narrow(self, point: ProfilePoint, body: Json) -> None:
        """Take over the range that the device allows now, inside that of the profile."""
        found = [limit if limit is None else point.decode(limit)[0] for limit in limits_at(body, point.pointer)]
        lows = [limit for limit in (found[0], point.min) if limit is not None]
        highs = [limit for limit in (found[1], point.max) if limit is not None]
        known = point.point_of(self.name)
        self._points[known.name] = replace(known, min=max(lows, default=None), max=min(highs, default=None))

    async def _write_raw(self, point: ProfilePoint, raw: float) -> None:
        async with self._session.operation("write"):
            await self._writer.put(point, raw)

    async def release(self, points: Sequence[str] | None = None) -> None:
        """Give the named settings, or all, back to the device itself; raises ReleaseUnknown where it has no way."""
        if self._profile.release.kind != "action":
            await super().release(points)
            return
        await self._find_instances()
        held = []
        async with self._session.operation("release"):
            for name, point in list(self._by_name.items()):
                is_meant = point.writable and (points is None or name in points)
                if is_meant and not await self._writer.lift(point, self._profile.release.actions):
                    held.append(point.name)
        if held:
            hint = "set them by hand to what the building wants"
            raise ReleaseUnknown(
                f"it knows no way to give back {', '.join(held)}", where=self._session.where, hint=hint
            )

    async def reset(self, kind: str, system: str = "") -> None:
        """Switch a computer system: On, GracefulShutdown, ForceOff... (ResetType), where the service allows it.

        ``system`` is its Id; it may be left out where there is one only. Raises DeviceError. Not repeated on failure.
        """
        async with self._session.operation("reset"):
            await self._writer.reset(kind, system)

    async def close(self) -> None:
        """Log out and close the connection; does not release."""
        self._walk = None
        await self._session.close()


def _raw(answer: Answer, point: ProfilePoint) -> float | Absent | None:
    if answer.is_resource:
        return number_at(answer.body, point)
    return ABSENT if answer.status in GONE else None
