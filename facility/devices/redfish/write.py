"""Writing over Redfish: settings with their version, actions, tasks, and the way back to the device's own control."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from facility.devices.base import ABSENT, Absent
from facility.devices.redfish.http import Answer, retry_after_s
from facility.devices.redfish.resources import (
    Json,
    actions_of,
    disabling_patch,
    is_switched_off,
    limits_at,
    link,
    members_of,
    node_at,
    number,
    number_at,
    patch_of,
    split,
)
from facility.devices.redfish.session import RedfishSession
from facility.errors import DeviceError, ReadBackError
from facility.profile_point import ProfilePoint

SYSTEMS = "/redfish/v1/Systems"
DONE = (200, 201, 202, 204)
TASK_POLL_S = 0.5
SHORTEST_POLL_S = 0.1
SETTLE_POLL_S = 0.25
TOLERANCE = 0.001  # share of the value: a service may round to its own resolution
FAILED_TASKS = ("Exception", "Killed", "Cancelled", "Interrupted", "Suspended")


class Writer:
    """Changes settings and calls actions; everything happens inside an operation of the session."""

    def __init__(self, session: RedfishSession) -> None:
        self._session = session
        self._switched_on: set[str] = set()  # resources whose control was off before we wrote
        self._before: dict[str, float | None] = {}  # limits that null lifts, as they were, by the point's name

    async def put(self, point: ProfilePoint, raw: float | None) -> None:
        """PATCH one setting and wait until it reads so; raises DeviceError, or ReadBackError where it does not."""
        where = f"{self._session.where} {point.name}"
        for is_last in (False, True):
            answer = await self._resource(point)
            self._check(point, raw, answer.body, where)
            if point.null_lifts:
                self._before.setdefault(point.name, number(node_at(answer.body, split(point.pointer)), {}))
            body = patch_of(answer.body, point.pointer, raw)
            done = await self._session.patch(point.resource, body, answer.etag)
            if done.status == 428 and not answer.etag:  # it wants a version and gives none
                done = await self._session.patch(point.resource, body, "*")
            if done.status != 412 or is_last:
                break
        if done.status not in DONE:
            raise self._session.refused(f"write {point.name}", done)
        if is_switched_off(answer.body, point.pointer):
            self._switched_on.add(point.resource)
        await self._finish(done)
        await self._settle(point, raw)

    async def _resource(self, point: ProfilePoint) -> Answer:
        answer = await self._session.get(point.resource)
        if not answer.is_resource:
            raise self._session.refused(f"read {point.resource}", answer)
        if node_at(answer.body, split(point.pointer)[:-1]) is ABSENT:
            hint = "see the profile's address"
            raise DeviceError(f"{point.resource} has no {point.pointer}", where=self._session.where, hint=hint)
        return answer

    def _check(self, point: ProfilePoint, raw: float | None, body: Json, where: str) -> None:
        low, high = limits_at(body, point.pointer)
        is_inside = (low is None or raw is None or raw >= low) and (high is None or raw is None or raw <= high)
        if not is_inside:
            allowed = f"{'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}"
            raise DeviceError(f"not written: {raw:g} is outside {allowed}, which the device allows", where=where)

    async def _settle(self, point: ProfilePoint, raw: float | None) -> None:
        """Until the setting reads as written: some services take a moment, some say yes and do nothing."""
        while True:
            reads = number_at((await self._session.get(point.resource)).body, point)
            if _is_taken(raw, reads):
                return
            if self._session.left_s < 2.0 * SETTLE_POLL_S:
                shown = f"{reads:g}" if isinstance(reads, float) else "nothing"
                wanted = "no limit" if raw is None else f"{raw:g}"
                hint = "check whether another controller holds it"
                where = f"{self._session.where} {point.name}"
                raise ReadBackError(f"wrote {wanted}, the device reports {shown}", where=where, hint=hint)
            await asyncio.sleep(SETTLE_POLL_S)

    async def act(self, name: str, target: str, body: Mapping[str, Json]) -> None:
        """POST an action and wait until it is done; raises DeviceError."""
        answer = await self._session.post(target, dict(body))
        if answer.status not in DONE:
            raise self._session.refused(name, answer)
        await self._finish(answer)

    async def _finish(self, answer: Answer) -> None:
        """Follow the monitor of a task (202) to its end; raises DeviceError where the task failed."""
        monitor = answer.where_to or link(answer.body)
        while answer.status == 202 and monitor:
            await asyncio.sleep(max(retry_after_s(answer, TASK_POLL_S), SHORTEST_POLL_S))
            answer = await self._session.get(monitor)
        if answer.status not in DONE and answer.status != 404:  # a monitor may be gone with its task
            raise self._session.refused("task", answer)
        state = node_at(answer.body, ("TaskState",))
        if state in FAILED_TASKS:
            raise DeviceError(f"the task ended as {state} {answer.said}", where=self._session.where)

    async def lift(self, point: ProfilePoint, actions: Sequence[str]) -> bool:
        """Give one setting back to the device; False where the device offers no way."""
        answer = await self._session.get(point.resource)
        if not answer.is_resource:
            if answer.status in (404, 410):
                return True  # it is not there any more
            raise self._session.refused(f"read {point.resource}", answer)
        if number_at(answer.body, point) is ABSENT:
            return True
        if point.null_lifts:
            return await self._put_back(point)
        offered = {**await self._mirror_actions(point), **actions_of(answer.body)}
        action = next((name for name in actions if name in offered), "")
        if action:
            await self.act(action, offered[action]["target"], {})
            await self._check_lifted(point)
            return True
        return await self._switch_off(point, answer)

    async def _put_back(self, point: ProfilePoint) -> bool:
        """A limit as it was before we wrote: somebody may have set one for a reason of his own."""
        if point.name not in self._before:
            return False
        await self.put(point, self._before[point.name])
        del self._before[point.name]
        return True

    async def _mirror_actions(self, point: ProfilePoint) -> dict[str, dict[str, Json]]:
        """Actions of the EnvironmentMetrics whose limit is this Control: some vendors have them only there."""
        chassis, found, _ = point.resource.rpartition("/Controls/")
        if not found:
            return {}
        body = (await self._session.get(f"{chassis}/EnvironmentMetrics")).body
        source = node_at(body, ("PowerLimitWatts", "DataSourceUri"))
        return actions_of(body) if source == point.resource else {}

    async def _check_lifted(self, point: ProfilePoint) -> None:
        """Where the device names its own setting, that must be in force again."""
        body = (await self._session.get(point.resource)).body
        own = number(node_at(body, (*split(point.pointer)[:-1], "DefaultSetPoint")), {})
        if own is not None and number_at(body, point) != own:
            await self._settle(point, own)

    async def _switch_off(self, point: ProfilePoint, answer: Answer) -> bool:
        """A control that was off before we wrote is switched off again."""
        if point.resource not in self._switched_on:
            return False
        done = await self._session.patch(point.resource, disabling_patch(answer.body, point.pointer), answer.etag)
        if done.status not in DONE:
            raise self._session.refused(f"release {point.name}", done)
        await self._finish(done)
        self._switched_on.discard(point.resource)
        return True

    async def reset(self, kind: str, system: str) -> None:
        """ComputerSystem.Reset of one system (its Id; empty: the only one) after a look at what it allows."""
        path = await self._system(system)
        body = (await self._session.get(path)).body
        action = actions_of(body).get("ComputerSystem.Reset")
        if action is None:
            raise DeviceError(f"{path} offers no reset", where=self._session.where)
        allowed = await self._reset_types(action)
        if allowed and kind not in allowed:
            raise DeviceError(f"no reset {kind!r}", where=self._session.where, hint=f"one of: {', '.join(allowed)}")
        await self.act(f"reset {kind}", action["target"], {"ResetType": kind})

    async def _system(self, system: str) -> str:
        paths = members_of((await self._session.get(SYSTEMS)).body)
        known = {path.rstrip("/").rpartition("/")[2]: path for path in paths}
        if system in known:
            return known[system]
        if not system and len(known) == 1:
            return paths[0]
        hint = f"one of: {', '.join(known) or 'none'}"
        raise DeviceError(f"which system is meant? {system!r}", where=self._session.where, hint=hint)

    async def _reset_types(self, action: Mapping[str, Json]) -> list[str]:
        allowed = action.get("ResetType@Redfish.AllowableValues")
        told = action.get("@Redfish.ActionInfo")
        if allowed is None and isinstance(told, str):
            parameters = node_at((await self._session.get(told)).body, ("Parameters",))
            allowed = node_at(parameters, ("[Name=ResetType]", "AllowableValues"))
        return [str(kind) for kind in allowed] if isinstance(allowed, list) else []


def _is_taken(wanted: float | None, reads: float | Absent | None) -> bool:
    if wanted is None or not isinstance(reads, float):
        return wanted is None and not isinstance(reads, float)
    return abs(reads - wanted) <= max(abs(wanted) * TOLERANCE, 0.5 if reads.is_integer() else 0.0)
