"""What became of a command: written or not, and what was read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from facility.errors import EcoError, ReadBackError
from facility.records import Actuator, Command, Reading, Verdict

NO_ANSWER = "no answer within the deadline"


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a command: the verdict, and the value read back where something was written."""

    verdict: Verdict
    read_back: float | None = None
    error: str = ""
    answered: bool = True  # False where the device was silent


async def read_together(actuator: Actuator, verdicts: Sequence[Verdict], tolerance: float) -> list[Written]:
    """One look for all of them: a cluster tells of every job at once. ``tolerance`` is that of ``compare``."""
    readings = {one.point: one for one in await actuator.read([verdict.command.point for verdict in verdicts])}
    return [_read(verdict, readings.get(verdict.command.point), tolerance) for verdict in verdicts]


def _read(verdict: Verdict, reading: Reading | None, tolerance: float) -> Written:
    if reading is None:
        return Written(verdict, error="not read back: its actuator does not report it")
    try:
        compare(replace(verdict.command, value=verdict.value), reading, tolerance)
    except EcoError as error:
        return Written(verdict, error=str(error))
    return Written(verdict, read_back=reading.value)


def compare(command: Command, reading: Reading, tolerance: float) -> None:
    """Raise ReadBackError where the device does not report the value that was written."""
    wanted = command.value
    if wanted is not None and not is_close(wanted, reading.value, tolerance):
        raise ReadBackError(
            f"wrote {wanted:g}, the device reports {reading.value}",
            where=command.point,
            hint="check whether the point is locked locally or overridden",
        )


def is_close(wanted: float, found: float | None, tolerance: float) -> bool:
    """Whether ``found`` is ``wanted`` within a share of it, or absolute below 1."""
    return found is not None and abs(found - wanted) <= tolerance * max(abs(wanted), 1.0)
