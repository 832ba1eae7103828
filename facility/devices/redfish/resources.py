"""What a Redfish resource says: pointers into it, numbers, limits, actions and messages.

Nothing here raises: whatever JSON a device sends is a value, None (no value now) or ABSENT (no such thing).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from facility.devices.base import ABSENT, Absent
from facility.profile_point import ProfilePoint

Json = Any  # what json.loads gives

# Status.State (Redfish Resource schema) of what measures nothing now, whatever number stands beside it.
SILENT_STATES = ("Disabled", "StandbyOffline", "UnavailableOffline", "Deferring")
_SELECTOR = re.compile(r"\[([^=\]]+)=(.*)\]", re.DOTALL)
_INDEX = re.compile(r"0|[1-9]\d{0,8}", re.ASCII)
_UNSAFE = re.compile(r"[^a-z0-9]+")
_SHOWN_MESSAGES = 3
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Member:
    """One instance of a pointer with ``*``: what each ``*`` met, the pointer without, the innermost member met."""

    met: tuple[str, ...]
    pointer: str
    body: Json


def safe_name(text: str) -> str:
    """An identifier of the device as a part of a point name: ``HGX_GPU_0`` is ``hgx-gpu-0``."""
    return _UNSAFE.sub("-", text.lower()).strip("-") or "unnamed"


def split(pointer: str) -> tuple[str, ...]:
    """The tokens of a JSON pointer (RFC 6901)."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def node_at(body: Json, tokens: Sequence[str]) -> Json | Absent:
    """What the tokens lead to; ``[Name=Inlet]`` is the one member of an array whose Name is so."""
    for token in tokens:
        if isinstance(body, dict):
            body = body.get(token, ABSENT)
        elif isinstance(body, list):
            position = position_of(body, token)
            body = ABSENT if position is None else body[position]
        else:
            return ABSENT
    return body


def position_of(members: Sequence[Json], token: str) -> int | None:
    """Index of the member that a token means: a number, or a selector that exactly one member meets."""
    selector = _SELECTOR.fullmatch(token)
    if selector is None:
        return int(token) if _INDEX.fullmatch(token) and int(token) < len(members) else None
    key, wanted = selector.groups()
    met = [index for index, member in enumerate(members) if isinstance(member, dict) and member.get(key) == wanted]
    return met[0] if len(met) == 1 else None


def number_at(body: Json, point: ProfilePoint) -> float | Absent | None:
    """The point's raw value; None where there is none now, ABSENT where the device has no such thing.

    The innermost Status on the way counts: a sensor that is not there reports 0 on some firmwares.
    """
    found = node_at(body, split(point.pointer))
    state = _state_on_the_way(body, split(point.pointer))
    if found is ABSENT or state == "Absent" or (found is None and point.null_lifts):
        return ABSENT
    if state in SILENT_STATES and not point.words and not point.writable:
        return None
    return number(found, point.words)


def number(found: Json, words: Mapping[str, float]) -> float | None:
    """A finite number, a flag as 0 or 1, or the number that a word stands for; None for anything else."""
    if isinstance(found, str):
        return words.get(found)
    if not isinstance(found, int | float):
        return None
    try:
        value = float(found)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def exists(body: Json, point: ProfilePoint) -> bool:
    """Whether the device has the property, be it null, on something that is there."""
    tokens = split(point.pointer)
    return node_at(body, tokens) is not ABSENT and _state_on_the_way(body, tokens) != "Absent"


def _state_on_the_way(body: Json, tokens: Sequence[str]) -> str | None:
    state = None
    for depth in range(len(tokens) + 1):
        status = node_at(body, (*tokens[:depth], "Status", "State"))
        state = status if isinstance(status, str) else state
    return state


# Arrays ---------------------------------------------------------------------------------------------------------------


def expand(body: Json, pointer: str) -> list[Member]:
    """Every instance of a pointer whose tokens ``*`` or ``*Key`` stand for the members of an array.

    A member is known by its Key (``*`` alone: MemberId) where that is a text of its own, else by its place.
    """
    tokens = pointer.split("/")[1:]
    return [
        Member(tuple(met), "".join(f"/{token}" for token in walked), inner)
        for met, walked, inner in _expand(body, tokens, body)
    ]


def _expand(body: Json, tokens: Sequence[str], inner: Json) -> list[tuple[list[str], list[str], Json]]:
    for place, token in enumerate(tokens):
        if not token.startswith("*"):
            continue
        before, after = list(tokens[:place]), tokens[place + 1 :]
        members = node_at(body, split("".join(f"/{token}" for token in before)))
        if not isinstance(members, list):
            return []
        return [
            ([name, *met], [*before, mark, *walked], deepest)
            for (name, mark), member in zip(_labels(members, token[1:] or "MemberId"), members, strict=True)
            for met, walked, deepest in _expand(member, after, member)
        ]
    return [([], list(tokens), inner)]


