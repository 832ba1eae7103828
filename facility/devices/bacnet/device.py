"""BACnet/IP: batched reads with status flags, commands at our priority, and slots that are emptied again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from bacpypes3.primitivedata import ObjectType

from facility.clock import Clock
from facility.devices.bacnet import command
from facility.devices.bacnet.client import Client, RefusedError, join, leave, local_address, resolve
from facility.devices.bacnet.cov import Subscriptions
from facility.devices.bacnet.station import UNKNOWN_OBJECT, UNKNOWN_PROPERTY, Answers, Denied, ObjectId, Station
from facility.devices.bacnet.units import unit_error
from facility.devices.bacnet.values import Property, Tags, assess, number
from facility.devices.base import ABSENT, Absent, ProfileDevice
from facility.errors import ConfigError, DeviceError, DeviceTimeout, ReadBackError, Reason, network_reason
from facility.profile import Profile
from facility.profile_point import ProfilePoint
from facility.records import Quality, Reading
from facility.site import Bacnet, Device

log = logging.getLogger("eco.bacnet")

VALUE = (Property.PRESENT_VALUE, Property.STATUS_FLAGS, Property.RELIABILITY)
NO_FAULT = 0  # BACnetReliability
UNITS_AT_ONCE = 20  # objects whose unit is looked up between two chances to run out of time
PUSHES_KEPT = 10_000
LAST_INSTANCE = 4194302
GOODBYE_S = 1.0  # to end subscriptions; they end by themselves too
_processes = itertools.count(1)  # subscriber process numbers: one for each device of this program


class BacnetDevice(ProfileDevice):
    """One BACnet device. What is written stands in its objects' priority arrays until it is released."""

    def __init__(self, device: Device, profile: Profile, clock: Clock) -> None:
        super().__init__(device.name, profile, clock, "bacnet")
        if device.bacnet is None:
            raise ConfigError("a bacnet device needs a table 'bacnet' with its instance", where=device.name)
        self._device = device
        self._settings: Bacnet = device.bacnet
        self._objects = {point.name: object_of(point) for point in profile.point}
        self._turn_lock = asyncio.Lock()
        self._local: tuple[str, int] | None = None
        self._client: Client | None = None
        self._station: Station | None = None
        self._grades: dict[str, Quality] = {}  # by point: no reading is better than this
        self._unit_errors: dict[str, str] = {}  # by point, once looked up; empty: nothing is wrong
        self._is_commandable: dict[str, bool] = {}  # by point, learned with the first write
        lifetime_s, patience_s = self._settings.cov_lifetime_s, device.deadline_s / 4.0
        self._cov = Subscriptions(lifetime_s, patience_s, next(_processes), self._take_push) if lifetime_s else None
        self._pushed: deque[Reading] = deque(maxlen=PUSHES_KEPT)  # since the last read
        self._newest: dict[str, Reading] = {}
        self._polled_at: datetime | None = None

    @property
    def unit_errors(self) -> Mapping[str, str]:
        """What is wrong with the units of which points, in words; found out when they are first read."""
        return {name: error for name, error in self._unit_errors.items() if error}

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        """Read some or all points; raises DeviceError.

        With subscriptions, between polls: every change that was pushed since the last read, with its own time, and of
        what did not change the newest reading that is known. A silent device is noticed at the next poll.
        """
        if points is not None or self._cov is None:
            return await self._poll(points)
        now = self._clock.now()
        if self._polled_at is None or (now - self._polled_at).total_seconds() >= self._settings.cov_poll_s:
            fresh = await self._poll(None)
            self._polled_at = now
        else:
            others = [name for name in self._newest if self._cov.is_due(self._object_of(name))]
            fresh = await self._poll(others) if others else []
        pushed = list(self._pushed)
        self._pushed.clear()
        self._newest.update((reading.point, reading) for reading in fresh)
        told = {reading.point for reading in (*pushed, *fresh)}
        return [*(known for name, known in self._newest.items() if name not in told), *pushed, *fresh]

    async def _poll(self, points: Sequence[str] | None) -> list[Reading]:
        return [self._graded(reading) for reading in await super().read(points)]

    def _graded(self, reading: Reading) -> Reading:
        grade = self._grades.get(reading.point.removeprefix(f"{self.name}/"), Quality.GOOD)
        return replace(reading, quality=grade) if reading.quality is Quality.GOOD else reading

    async def _read_raw(self, wanted: Sequence[ProfilePoint]) -> list[float | Absent | None]:
        targets = list(dict.fromkeys(self._objects[point.name] for point in wanted))
        async with self._turn("read") as station:
            await self._look_up_units(station, wanted)
            answers = await station.read(targets, VALUE)
            if self._cov is not None:
                await self._cov.renew(station, targets)
        return [self._raw(point, answers) for point in wanted]

    def _raw(self, point: ProfilePoint, answers: Answers) -> float | Absent | None:
        value, status, reliability = (answers[self._objects[point.name], name] for name in VALUE)
        if isinstance(value, Denied):
            return ABSENT if value.code in (UNKNOWN_OBJECT, UNKNOWN_PROPERTY) else None
        is_reliable = isinstance(reliability, Denied) or number(reliability) in (None, NO_FAULT)
        raw = self._assess(point, value, () if isinstance(status, Denied) else status)
        return raw if is_reliable else None

    def _assess(self, point: ProfilePoint, value: Tags, status: Tags) -> float | None:
        raw, grade = assess(value, status)
        self._grades[point.name] = Quality.UNCERTAIN if self._unit_errors.get(point.name) else grade
        return raw

    def _take_push(self, target: ObjectId, value: Tags, status: Tags) -> None:
        at = self._clock.now()
        for point in self._profile.point:
            if self._objects[point.name] != target:
                continue
            known, quality = point.decode(self._assess(point, value, status))
            name = f"{self.name}/{point.name}"
            reading = self._graded(Reading(name, known, point.unit, at, quality, self.name))
            self._pushed.append(reading)
            self._newest[name] = reading

    async def _look_up_units(self, station: Station, points: Sequence[ProfilePoint]) -> None:
        """Compare each object's unit with the profile's, once; what was learned stays when time runs out."""
        fresh = [point for point in points if point.name not in self._unit_errors]
        for start in range(0, len(fresh), UNITS_AT_ONCE):
            part = fresh[start : start + UNITS_AT_ONCE]
            answers = await station.read([self._objects[point.name] for point in part], (Property.UNITS,))
            for point in part:
                answer = answers[self._objects[point.name], Property.UNITS]
                code = None if isinstance(answer, Denied) else number(answer)
                error = "" if code is None else unit_error(int(code), point.unit, point.scale, point.offset)
                self._unit_errors[point.name] = error
                if error:
                    log.warning("%s/%s: %s; its readings are uncertain", self.name, point.name, error)

    async def _write_raw(self, point: ProfilePoint, raw: float) -> None:
        """Write at our priority, then see that our slot holds it and that no higher one is in command."""
        target, where, priority = self._objects[point.name], f"{self.name}/{point.name}", self._settings.priority
        async with self._turn("write") as station:
            await self._look_up_units(station, [point])
            if self._unit_errors[point.name]:
                raise DeviceError(f"not written: {self._unit_errors[point.name]}", where=where, hint="mend the profile")
            if point.name not in self._is_commandable:
                found = (await command.arrays(station, [target]))[target]
                self._is_commandable[point.name] = not isinstance(found, Denied)
            is_commandable = self._is_commandable[point.name]
            if not is_commandable and self._is_ours_to_empty(point):
                raise DeviceError(
                    "not written: without a priority array it could not be given back", where=where, hint=point.object
                )
            try:
                sent = await command.put(station, target, raw, priority)
            except command.NotCommandableError as error:
                raise DeviceError(f"not written: {error}", where=where, hint=point.object) from error
            problem = await command.not_taken(station, target, sent, priority) if is_commandable else ""
            if problem:
                raise ReadBackError(problem, where=where)

    async def release(self, points: Sequence[str] | None = None) -> None:
        """Empty our slot in some or all writable points, and see that it is empty. Raises DeviceError.

        The device's hand-over flag, where the profile has one, goes back with the last of our slots.
        """
        release = self._profile.release
        if release.kind != "relinquish":
            await super().release(points)
            return
        named = set(self._points if points is None else points)
        ours = [name for name in self._points if self._is_ours_to_empty(self._by_name[name])]
        async with self._turn("release") as station:
            targets = [self._object_of(name) for name in ours if name in named]
            problems = await command.relinquish(station, targets, self._settings.priority)
        if problems:
            said = "; ".join(f"{_text(target)}: {problem}" for target, problem in problems.items())
            raise DeviceError(f"not released: {said}", where=self.name)
        if release.release_point and not await self.left_over():
            await super().release(points)

    async def left_over(self) -> Mapping[str, float]:
        """Values that stand at our priority, by point: after a crash, what an earlier run left in command."""
        ours = [name for name in self._points if self._is_ours_to_empty(self._by_name[name])]
        async with self._turn("scan of priority arrays") as station:
            arrays = await command.arrays(station, [self._object_of(name) for name in ours])
        found = {}
        for name in ours:
            array, point = arrays[self._object_of(name)], self._by_name[name]
            raw = None if isinstance(array, Denied) else array[self._settings.priority - 1]
            if raw is not None:
                found[name] = raw * point.scale + point.offset
        return found

    def _is_ours_to_empty(self, point: ProfilePoint) -> bool:
        """A command is emptied again; the points of the hand-over itself are not."""
        release = self._profile.release
        return point.writable and release.kind == "relinquish" and point.name not in release.points

    def _object_of(self, name: str) -> ObjectId:
        return self._objects[self._explain(name).name]

    @asynccontextmanager
    async def _turn(self, operation: str) -> AsyncIterator[Station]:
        """The device, known to be the right one and ours alone; after a failure it is looked for anew."""
        try:
            async with asyncio.timeout(self._device.deadline_s), self._turn_lock:
                try:
                    yield await self._reach()
                except (TimeoutError, asyncio.CancelledError, OSError):
                    self._forget()
                    raise
        except TimeoutError as error:
            raise DeviceTimeout(
                f"{operation}: no answer within {self._device.deadline_s:g} s", where=self._where()
            ) from error
        except RefusedError as said:
            if said.is_silence:
                self._forget()
                raise DeviceTimeout(f"{operation}: {said}", where=self._where()) from said
            raise DeviceError(f"{operation} refused: {said}", where=self._where()) from said
        except OSError as error:
            what = f"{operation} failed: {error}"
            raise DeviceError(what, where=self._where(), reason=network_reason(error)) from error

    async def _reach(self) -> Station:
        if self._station is not None:
            return self._station
        remote = await resolve(self._device.host, self._device.port)
        if self._client is None:
            self._local = local_address(self._settings.local_address, remote)
            self._client = await join(self._local, id(self))
        station = Station(self._client, remote)
        found = await station.identify(self._settings.instance)
        if found != self._settings.instance:
            said = "another one" if found is None else f"device instance {found}"
            raise DeviceError(
                f"{said} answers there, not {self._settings.instance}",
                where=self._where(),
                hint="see bacnet.instance",
                reason=Reason.WRONG_DEVICE,
            )
        if self._cov is not None:
            self._cov.listen(self._client, station)
        self._station = station
        return station

    def _forget(self) -> None:
        self._station, self._polled_at = None, None
        if self._cov is not None:
            self._cov.forget()

    def _where(self) -> str:
        return f"{self.name} (bacnet {self._device.host}:{self._device.port}, instance {self._settings.instance})"

    async def close(self) -> None:
        """End subscriptions and leave the client, which is closed where nobody else uses it; does not release."""
        local, client, station = self._local, self._client, self._station
        self._local, self._client = None, None
        if self._cov is not None and client is not None and station is not None:
            with contextlib.suppress(TimeoutError, RefusedError):
                async with asyncio.timeout(GOODBYE_S):
                    await self._cov.end(client, station)
        self._forget()
        if local is not None:
            await leave(local, id(self))


def object_of(point: ProfilePoint) -> ObjectId:
    """Type and instance of a point's object, "analog-value,3"; the type is a name of the standard or a number."""
    kind, _, number_ = point.object.partition(",")
    try:
        found = (int(ObjectType(int(kind) if kind.isdigit() else kind.strip())), int(number_))
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"point {point.name!r}: not an object: {point.object!r}", hint='as in "analog-value,3"'
        ) from error
    if not 0 <= found[1] <= LAST_INSTANCE:
        raise ConfigError(f"point {point.name!r}: an instance is 0 to {LAST_INSTANCE}, got {found[1]}")
    return found


def _text(target: ObjectId) -> str:
    return f"{ObjectType(target[0])},{target[1]}"
