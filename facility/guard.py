"""The last check before any actuator's write, device or cluster; nothing else calls ``write`` or ``release``.

The rules are in ``facility.checks``. Only in ACTIVE is anything written. Control is held by heartbeats, which are sent
to a device only while its setpoints are being decided anew; giving back is allowed in every mode and at any time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from facility.checks import Checks, GuardLimits
from facility.errors import DeviceTimeout, EcoError, GuardError, ReadBackError, ReleaseUnknown
from facility.journal import Journal
from facility.records import Actuator, Command, Mode, Reading, State, Verdict, VerdictKind

log = logging.getLogger("eco.guard")

NO_ANSWER = "no answer within the deadline"


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a command: the verdict, and the value read back where something was written."""

    verdict: Verdict
    read_back: float | None = None
    error: str = ""
    answered: bool = True  # False where the device was silent


class Guard:
    """Checks commands against points, limits and the state, and alone hands them to the actuators."""

    def __init__(self, actuators: Sequence[Actuator], limits: GuardLimits, journal: Journal, mode: Mode) -> None:
        self._actuators = tuple(actuators)
        self._limits = limits
        self.checks = Checks(actuators, limits)
        self._journal = journal
        self._mode = mode
        self._is_closed = False
        self._turns = {actuator.name: asyncio.Lock() for actuator in actuators}
        self._decided_at: dict[str, datetime] = {}  # by point: when it was last written by a decision
        self._known_since: dict[str, datetime] = {}  # by point that an earlier run left: when this one first saw it
        self._held: dict[str, tuple[float, datetime]] = {}  # by point: what was written, and when

    @property
    def left_over(self) -> frozenset[str]:
        """Points that were written, by this run or one before it, and not given back."""
        return self._journal.points

    def owner(self, point: str) -> Actuator | None:
        """The actuator that serves ``point``."""
        return self.checks.owner(point)

    def close(self) -> None:
        """From now on nothing is written any more; giving back still works."""
        self._is_closed = True

    async def survey(self) -> list[str]:
        """Ask the devices that can tell what an earlier run left in command; returns the errors, in words.

        The journal knows of most of it; a device's own priority array also knows where the journal was lost. Only in
        ACTIVE is what it holds taken for ours: another controller may write at the same priority.
        """
        askable = [actuator for actuator in self._actuators if hasattr(actuator, "left_over")]
        return [error for error in await asyncio.gather(*(self._ask(one) for one in askable)) if error]

    async def _ask(self, actuator: Actuator) -> str:
        try:
            async with asyncio.timeout(self._limits.write_deadline_s), self._turns[actuator.name]:
                found: Mapping[str, float] = await actuator.left_over()  # type: ignore[attr-defined]  # asked for above
        except Exception as error:
            return f"{actuator.name}: {str(error) or NO_ANSWER}"
        strangers = sorted(set(found) - self.left_over)
        if self._mode is not Mode.ACTIVE:
            return f"{actuator.name}: somebody commands {', '.join(strangers)} at our priority" if strangers else ""
        for point in strangers:
            self._journal.remember(point, None)
        return ""

    # Writing ------------------------------------------------------------------------------------------------------

    async def apply(self, commands: Iterable[Command], state: State) -> list[Written]:
        """Check every command; only in ACTIVE write what passed and read it back. Results come in the same order.

        The plant comes before the jobs: cooling leads the load. Actuators are written side by side, the commands of one
        in their order; one that fails costs its own commands alone, and is left in peace until the next tick.
        """
        verdicts = [self.checks.check(command, state) for command in commands]
        done = [Written(verdict) for verdict in verdicts]
        if self._mode is not Mode.ACTIVE:
            return done
        passed = [index for index, verdict in enumerate(verdicts) if verdict.kind is not VerdictKind.REJECTED]
        jobs = [index for index in passed if self._is_job(verdicts[index].command.point)]
        for phase in ([index for index in passed if index not in jobs], jobs):
            by_actuator: dict[str, list[int]] = {}
            for index in phase:
                actuator = self.owner(verdicts[index].command.point)
                if actuator is not None:
                    by_actuator.setdefault(actuator.name, []).append(index)
            await asyncio.gather(*(self._write_some(indices, done, state) for indices in by_actuator.values()))
        return done

    def _is_job(self, point: str) -> bool:
        actuator = self.owner(point)
        return actuator is not None and actuator.points[point].kind == "job"

    async def _write_some(self, indices: Sequence[int], done: list[Written], state: State) -> None:
        """Write the commands of one actuator in turn."""
        is_silent = False
        for index in indices:
            verdict = done[index].verdict
            if is_silent:
                done[index] = Written(verdict, error="not written: the device did not answer the command before")
                continue
            done[index] = await self._write(verdict, state)
            is_silent = not done[index].answered

    async def _write(self, verdict: Verdict, state: State) -> Written:
        command = replace(verdict.command, value=verdict.value)
        actuator = self._owner_of(command)
        if command.value is None:
            return await self._write_back(actuator, verdict)
        try:
            async with asyncio.timeout(self._limits.write_deadline_s), self._turns[actuator.name]:
                self._refuse_if_closed(command)
                self._remember(command.point, state)
                await actuator.write(command)
                reading = await actuator.read_back(command)
            self._compare(command, reading)
        except (TimeoutError, DeviceTimeout) as error:
            return Written(verdict, error=str(error) or NO_ANSWER, answered=False)
        except EcoError as error:
            return Written(verdict, error=str(error))
        except Exception as error:
            log.exception("%s: the write failed", command.point)
            return Written(verdict, error=repr(error))
        self.checks.moved(command.point, state)
        self._decided_at[command.point] = state.at
        self._held[command.point] = (command.value, state.at)
        return Written(verdict, read_back=reading.value)

    async def _write_back(self, actuator: Actuator, verdict: Verdict) -> Written:
        """A device is given back whole: what else was written to it goes with the point that was named."""
        if self._is_job(verdict.command.point):
            await actuator.release([verdict.command.point])
            return Written(verdict)
        points = [point for point in self.left_over if point in actuator.points]
        return Written(verdict, error=await self._give_back(actuator, points))

    def _remember(self, point: str, state: State) -> None:
        if not self._is_job(point):  # a job is not given back: it goes on as it is
            known = state.points.get(point)
            self._journal.remember(point, None if known is None else known.value)

    def _owner_of(self, command: Command) -> Actuator:
        actuator = self.owner(command.point)
        if actuator is None:
            raise GuardError("no actuator serves this point", where=command.point)
        return actuator

    def _refuse_if_closed(self, command: Command) -> None:
        if self._is_closed:
            raise GuardError("not written: control is being given back", where=command.point)

    def _compare(self, command: Command, reading: Reading) -> None:
        wanted = command.value
        if wanted is not None and not self._is_close(wanted, reading.value):
            raise ReadBackError(
                f"wrote {wanted:g}, the device reports {reading.value}",
                where=command.point,
                hint="check whether the point is locked locally or overridden",
            )

    def _is_close(self, wanted: float, found: float | None) -> bool:
        return found is not None and abs(found - wanted) <= self._limits.read_back_tolerance * max(abs(wanted), 1.0)

    # Holding ------------------------------------------------------------------------------------------------------

    async def beat(self, signs: Mapping[str, Sequence[Command]], state: State) -> list[str]:
        """Send each device under control its heartbeat and time-out; returns what went wrong, in words.

        ``signs`` are by device. A heartbeat holds setpoints that were decided earlier: none is sent by who sees too
        little, nor to a device whose setpoints were not decided anew for ``hold_s`` or stem from an earlier run. Such a
        device goes back to its own control when its time-out is over.
        """
        if self._mode is not Mode.ACTIVE or self._is_closed:
            return []
        why = self.checks.blindness(state)
        if why:
            return [f"no heartbeat is sent: {why}"]
        under_control = {actuator.name for point in self.left_over if (actuator := self.owner(point)) is not None}
        held = [device for device in signs if device in under_control]
        errors = await asyncio.gather(*(self._beat_one(device, signs[device], state) for device in held))
        return [error for error in errors if error]

    async def _beat_one(self, device: str, signs: Sequence[Command], state: State) -> str:
        points = self._written_of(device)
        if not all(point in self._decided_at for point in points):
            return ""  # left by an earlier run: it is for the next decision to take it over
        if self._age_s(points, state) > self._limits.hold_s:
            return ""  # ``let_go`` speaks of it
        for command in signs:
            actuator = self.owner(command.point)
            if actuator is None or not actuator.points[command.point].writable:
                return f"{command.point}: not a writable point"
            try:
                async with asyncio.timeout(self._limits.write_deadline_s), self._turns[actuator.name]:
                    self._refuse_if_closed(command)
                    await actuator.write(command)
            except Exception as error:
                return f"{command.point}: {str(error) or NO_ANSWER}"
        return ""

    async def let_go(self, state: State) -> list[str]:
        """Give back devices that hold a setpoint which was not decided anew for ``hold_s``; what was done, in words.

        Of what an earlier run left, the time counts from when this one saw it first.
        """
        for point in self.left_over - set(self._decided_at):
            self._known_since.setdefault(point, state.at)
        said = []
        for actuator in self._actuators:
            points = self._written_of(actuator.name)
            age_s = self._age_s(points, state)
            if age_s > self._limits.hold_s:
                error = await self._give_back(actuator, points)
                said.append(f"{actuator.name} is given back, a setpoint was last decided {age_s:.0f} s ago")
                said += [error] if error else []
        return said

    def _written_of(self, device: str) -> list[str]:
        actuator = next((one for one in self._actuators if one.name == device), None)
        return [] if actuator is None else sorted(point for point in self.left_over if point in actuator.points)

    def _age_s(self, points: Sequence[str], state: State) -> float:
        """How long ago the oldest of them was decided."""
        times = [self._decided_at.get(point) or self._known_since.get(point, state.at) for point in points]
        return max(((state.at - at).total_seconds() for at in times), default=0.0)

    def departures(self, state: State) -> list[str]:
        """Points that no longer report what was written, in words: a lost command, or somebody else's."""
        found = []
        for point, (wanted, at) in sorted(self._held.items()):
            reading = state.points.get(point)
            is_later = reading is not None and reading.measured_at > at and reading.is_usable(self._limits.max_age_s)
            if reading is not None and is_later and not self._is_close(wanted, reading.value):
                found.append(f"{point} reports {reading.value:g} where {wanted:g} was written")
        return found

    # Giving back --------------------------------------------------------------------------------------------------

    async def hand_back(self) -> list[str]:
        """Give every device that was written back to its local control; returns the errors, in words.

        A device that knows no way back gets the values that stood there before.
        """
        owned = {
            actuator.name: [point for point in self.left_over if point in actuator.points]
            for actuator in self._actuators
        }
        tasks = [self._give_back(actuator, owned[actuator.name]) for actuator in self._actuators]
        strangers = sorted(self.left_over - {point for points in owned.values() for point in points})
        errors = [f"{point}: written by an earlier run, and no device serves it now" for point in strangers]
        return errors + [error for error in await asyncio.gather(*tasks) if error]

    async def _give_back(self, actuator: Actuator, points: Sequence[str]) -> str:
        """Release, and forget what was given back; returns what went wrong, in words."""
        if not points:
            return ""
        try:
            async with asyncio.timeout(self._limits.write_deadline_s), self._turns[actuator.name]:
                kept = await self._release(actuator, points)
            done = [point for point in points if point not in kept]
            self._journal.forget(done)
        except Exception as error:
            return f"{actuator.name}: {str(error) or NO_ANSWER}"
        for point in done:
            for known in (self._decided_at, self._known_since, self._held):
                known.pop(point, None)
        return "; ".join(f"{point}: {why}" for point, why in kept.items())

    async def _release(self, actuator: Actuator, points: Sequence[str]) -> dict[str, str]:
        """Release what has no former value to go back to, where the family goes back to one; else release all.

        Returns the points that could not be given back, with the reason.
        """
        is_restored = getattr(actuator, "restores", False)
        former = [point for point in points if is_restored and self._journal.before(point) is not None]
        rest = [point for point in points if point not in former]
        kept = await self._restore(actuator, former)
        try:
            if rest:
                await actuator.release(rest)
        except ReleaseUnknown:
            kept |= await self._restore(actuator, rest)
        return kept

    async def _restore(self, actuator: Actuator, points: Sequence[str]) -> dict[str, str]:
        """Write what stood there before, or the nearest that the device takes, and read it back."""
        kept: dict[str, str] = {}
        for point in points:
            before = self._journal.before(point)
            if before is None:
                kept[point] = "what stood there before is not known: set it by hand to what the building wants"
                continue
            wanted = Command(point, before, actuator.points[point].unit, "what stood there before")
            allowed = actuator.check(wanted).value
            command = replace(wanted, value=before if allowed is None else allowed)
            try:
                await actuator.write(command)
                self._compare(command, await actuator.read_back(command))
            except EcoError as error:
                kept[point] = str(error)
        return kept
