"""What a strict Redfish service lets be written, and how it says no (Base message registry, DSP2065)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from apps.emulator.redfish_tree import Json, Way

REGISTRY = "Base.1.18"
MODES = ("Automatic", "Override", "Manual", "Disabled")
# Writable properties of each type of resource; "#" stands for any member of an array.
WRITABLE: Mapping[str, tuple[Way, ...]] = {
    "Control": (("SetPoint",), ("SettingMin",), ("SettingMax",), ("ControlMode",)),
    "EnvironmentMetrics": (("PowerLimitWatts", "SetPoint"), ("PowerLimitWatts", "ControlMode")),
    "Power": (("PowerControl", "#", "PowerLimit", "LimitInWatts"),),
    "Chassis": (("AssetTag",), ("LocationIndicatorActive",)),
    "ComputerSystem": (("AssetTag",), ("LocationIndicatorActive",)),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One message of the registry."""

    key: str
    text: str

    def to_json(self) -> dict[str, Json]:
        """As a service sends it."""
        return {
            "@odata.type": "#Message.v1_1_1.Message",
            "MessageId": f"{REGISTRY}.{self.key}",
            "Message": self.text,
            "MessageSeverity": "Warning",
            "Resolution": "Correct the request and send it again.",
        }


def error_body(*problems: Problem) -> dict[str, Json]:
    """An error response with ExtendedInfo."""
    return {
        "error": {
            "code": f"{REGISTRY}.GeneralError",
            "message": "A general error has occurred. See ExtendedInfo for more information.",
            "@Message.ExtendedInfo": [problem.to_json() for problem in problems],
        }
    }


def type_of(resource: Json) -> str:
    """``Control`` for ``#Control.v1_3_0.Control``."""
    return str(resource.get("@odata.type", "")).removeprefix("#").partition(".")[0]


def is_writable(resource: Json) -> bool:
    """Whether anything of the resource can be written."""
    return type_of(resource) in WRITABLE


def leaves(patch: Json, way: Way = ()) -> Iterator[tuple[Way, Json]]:
    """Every property that a PATCH sets; ``{}`` in an array leaves a member alone."""
    if isinstance(patch, dict):
        for key, part in patch.items():
            yield from leaves(part, (*way, key))
    elif isinstance(patch, list):
        for index, part in enumerate(patch):
            yield from leaves(part, (*way, index))
    else:
        yield way, patch


def problems_of(resource: Json, patch: Json) -> list[Problem]:
    """All that is wrong with a PATCH; nothing of it is done where the list is not empty."""
    if not isinstance(patch, dict) or not patch:
        return [Problem("MalformedJSON", "The request body is not a JSON object with properties.")]
    return [problem for way, value in leaves(patch) if (problem := _problem(resource, way, value))]


def _problem(resource: Json, way: Way, value: Json) -> Problem | None:
    name = "/".join(str(step) for step in way)
    parent = _parent(resource, way)
    if parent is None or way[-1] not in parent:
        return Problem("PropertyUnknown", f"The property {name} is not in the list of valid properties.")
    general = tuple("#" if isinstance(step, int) else step for step in way)
    if general not in WRITABLE[type_of(resource)]:
        return Problem("PropertyNotWritable", f"The property {name} is a read-only property.")
    return _value_problem(resource, way, parent, value)


def _parent(resource: Json, way: Way) -> dict[str, Json] | None:
    for step in way[:-1]:
        if isinstance(resource, dict):
            resource = resource.get(str(step))
        elif isinstance(resource, list) and isinstance(step, int) and step < len(resource):
            resource = resource[step]
        else:
            return None
    return resource if isinstance(resource, dict) else None


def _value_problem(resource: Json, way: Way, parent: Mapping[str, Json], value: Json) -> Problem | None:
    last = way[-1]
    wrong_type = Problem("PropertyValueTypeError", f"The value {value!r} for {last} is of a different type.")
    if last == "ControlMode":
        known = isinstance(value, str) and value in MODES
        return (
            None if known else Problem("PropertyValueNotInList", f"The value {value!r} for {last} is not in the list.")
        )
    if last in ("AssetTag", "LocationIndicatorActive"):
        return None if isinstance(value, str if last == "AssetTag" else bool) else wrong_type
    if last == "LimitInWatts" and value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return wrong_type
    low, high = parent.get("AllowableMin"), parent.get("AllowableMax")
    if last == "LimitInWatts":
        low, high = 1, (_parent(resource, way[:-1]) or {}).get("PowerCapacityWatts")
    if (low is not None and value < low) or (high is not None and value > high):
        return Problem("PropertyValueOutOfRange", f"The value {value} for {last} is not in the range {low} to {high}.")
    return None
