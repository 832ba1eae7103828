"""Which instances a Redfish service has of a profile's templates: links are followed, paths are not guessed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from facility.devices.redfish.http import Answer
from facility.devices.redfish.resources import Json, exists, expand, link, members_of, passes, safe_name
from facility.devices.redfish.session import RedfishSession
from facility.profile_point import ProfilePoint

PAGES = 50  # of one collection: more is a service that goes in circles
_REPEATED = re.compile(r"\b([a-z]+)-\1(?=[-/0-9]|$)")  # "psu-psu-0", where the service itself says PSU_0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A resource on the way, and what each ``*`` met until there."""

    path: str
    met: tuple[str, ...] = ()


class Walk:
    """Follows templates; what came is kept until the walk is whole, so that one cut short goes on where it was."""

    def __init__(self, session: RedfishSession) -> None:
        self._session = session
        self._came: dict[str, Answer] = {}

    @property
    def answers(self) -> Iterable[Answer]:
        """What the service said on the way."""
        return self._came.values()

    async def expand(self, templates: Sequence[ProfilePoint]) -> list[ProfilePoint]:
        """Every instance, in the order of the templates and of the service; names that meet are told apart."""
        places = {pattern: await self._places(pattern) for pattern in dict.fromkeys(p.resource for p in templates)}
        await self._fetch(place.path for found in places.values() for place in found)
        found = [
            point
            for template in templates
            for place in places[template.resource]
            for point in self._at(place, template)
        ]
        return _told_apart(found)

    async def _places(self, pattern: str) -> list[Place]:
        """Resources that a path with ``*`` stands for; a link that a resource lacks ends the way."""
        segments = pattern.rstrip("/").split("/")[1:]
        stars = [index for index, segment in enumerate(segments) if "*" in segment]
        if not stars:
            return [Place(pattern)]
        places = [Place("/" + "/".join(segments[: stars[0]]))]
        for segment in segments[stars[0] :]:
            if "*" in segment:
                places = [step for place in places for step in _matching(place, await self._members(place), segment)]
            else:
                await self._fetch(place.path for place in places)
                linked = [(place, link(self._body(place.path), segment)) for place in places]
                places = [Place(path, place.met) for place, path in linked if path]
        return places

    async def _members(self, place: Place) -> list[str]:
        """Members of a collection, over all its pages."""
        members: list[str] = []
        page: str = place.path
        for _ in range(PAGES):
            await self._fetch([page])
            body = self._body(page)
            members += members_of(body)
            page = body.get("Members@odata.nextLink", "") if isinstance(body, dict) else ""
            if not isinstance(page, str) or not page.startswith("/"):
                break
        return members

    def _at(self, place: Place, template: ProfilePoint) -> list[ProfilePoint]:
        """Instances of one template in one resource; what the device lacks there is left out where it is optional."""
        body = self._body(place.path)
        instances = []
        for member in expand(body, template.pointer):
            if not passes(member.body, template.only):
                continue
            met = [safe_name(text) for text in (*place.met, *member.met)]
            point = template.instance(met, resource=place.path, pointer=member.pointer)
            if exists(body, point) or not template.optional:
                instances.append(point)
        return instances

    def _body(self, path: str) -> Json:
        answer = self._came.get(path)
        return answer.body if answer is not None and answer.is_resource else None

    async def _fetch(self, paths: Iterable[str]) -> None:
        await together(self._get(path) for path in dict.fromkeys(paths) if path not in self._came)

    async def _get(self, path: str) -> None:
        self._came[path] = await self._session.get(path)


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Results in order; the first failure ends the others and is raised as it is."""
    failed: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as failures:
        failed = failures.exceptions[0]
    if failed is not None:
        raise failed  # out here it keeps what it came from
    return [task.result() for task in tasks]


def _matching(place: Place, members: Iterable[str], segment: str) -> list[Place]:
    pattern = re.compile("(.+)".join(re.escape(part) for part in segment.split("*")))
    found = [(path, pattern.fullmatch(path.rstrip("/").rpartition("/")[2])) for path in members]
    return [Place(path, (*place.met, *match.groups())) for path, match in found if match]


def _told_apart(points: Sequence[ProfilePoint]) -> list[ProfilePoint]:
    """Identifiers that differ only in what a point name cannot hold get a number."""
    names: set[str] = set()
    apart = []
    for point in points:
        plain = _REPEATED.sub(r"\1", point.name)
        name, number = plain, 1
        while name in names:
            number += 1
            name = f"{plain}-{number}"
        names.add(name)
        apart.append(point if name == point.name else point.model_copy(update={"name": name}))
    return apart
