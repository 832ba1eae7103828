"""Priority arrays (ASHRAE 135, clause 19.2): commands in our slot, what overrides them, and emptying it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from facility.devices.bacnet.client import RefusedError
from facility.devices.bacnet.station import UNKNOWN_OBJECT, UNKNOWN_PROPERTY, Denied, ObjectId, Station
from facility.devices.bacnet.values import SLOTS, Property, like, nothing, number, same, slots

Array = list[float | None]  # 16 slots, the highest priority first; None: empty, NaN: no number


class NotCommandableError(Exception):
    """An object that cannot be commanded; says why."""


async def arrays(station: Station, targets: Sequence[ObjectId]) -> Mapping[ObjectId, Array | Denied]:
    """The priority array of each object, or why it has none."""
    answers = await station.read(targets, (Property.PRIORITY_ARRAY,))
    found: dict[ObjectId, Array | Denied] = {}
    for target in targets:
        answer = answers[target, Property.PRIORITY_ARRAY]
        values = answer if isinstance(answer, Denied) else slots(answer)
        found[target] = values if isinstance(values, Denied) or len(values) == SLOTS else Denied("not 16 slots")
    return found


async def put(station: Station, target: ObjectId, raw: float, priority: int) -> float:
    """Write ``raw`` in the object's own type; returns what was sent, which is rounded where that type is whole.

    Raises NotCommandableError, RefusedError.
    """
    answers = await station.read([target], (Property.PRESENT_VALUE,))
    sample = answers[target, Property.PRESENT_VALUE]
    if isinstance(sample, Denied):
        raise NotCommandableError(sample.code)
    try:
        value = like(sample, raw)
    except ValueError as error:
        raise NotCommandableError(str(error)) from error
    await station.write(target, value, priority)
    sent = number(list(value.encode().tagList))
    return raw if sent is None else sent


async def not_taken(station: Station, target: ObjectId, raw: float, priority: int) -> str:
    """Why a value that was written is not in command, in words; empty where it is."""
    array = (await arrays(station, [target]))[target]
    if isinstance(array, Denied):
        return f"its priority array cannot be read back: {array.code}"
    mine = array[priority - 1]
    if not same(mine, raw):
        return f"wrote {raw:g} at priority {priority}, that slot holds {'nothing' if mine is None else f'{mine:g}'}"
    higher = next((level for level, value in enumerate(array[: priority - 1], start=1) if value is not None), None)
    return "" if higher is None else f"overridden by priority {higher}, which holds {array[higher - 1]:g}"


async def relinquish(station: Station, targets: Sequence[ObjectId], priority: int) -> Mapping[ObjectId, str]:
    """Empty our slot in every object that holds one; what went wrong where, in words.

    An object without a priority array holds nothing of ours; of one that cannot be read nobody knows.
    """
    mine = priority - 1
    seen = await arrays(station, targets)
    problems = {
        target: f"its priority array cannot be read: {array.code}"
        for target, array in seen.items()
        if isinstance(array, Denied) and not has_none(array)
    }
    held = [target for target, array in seen.items() if _is_held(array, mine)]
    for target in held:
        try:
            await station.write(target, nothing(), priority)
        except RefusedError as said:
            if said.is_silence:
                raise
            problems[target] = str(said)
    for target, array in (await arrays(station, held)).items():
        if target not in problems and (isinstance(array, Denied) or array[mine] is not None):
            problems[target] = f"priority {priority} still holds a value"
    return problems


def has_none(denied: Denied) -> bool:
    """Whether the device says that the object, or its priority array, is not there."""
    return denied.code in (UNKNOWN_OBJECT, UNKNOWN_PROPERTY)


def _is_held(array: Array | Denied, mine: int) -> bool:
    return not isinstance(array, Denied) and array[mine] is not None
