"""How one device is given back: released, or set to what stood there before where it knows no other way."""

from __future__ import annotations

from collections.abc import Sequence

from facility.errors import EcoError, ReleaseUnknown
from facility.journal import Journal
from facility.records import Actuator, Command
from facility.written import compare


async def release(actuator: Actuator, points: Sequence[str], journal: Journal, tolerance: float) -> dict[str, str]:
    """Release what has no former value to go back to, where the family goes back to one; else release all.

    ``tolerance`` is that of a read-back. Returns the points that could not be given back, with the reason.
    """
    is_restored = getattr(actuator, "restores", False)
    former = [point for point in points if is_restored and journal.before(point) is not None]
    rest = [point for point in points if point not in former]
    kept = await _restore(actuator, former, journal, tolerance)
    try:
        if rest:
            await actuator.release(rest)
    except ReleaseUnknown:
        kept |= await _restore(actuator, rest, journal, tolerance)
    return kept


async def _restore(actuator: Actuator, points: Sequence[str], journal: Journal, tolerance: float) -> dict[str, str]:
    """Write what stood there before, or the nearest that the device takes, and read it back."""
    kept: dict[str, str] = {}
    for point in points:
        before = journal.before(point)
        if before is None:
            kept[point] = "what stood there before is not known: set it by hand to what the building wants"
            continue
        wanted = Command(point, before, actuator.points[point].unit, "what stood there before")
        allowed = actuator.check(wanted).value
        command = Command(point, before if allowed is None else allowed, wanted.unit, wanted.reason)
        try:
            await actuator.write(command)
            compare(command, await actuator.read_back(command), tolerance)
        except EcoError as error:
            kept[point] = str(error)
    return kept
