"""SNMP through a profile; a SET is to be read back, for some agents acknowledge and change nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from facility.clock import Clock
from facility.devices.base import ABSENT, Absent, ProfileDevice
from facility.devices.snmp.agent import SnmpAgent
from facility.devices.snmp.expand import columns_of, instances_of, rows_of
from facility.devices.snmp.value import NO_VALUE, like, number_of, text_of
from facility.devices.snmp.walk import Walker
from facility.errors import DeviceError, Reason
from facility.profile import Profile
from facility.profile_point import ProfilePoint
from facility.site import Device, SnmpAuth

SYS_DESCR, SYS_OBJECT_ID = "1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0"


class SnmpDevice(ProfileDevice):
    """One SNMP agent. Writing needs v3, unless the site file allows it over v2c."""

    def __init__(self, device: Device, auth: SnmpAuth, profile: Profile, clock: Clock, *, pause_s: float = 0.0) -> None:
        super().__init__(device.name, profile, clock, "snmp")
        self._deadline_s = device.deadline_s
        self._may_write = auth.version == "3" or auth.allow_v2c_writes
        self._agent = SnmpAgent(device.name, device.host, device.port, auth, device.deadline_s, pause_s=pause_s)
        self._walker = Walker(self._agent.bulk, self._agent.where)

    async def _read_raw(self, wanted: Sequence[ProfilePoint]) -> list[float | Absent | None]:
        oids = dict.fromkeys(oid for point in wanted for oid in _oids_of(point))
        values = dict(zip(oids, await self._agent.get(list(oids)), strict=True))
        raws = [_raw_of(point, values) for point in wanted]
        if len(raws) > 1 and all(isinstance(raw, Absent) for raw in raws):
            raise await self._unknown_model()
        return raws

    async def _find_instances(self) -> None:
        """As every device; but what was found before is served while the hourly look goes on, a part a read."""
        if self._expanded_at is None:
            await super()._find_instances()
            return
        with contextlib.suppress(TimeoutError, DeviceError):
            async with asyncio.timeout(self._deadline_s / 2):
                await super()._find_instances()

    async def _expand(self, templates: Sequence[ProfilePoint]) -> list[ProfilePoint]:
        """Walks the columns of templates and described tables. A call that is cut off is taken up by the next one."""
        columns, scalars = columns_of(templates, self._profile.described)
        values: dict[str, Any] = dict(zip(scalars, await self._agent.get(scalars), strict=True))
        for prefix in columns:
            rows = await self._walker.column(prefix)
            values.update((f"{prefix}.{rest}", value) for rest, value in rows.items())
        self._walker.forget()
        found = [point for template in templates for point in instances_of(template, values)]
        found += [point for table in self._profile.described for point in rows_of(table, values)]
        if not found and not any(not point.is_template for point in self._profile.point):
            raise await self._unknown_model()
        return found

    @property
    def _has_begun(self) -> bool:
        return self._walker.has_begun

    async def _unknown_model(self) -> DeviceError:
        """The agent answers and has none of the profile's points."""
        descr, object_id = await self._agent.get([SYS_DESCR, SYS_OBJECT_ID])
        said = text_of(descr) or "nothing"
        return DeviceError(
            f"unknown model: none of the points of profile {self._profile.name!r} is there",
            where=self._agent.where,
            hint=f"the agent says of itself {said!r}, {object_id}; find its profile with `eco site discover`",
            reason=Reason.UNKNOWN_MODEL,
        )

    async def _write_raw(self, point: ProfilePoint, raw: float) -> None:
        """SET with the type that the agent itself reports for the object."""
        if not self._may_write:
            raise DeviceError(
                "writing over SNMP v2c is off: it sends the community in clear",
                where=f"{self.name}/{point.name}",
                hint="use version 3, or set allow_v2c_writes",
            )
        (current,) = await self._agent.get([point.oid])
        if current is None or isinstance(current, NO_VALUE):
            raise DeviceError("the agent has no such object", where=f"{self.name}/{point.name}", hint=point.oid)
        try:
            value = like(current, raw)
        except ValueError as error:
            raise DeviceError(f"not written: {error}", where=f"{self.name}/{point.name}") from error
        await self._agent.set(point.oid, value)

    async def close(self) -> None:
        """Leave the agent; does not release."""
        await self._agent.close()


def _oids_of(point: ProfilePoint) -> tuple[str, ...]:
    return (point.oid,) if point.status is None else (point.oid, point.status.oid)


def _raw_of(point: ProfilePoint, values: dict[str, Any]) -> float | Absent | None:
    value = values[point.oid]
    if isinstance(value, NO_VALUE):
        return ABSENT
    if point.status is not None and not point.status.passes(number_of(values[point.status.oid])):
        return None
    return number_of(value)
