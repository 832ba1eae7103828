"""The last check before any actuator's write, device or cluster; nothing else calls ``write`` or ``release``.

A command passes these rules in order; each can reject it, and range and step can clip it:

1. ``unknown_point``  some actuator serves the point
2. ``not_a_number``   the value is finite
3. ``not_writable``   the point may be written at all
4. ``blind``          enough of the watched readings (rack inlets) are good and fresh
5. ``stale``          the point's own reading is good and fresh
6. ``range``          clipped to the point's limits
7. ``step``           clipped to the largest change one write may make, from the value measured now
8. what the actuator itself says
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from facility.errors import DeviceError, EcoError, GuardError, ReadBackError
from facility.records import Actuator, Command, Mode, Point, Reading, State, Verdict, VerdictKind


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """What the guard holds every write to."""

    max_age_s: float = 300.0
    watch: tuple[str, ...] = ()  # readings without which nothing is written to a device
    watch_share: float = 0.5  # at least this share of them must be good and fresh
    write_deadline_s: float = 5.0  # wall seconds for one write with its read-back
    read_back_tolerance: float = 0.02  # of the value, or absolute below 1


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a command: the verdict, and the value read back where something was written."""

    verdict: Verdict
    read_back: float | None = None
    error: str = ""


class Guard:
    """Checks commands against points, limits and the state, and alone hands them to the actuators."""

    def __init__(self, actuators: Sequence[Actuator], limits: GuardLimits, journal: Path) -> None:
        """``journal`` keeps the value that stood at each point before the first write; it survives a crash."""
        self._actuators = tuple(actuators)
        self._limits = limits
        self._journal = journal
        self._before: dict[str, float | None] = _read_journal(journal)

    @property
    def left_over(self) -> frozenset[str]:
        """Points that a run before this one wrote and did not give back."""
        return frozenset(self._before)

    def owner(self, point: str) -> Actuator | None:
        """The actuator that serves ``point``."""
        return next((actuator for actuator in self._actuators if point in actuator.points), None)

    def check(self, command: Command, state: State) -> Verdict:
        """The guard's word on ``command`` given what is known in ``state``; writes nothing."""
        actuator = self.owner(command.point)
        if actuator is None:
            return _rejected(command, "unknown_point", "no actuator serves this point")
        point = actuator.points[command.point]
        rejection = self._rejection(command, point, state)
        if rejection is not None:
            return rejection
        clipped = self._clip(command, point, state)
        said = actuator.check(replace(command, value=clipped.value))
        if said.kind is VerdictKind.REJECTED:
            return replace(said, command=command)
        if said.kind is VerdictKind.CLIPPED:
            return replace(said, command=command)
        return clipped

    def _rejection(self, command: Command, point: Point, state: State) -> Verdict | None:
        if command.value is not None and not math.isfinite(command.value):
            return _rejected(command, "not_a_number", f"{command.value!r} is no value")
        if not point.writable:
            return _rejected(command, "not_writable", "the profile marks this point as read only")
        if point.kind == "job" or command.value is None:
            return None  # a job is in the state or unknown to its actuator; giving back is always allowed
        return self._blind(command, state) or self._stale(command, state)

    def blindness(self, state: State) -> str:
        """Why too little can be seen to be in command, in words; empty where enough is seen."""
        watch = self._limits.watch
        seen = [name for name in watch if name in state.points and state.points[name].is_usable(self._limits.max_age_s)]
        if not watch or len(seen) >= self._limits.watch_share * len(watch):
            return ""
        return f"only {len(seen)} of {len(watch)} watched readings are good and fresh"

    def _blind(self, command: Command, state: State) -> Verdict | None:
        why = self.blindness(state)
        return _rejected(command, "blind", why) if why else None

    def _stale(self, command: Command, state: State) -> Verdict | None:
        reading = state.points.get(command.point)
        if reading is None:
            return _rejected(command, "stale", "the point was never read")
        if not reading.is_usable(self._limits.max_age_s):
            age = f"{reading.age_s:.0f} s old, quality {reading.quality.value}"
            return _rejected(
                command, "stale", f"its reading is {age}; at most {self._limits.max_age_s:.0f} s is allowed"
            )
        return None

    def _clip(self, command: Command, point: Point, state: State) -> Verdict:
        value, rule, detail = command.value, "", ""
        if value is None:
            return Verdict(command, VerdictKind.ACCEPTED, None)
        low = -math.inf if point.min is None else point.min
        high = math.inf if point.max is None else point.max
        if not low <= value <= high:
            rule, detail = "range", f"{value:g} is outside {low:g}..{high:g} {point.unit}"
            value = min(max(value, low), high)
        now = state.points.get(command.point)
        if point.max_step is not None and now is not None and now.value is not None:
            nearest = min(max(value, now.value - point.max_step), now.value + point.max_step)
            nearest = min(max(nearest, low), high)  # from outside its range a point is brought to the nearest end
            if nearest != value:
                rule = "step"
                detail = f"{value:g} is more than {point.max_step:g} {point.unit} from {now.value:g}"
                value = nearest
        kind = VerdictKind.CLIPPED if rule else VerdictKind.ACCEPTED
        return Verdict(command, kind, value, rule, detail)

    async def apply(self, commands: Iterable[Command], state: State, mode: Mode) -> list[Written]:
        """Check every command in turn; only in ACTIVE write what passed and read it back.

        A failing device costs its own command alone: the error is kept beside the verdict.
        """
        results = []
        for command in commands:
            verdict = self.check(command, state)
            if verdict.kind is VerdictKind.REJECTED or mode is not Mode.ACTIVE:
                results.append(Written(verdict))
            else:
                results.append(await self._write(verdict, state))
        return results

    async def _write(self, verdict: Verdict, state: State) -> Written:
        command = replace(verdict.command, value=verdict.value)
        actuator = self.owner(command.point)
        if actuator is None:
            raise GuardError("the actuator went away between check and write", where=command.point)
        self._remember(command.point, state)
        try:
            async with asyncio.timeout(self._limits.write_deadline_s):
                if command.value is None:
                    await actuator.release([command.point])
                    return Written(verdict)
                await actuator.write(command)
                reading = await actuator.read_back(command)
            self._compare(command, reading)
        except (EcoError, TimeoutError) as error:
            return Written(verdict, error=str(error) or "no answer within the deadline")
        return Written(verdict, read_back=reading.value)

    def _compare(self, command: Command, reading: Reading) -> None:
        wanted = command.value
        tolerance = self._limits.read_back_tolerance * max(abs(wanted or 0.0), 1.0)
        if wanted is not None and (reading.value is None or abs(reading.value - wanted) > tolerance):
            raise ReadBackError(
                f"wrote {wanted:g}, the device reports {reading.value}",
                where=command.point,
                hint="check whether the point is locked locally or overridden",
            )

    async def beat(self, commands: Iterable[Command], state: State) -> list[str]:
        """Send heartbeats and time-outs to devices under control; returns the errors, in words.

        A heartbeat holds setpoints that were decided earlier. Who sees too little must not hold them: then none is
        sent, and every device goes back to its own control when its time-out is over.
        """
        why = self.blindness(state)
        if why:
            return [f"no heartbeat is sent: {why}"]
        errors = []
        for command in commands:
            actuator = self.owner(command.point)
            if actuator is None or not actuator.points[command.point].writable:
                errors.append(f"{command.point}: not a writable point")
                continue
            try:
                async with asyncio.timeout(self._limits.write_deadline_s):
                    await actuator.write(command)
            except (DeviceError, TimeoutError) as error:
                errors.append(f"{command.point}: {error or 'no answer within the deadline'}")
        return errors

    async def hand_back(self) -> list[str]:
        """Give every device that was written back to its local control; returns the errors, in words."""
        errors = []
        for actuator in self._actuators:
            points = [point for point in self._before if point in actuator.points]
            if not points:
                continue
            try:
                async with asyncio.timeout(self._limits.write_deadline_s):
                    await actuator.release(points)
            except (EcoError, TimeoutError) as error:
                errors.append(f"{actuator.name}: {error or 'no answer within the deadline'}")
                continue
            for point in points:
                del self._before[point]
        _write_journal(self._journal, self._before)
        return errors

    def _remember(self, point: str, state: State) -> None:
        actuator = self.owner(point)
        if point in self._before or (actuator is not None and actuator.points[point].kind == "job"):
            return  # a job is not given back: it goes on as it is
        known = state.points.get(point)
        self._before[point] = None if known is None else known.value
        _write_journal(self._journal, self._before)


def _rejected(command: Command, rule: str, detail: str) -> Verdict:
    return Verdict(command, VerdictKind.REJECTED, None, rule, detail)


def _read_journal(path: Path) -> dict[str, float | None]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise GuardError(
            f"cannot read the journal of written points: {error}",
            where=str(path),
            hint="check the devices by hand, then delete the file",
        ) from error
    return {str(point): value for point, value in entries.items()}


def _write_journal(path: Path, before: Mapping[str, float | None]) -> None:
    """On disk before the write goes out, so that a crash cannot lose what stood there."""
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(before, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
