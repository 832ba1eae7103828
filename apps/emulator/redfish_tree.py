"""The resources of a Redfish service: a mapping of path to JSON, in which what is linked changes together."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from facility.errors import DataError

Json = Any
Way = tuple[str | int, ...]  # keys and indices from a resource to something in it
ROOT = "/redfish/v1"
CHASSIS = f"{ROOT}/Chassis"
# What a Control and its excerpts (copies with a DataSourceUri) say of the same setting.
SHARED = ("SetPoint", "SettingMin", "SettingMax", "ControlMode")
# Measured numbers: they change all the time and are no new version of a resource.
MEASURED = ("Reading", "SpeedRPM", "PowerConsumedWatts")
ON = ("On", "ForceOn", "ForceRestart", "GracefulRestart", "PowerCycle")
OFF = ("ForceOff", "GracefulShutdown", "PushPowerButton")


def normal(path: str) -> str:
    """A path without the slash at its end."""
    return path.rstrip("/") or "/"


class Tree:
    """Resources that can be read and written; whether a write is allowed is decided before."""

    def __init__(self, resources: Mapping[str, Json]) -> None:
        """Root and collection of chassis are added where they are missing: a capture may be of one chassis alone."""
        self.resources = {normal(path): copy.deepcopy(body) for path, body in resources.items()}
        chassis = [path for path in self.resources if path.startswith(CHASSIS + "/") and path.count("/") == 4]
        self.resources.setdefault(CHASSIS, collection(CHASSIS, "ChassisCollection", chassis))
        collections = {name: {"@odata.id": f"{ROOT}/{name}"} for name in ("Chassis", "Systems", "Managers")}
        known = {name: link for name, link in collections.items() if f"{ROOT}/{name}" in self.resources}
        self.resources.setdefault(
            ROOT,
            {
                "@odata.id": f"{ROOT}/",
                "@odata.type": "#ServiceRoot.v1_15_0.ServiceRoot",
                "Id": "RootService",
                "Name": "Root Service",
                "RedfishVersion": "1.15.0",
                **known,
                "Links": {"Sessions": {"@odata.id": f"{ROOT}/SessionService/Sessions"}},
            },
        )

    def get(self, path: str) -> Json:
        """One resource as it is now; None where there is none."""
        return self.resources.get(normal(path))

    def write(self, path: str, way: Way, value: Json) -> None:
        """Set one property; a Control and the excerpts of it change together."""
        self._set(path, way, value)
        if way[-1] not in SHARED:
            return
        source = _at(self.resources[path], way[:-1]).get("DataSourceUri", path)
        if source in self.resources and source != path:
            self._set(source, (way[-1],), value)
        for excerpt in self._excerpts(source):
            excerpt[str(way[-1])] = value
        self.changed(path)

    def _set(self, path: str, way: Way, value: Json) -> None:
        _at(self.resources[path], way[:-1])[way[-1]] = value

    def _excerpts(self, source: str) -> Iterator[dict[str, Json]]:
        for body in self.resources.values():
            for part in _objects(body):
                if part.get("DataSourceUri") == source and "SetPoint" in part:
                    yield part

    def changed(self, path: str) -> None:
        """A setting of this resource was changed; live trees act on it."""

    def act(self, name: str, path: str, body: Mapping[str, Json]) -> None:
        """An action of the resource at ``path``; parameters have been checked."""
        resource = self.resources[path]
        if name == "ComputerSystem.Reset":
            resource["PowerState"] = "Off" if body["ResetType"] in OFF else "On"
            self.changed(path)
            return
        for way in ((), ("PowerLimitWatts",)):  # ClearOOBSetPoint and ResetToDefaults
            setting = _at(resource, way)
            if isinstance(setting, dict) and "SetPoint" in setting:
                own = setting.get("DefaultSetPoint", setting.get("AllowableMax"))
                self.write(path, (*way, "SetPoint"), own)


def collection(path: str, kind: str, members: Iterable[str]) -> dict[str, Json]:
    """A collection of resources."""
    links = [{"@odata.id": member} for member in members]
    return {
        "@odata.id": path,
        "@odata.type": f"#{kind}.{kind}",
        "Name": path.rpartition("/")[2],
        "Members": links,
        "Members@odata.count": len(links),
    }


def etag(body: Json) -> str:
    """The version of a resource: that of everything but what is measured."""
    text = json.dumps(_without_measured(body), sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'


def load_capture(folder: Path) -> dict[str, Json]:
    """Every resource in the JSON files of a folder, by its own ``@odata.id``; raises DataError."""
    resources = {}
    for path in sorted(folder.rglob("*.json")):
        try:
            body = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"not a Redfish resource: {error}", where=str(path)) from error
        if isinstance(body, dict) and isinstance(body.get("@odata.id"), str):
            resources[normal(body["@odata.id"])] = body
    if not resources:
        raise DataError("no Redfish resources", where=str(folder), hint="a folder of JSON files with @odata.id")
    return resources


def actions_of(body: Json) -> dict[str, dict[str, Json]]:
    """Actions of a resource, by name."""
    actions = body.get("Actions", {}) if isinstance(body, dict) else {}
    offered = {**actions, **actions.get("Oem", {})}
    return {name.removeprefix("#"): action for name, action in offered.items() if name.startswith("#")}


def _at(body: Json, way: Sequence[str | int]) -> Json:
    for step in way:
        body = body.get(step) if isinstance(body, dict) else body[step]
        if body is None:
            return None
    return body


def _objects(body: Json) -> Iterator[dict[str, Json]]:
    if isinstance(body, dict):
        yield body
    parts = body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
    for part in parts:
        yield from _objects(part)


def _without_measured(body: Json) -> Json:
    if isinstance(body, dict):
        return {key: _without_measured(part) for key, part in body.items() if key not in MEASURED}
    return [_without_measured(part) for part in body] if isinstance(body, list) else body