def _labels(members: Sequence[Json], key: str) -> list[tuple[str, str]]:
    """Name and pointer token of each member."""
    said = [member.get(key) if isinstance(member, dict) else None for member in members]
    labels = []
    for index, text in enumerate(said):
        if not isinstance(text, str) or not text:
            labels.append((str(index), str(index)))
        elif said.count(text) == 1:
            labels.append((text, f"[{key}={text.replace('~', '~0').replace('/', '~1')}]"))
        else:
            labels.append((f"{text}-{index}", str(index)))
    return labels


def passes(body: Json, only: Mapping[str, Sequence[str]]) -> bool:
    """Whether each property says one of the words that are wanted of it; a property that is not there says ""."""
    said = body if isinstance(body, dict) else {}
    return all(("" if said.get(key) is None else str(said[key])) in words for key, words in only.items())


# Settings -------------------------------------------------------------------------------------------------------------


def limits_at(body: Json, pointer: str) -> tuple[float | None, float | None]:
    """Lowest and highest raw value that the device itself allows at a setting; None where it does not say.

    Control and its excerpts: AllowableMin and AllowableMax beside the setting. Power (PowerControl): its capacity.
    """
    *way, last = split(pointer)
    if last == "LimitInWatts":
        capacity = number(node_at(body, [*way[:-1], "PowerCapacityWatts"]), {})
        return None, capacity if capacity else None  # some report a capacity of 0 for "not known"
    return number(node_at(body, [*way, "AllowableMin"]), {}), number(node_at(body, [*way, "AllowableMax"]), {})


def patch_of(body: Json, pointer: str, value: float | None) -> Json:
    """The smallest PATCH that sets one property; members of an array before it are left alone by ``{}`` (DSP0266).

    A Control that is switched off is switched on with its new setting.
    """
    tokens = split(pointer)
    content: Json = {tokens[-1]: _like(node_at(body, tokens), value)}
    if is_switched_off(body, pointer):
        allowed = node_at(body, (*tokens[:-1], "ControlMode@Redfish.AllowableValues"))
        modes = ("Automatic", "Manual", "Override")
        content["ControlMode"] = next((m for m in modes if isinstance(allowed, list) and m in allowed), modes[0])
    return _wrapped(body, tokens[:-1], content)


def is_switched_off(body: Json, pointer: str) -> bool:
    """Whether the Control of a setting is off: the setting alone would do nothing."""
    return bool(node_at(body, (*split(pointer)[:-1], "ControlMode")) == "Disabled")


def disabling_patch(body: Json, pointer: str) -> Json:
    """The PATCH that switches the Control off to which a setting belongs."""
    return _wrapped(body, split(pointer)[:-1], {"ControlMode": "Disabled"})


def _wrapped(body: Json, tokens: Sequence[str], content: Json) -> Json:
    for depth in reversed(range(len(tokens))):
        members = node_at(body, tokens[:depth])
        if isinstance(members, list):
            content = [{}] * (position_of(members, tokens[depth]) or 0) + [content]
        else:
            content = {tokens[depth]: content}
    return content


def _like(current: Json, value: float | None) -> float | int | None:
    """Whole numbers go out as such: many services refuse 500.0 where they say 500."""
    if value is None:
        return None
    return round(value) if value.is_integer() or (isinstance(current, int) and not isinstance(current, bool)) else value


# Links, actions, messages ---------------------------------------------------------------------------------------------


def link(body: Json, *way: str) -> str:
    """The path that a navigation property points to on the same service; empty where there is none."""
    path = node_at(body, (*way, "@odata.id"))
    return path if isinstance(path, str) and path.startswith("/") and not path.startswith("//") else ""


def members_of(body: Json) -> list[str]:
    """Paths of a collection's members on this page."""
    members = node_at(body, ("Members",))
    return [path for member in members if (path := link(member))] if isinstance(members, list) else []


def actions_of(body: Json) -> dict[str, dict[str, Json]]:
    """Actions of a resource by name, without the ``#``; those of vendors (Oem) too."""
    standard, vendors = node_at(body, ("Actions",)), node_at(body, ("Actions", "Oem"))
    return {
        name.removeprefix("#"): action
        for found in (standard, vendors)
        if isinstance(found, dict)
        for name, action in found.items()
        if isinstance(action, dict) and isinstance(action.get("target"), str)
    }


def messages_of(body: Json) -> str:
    """What a service says is wrong (``@Message.ExtendedInfo``), in its own words."""
    said = node_at(body, ("error", "@Message.ExtendedInfo"))
    if not isinstance(said, list):
        said = node_at(body, ("@Message.ExtendedInfo",))
    texts = [_text(message) for message in said[:_SHOWN_MESSAGES]] if isinstance(said, list) else []
    texts = [text for text in texts if text] or [_text({"Message": node_at(body, ("error", "message"))})]
    return "; ".join(texts)[:_SHOWN_CHARACTERS]


def message_ids(body: Json) -> str:
    """The identifiers of the same messages, for those that decide what to do next."""
    said = node_at(body, ("error", "@Message.ExtendedInfo"))
    return " ".join(str(node_at(message, ("MessageId",))) for message in said) if isinstance(said, list) else ""


def _text(message: Json) -> str:
    for key in ("Message", "MessageId"):
        text = node_at(message, (key,))
        if isinstance(text, str) and text:
            return text
    return ""
