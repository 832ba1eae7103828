"""BACnet property values as numbers: application-tagged data (ASHRAE 135, clause 20.2) and back."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from bacpypes3.primitivedata import Boolean, Double, Enumerated, Integer, Null, Real, Tag, TagClass, Unsigned

from facility.records import Quality

Tags = Sequence[Tag]
SLOTS = 16
NULL, BOOLEAN, UNSIGNED, INTEGER, REAL, DOUBLE, BIT_STRING, ENUMERATED, OBJECT_IDENTIFIER = 0, 1, 2, 3, 4, 5, 8, 9, 12
CHARACTER_STRING = 7
_WHOLE = {UNSIGNED: Unsigned, INTEGER: Integer, ENUMERATED: Enumerated}
_INSTANCE_BITS = 22


class Property(IntEnum):
    """Property identifiers that are read here (ASHRAE 135, clause 21)."""

    MAX_APDU_LENGTH_ACCEPTED = 62
    MODEL_NAME = 70
    OBJECT_IDENTIFIER = 75
    OBJECT_LIST = 76
    OBJECT_NAME = 77
    PRESENT_VALUE = 85
    PRIORITY_ARRAY = 87
    RELIABILITY = 103
    UNITS = 117
    STATUS_FLAGS = 111
    VENDOR_NAME = 121


@dataclass(frozen=True, slots=True)
class StatusFlags:
    """BACnetStatusFlags."""

    in_alarm: bool
    fault: bool
    overridden: bool
    out_of_service: bool


def content(value: Any) -> list[Tag]:
    """Tags of a property value (bacpypes3's Any), without the pair that encloses it in a message."""
    tags = list(value.tagList or ()) if value is not None else []
    if len(tags) > 1 and tags[0].tag_class == TagClass.opening and tags[-1].tag_class == TagClass.closing:
        return tags[1:-1]
    return tags


def number(tags: Tags) -> float | None:
    """The one number in ``tags``, whatever its type; None where there is none (Null, text, a list, nonsense)."""
    if len(tags) != 1 or tags[0].tag_class != TagClass.application:
        return None
    tag = tags[0]
    data = bytes(tag.tag_data)
    match tag.tag_number, len(data):
        case 1, _:  # Boolean: the value is in the tag itself
            return float(bool(tag.tag_lvt))
        case 4, 4:
            return float(struct.unpack(">f", data)[0])
        case 5, 8:
            return float(struct.unpack(">d", data)[0])
        case ((2 | 9), 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8):
            return float(int.from_bytes(data, "big"))
        case 3, 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8:
            return float(int.from_bytes(data, "big", signed=True))
        case _:
            return None


def flags(tags: Tags) -> StatusFlags | None:
    """Status flags; None where there are none."""
    if len(tags) != 1 or tags[0].tag_class != TagClass.application or tags[0].tag_number != BIT_STRING:
        return None
    data = bytes(tags[0].tag_data)  # the first octet counts the unused bits
    if len(data) < 2:
        return None
    return StatusFlags(*(bool(data[1] >> (7 - bit) & 1) for bit in range(4)))


def assess(value: Tags, status: Tags) -> tuple[float | None, Quality]:
    """A present value and the best quality that its status flags allow.

    In fault: no value, for the device itself does not stand by it. Overridden by hand or out of service: uncertain,
    for the value is no longer that of the field. In alarm: good, for it may well be true.
    """
    raw, said = number(value), flags(status)
    if said is None:
        return raw, Quality.GOOD
    if said.fault:
        return None, Quality.BAD
    return raw, Quality.UNCERTAIN if said.overridden or said.out_of_service else Quality.GOOD


def text(tags: Tags) -> str:
    """A character string in UTF-8; empty where there is none, or in another character set."""
    if len(tags) != 1 or tags[0].tag_class != TagClass.application or tags[0].tag_number != CHARACTER_STRING:
        return ""
    data = bytes(tags[0].tag_data)
    return data[1:].decode("utf-8", "replace").strip(" \0") if data[:1] == b"\0" else ""


def identifiers(tags: Tags) -> list[tuple[int, int]]:
    """Type and instance of each object identifier."""
    words = [
        int.from_bytes(bytes(tag.tag_data), "big")
        for tag in tags
        if tag.tag_class == TagClass.application and tag.tag_number == OBJECT_IDENTIFIER and len(tag.tag_data) == 4
    ]
    return [(word >> _INSTANCE_BITS, word & ((1 << _INSTANCE_BITS) - 1)) for word in words]


def instance(tags: Tags) -> int | None:
    """The instance number of an object identifier; None where there is none."""
    if len(tags) != 1 or tags[0].tag_class != TagClass.application or tags[0].tag_number != OBJECT_IDENTIFIER:
        return None
    data = bytes(tags[0].tag_data)
    return int.from_bytes(data, "big") & ((1 << _INSTANCE_BITS) - 1) if len(data) == 4 else None


def slots(tags: Tags) -> list[float | None]:
    """Values of a priority array, highest priority first; None where a slot is empty, NaN for what is no number."""
    found: list[float | None] = []
    depth = 0
    for tag in tags:
        if tag.tag_class == TagClass.opening:
            depth += 1
        elif tag.tag_class == TagClass.closing:
            depth -= 1
            if depth == 0:
                found.append(math.nan)  # a date or a structure
        elif depth == 0:
            empty = tag.tag_class == TagClass.application and tag.tag_number == NULL
            value = number([tag])
            found.append(None if empty else math.nan if value is None else value)
    return found


def like(sample: Tags, raw: float) -> Any:
    """``raw`` in the type that the object itself reports; raises ValueError where that is no number."""
    kind = sample[0].tag_number if number(sample) is not None else NULL
    if kind == REAL:
        return Real(raw)
    if kind == DOUBLE:
        return Double(raw)
    if kind == BOOLEAN:
        return Boolean(raw >= 0.5)
    if kind not in _WHOLE:
        raise ValueError("its present value is no number")
    if kind != INTEGER and raw < 0.0:
        raise ValueError(f"{raw:g} is below zero, the object holds none such")
    return _WHOLE[kind](round(raw))


def nothing() -> Any:
    """Null: written at a priority, it empties that slot."""
    return Null(())


def same(one: float | None, other: float) -> bool:
    """Whether two numbers are equal as far as a Real can tell."""
    return one is not None and math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)
