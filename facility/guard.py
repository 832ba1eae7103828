"""The last check before any actuator's write, device or cluster; nothing else calls ``write`` or ``release``.

The rules are in ``facility.checks``. In ACTIVE what the loop decides is written, in ADVISORY what a person accepts,
in the other modes nothing. Control is held by heartbeats, which are sent to a device only while its setpoints are being
decided anew; giving back is allowed in every mode and at any time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from facility.checks import Authority, Checks, GuardLimits
from facility.errors import GuardError
from facility.giving_back import release
from facility.held import Held
from facility.journal import Journal
from facility.overrides import Overrides
from facility.records import Actuator, Command, Mode, State, Verdict, VerdictKind
from facility.writing import Writer
from facility.written import NO_ANSWER, Written

__all__ = ["Guard", "Written"]
log = logging.getLogger("eco.guard")


_Turn = tuple[Actuator, list[int]]  # who writes, and which of the commands


class Guard:
    """Checks commands against points, limits and the state, and alone hands them to the actuators."""

    def __init__(
        self,
        actuators: Sequence[Actuator],
        limits: GuardLimits,
        journal: Journal,
        mode: Mode,
        overrides: Overrides | None = None,
    ) -> None:
        self._actuators = tuple(actuators)
        self._limits = limits
        self.checks = Checks(actuators, limits, overrides)
        self._journal = journal
        self._mode = mode
        self._is_closed = False
        self._turns = {actuator.name: asyncio.Lock() for actuator in actuators}
        self._held = Held()
        self._writer = Writer(
            limits, self._turns, journal, self._held, self.checks, self._refuse_if_closed, self._write_back
        )

    @property
    def mode(self) -> Mode:
        """What may be written now."""
        return self._mode

    def set_mode(self, mode: Mode) -> None:
        """From now on; what is under way is refused where the new mode does not allow it. Gives nothing back."""
        self._mode = mode

    def _may_write(self, authority: Authority) -> bool:
        """The loop in ACTIVE alone; what a person accepted, ordered or set in ADVISORY too."""
        return self._mode is Mode.ACTIVE or (self._mode is Mode.ADVISORY and authority is not Authority.LOOP)

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

    async def apply(
        self, commands: Iterable[Command], state: State, authority: Authority = Authority.LOOP
    ) -> list[Written]:
        """Check every command; where the mode allows it write what passed and read it back. Results in the same order.

        The plant comes before the jobs: cooling leads the load. Actuators are written side by side, the commands of one
        in their order; one that fails costs its own commands alone, and is left in peace until the next tick.
        """
        verdicts = [self.checks.check(command, state, authority) for command in commands]
        done = [Written(verdict) for verdict in verdicts]
        if not self._may_write(authority):
            return done
        plant, jobs = self._sorted(verdicts)
        for phase in (plant, jobs):
            groups = (
                self._writer.write(actuator, indices, done, state, authority, is_jobs=phase is jobs)
                for actuator, indices in phase.values()
            )
            await asyncio.gather(*groups)
        return done

    def _sorted(self, verdicts: Sequence[Verdict]) -> tuple[dict[str, _Turn], dict[str, _Turn]]:
        """Who writes which of what passed, plant and jobs apart, told now: a job may end while others are written."""
        plant: dict[str, _Turn] = {}
        jobs: dict[str, _Turn] = {}
        for index, verdict in enumerate(verdicts):
            actuator = self.owner(verdict.command.point)
            if verdict.kind is VerdictKind.REJECTED or actuator is None:
                continue
            phase = jobs if self._is_job(verdict.command.point) else plant
            phase.setdefault(actuator.name, (actuator, []))[1].append(index)
        return plant, jobs

    def _is_job(self, point: str) -> bool:
        actuator = self.owner(point)
        return actuator is not None and actuator.points[point].kind == "job"

    async def _write_back(self, actuator: Actuator, point: str, is_job: bool) -> str:
        """A device is given back whole: what else was written to it goes with the point that was named."""
        if is_job:
            return await self._let_go(actuator, point)
        return await self._give_back(actuator, [one for one in self.left_over if one in actuator.points])

    def _refuse_if_closed(self, command: Command, authority: Authority) -> None:
        if self._is_closed:
            raise GuardError("not written: control is being given back", where=command.point)
        if not self._may_write(authority):  # the mode was changed while this command waited for its turn
            raise GuardError(f"not written: the mode is {self._mode.value} now", where=command.point)

    # Holding ------------------------------------------------------------------------------------------------------

    async def beat(self, signs: Mapping[str, Sequence[Command]], state: State) -> list[str]:
        """Send each device under control its heartbeat and time-out; returns what went wrong, in words.

        ``signs`` are by device. A heartbeat holds setpoints that were decided earlier: none is sent by who sees too
        little, nor to a device whose setpoints were not decided anew for ``hold_s`` or stem from an earlier run. Such a
        device goes back to its own control when its time-out is over.
        """
        if not self._may_write(Authority.CONSENT) or self._is_closed:
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
        if not self._held.all_decided(points):
            return ""  # left by an earlier run: it is for the next decision to take it over
        if self._held.age_s(points, state.at) > self._limits.hold_s:
            return ""  # ``let_go`` speaks of it
        for command in signs:
            actuator = self.owner(command.point)
            if actuator is None or not actuator.points[command.point].writable:
                return f"{command.point}: not a writable point"
            try:
                async with asyncio.timeout(self._limits.write_deadline_s), self._turns[actuator.name]:
                    self._refuse_if_closed(command, Authority.CONSENT)
                    await actuator.write(command)
            except Exception as error:
                return f"{command.point}: {str(error) or NO_ANSWER}"
        return ""

    async def let_go(self, state: State) -> list[str]:
        """Give back devices that hold a setpoint which was not decided anew for ``hold_s``; what was done, in words.

        Of what an earlier run left, the time counts from when this one saw it first.
        """
        self._held.found(self.left_over, state.at)
        said = []
        for actuator in self._actuators:
            points = self._written_of(actuator.name)
            age_s = self._held.age_s(points, state.at)
            if age_s > self._limits.hold_s:
                error = await self._give_back(actuator, points)
                said.append(f"{actuator.name} is given back, a setpoint was last decided {age_s:.0f} s ago")
                said += [error] if error else []
        return said

    def _written_of(self, device: str) -> list[str]:
        actuator = next((one for one in self._actuators if one.name == device), None)
        return [] if actuator is None else sorted(point for point in self.left_over if point in actuator.points)

    def departures(self, state: State) -> list[str]:
        """Points that no longer report what was written, in words: a lost command, or somebody else's."""
        found = self.departed(state)
        return [f"{point} reports {now:g} where {wanted:g} was written" for point, (wanted, now) in found.items()]

    def departed(self, state: State) -> dict[str, tuple[float, float]]:
        """By point that no longer reports what was written: what was written, and what it reports."""
        return self._held.departed(state, self._limits.max_age_s, self._limits.read_back_tolerance)

    def written_at(self, point: str) -> datetime | None:
        """When this run last wrote a value that it still holds; None where it does not."""
        return self._held.written_at(point)

    def leave(self, points: Iterable[str]) -> None:
        """Somebody else has set these points since: they stay as they are, and are ours no longer."""
        gone = self.left_over & set(points)
        if gone:
            self._journal.forget(gone)
        self._held.forget(gone)

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

    async def let_jobs_go(self, points: Iterable[str]) -> list[str]:
        """Caps and holds of jobs are taken away, in any mode; a cluster then starts what waits, as it would alone."""
        owned = [(point, actuator) for point in points if (actuator := self.owner(point)) is not None]
        errors = [await self._let_go(actuator, point) for point, actuator in owned if self._is_job(point)]
        return [error for error in errors if error]

    async def _let_go(self, actuator: Actuator, point: str) -> str:
        try:
            async with asyncio.timeout(self._limits.write_deadline_s), self._turns[actuator.name]:
                await actuator.release([point])
        except Exception as error:
            return f"{point}: {str(error) or NO_ANSWER}"
        return ""

    async def _give_back(self, actuator: Actuator, points: Sequence[str]) -> str:
        """Release, and forget what was given back; returns what went wrong, in words."""
        if not points:
            return ""
        try:
            async with asyncio.timeout(self._limits.write_deadline_s), self._turns[actuator.name]:
                kept = await release(actuator, points, self._journal, self._limits.read_back_tolerance)
            done = [point for point in points if point not in kept]
            self._journal.forget(done)
        except Exception as error:
            return f"{actuator.name}: {str(error) or NO_ANSWER}"
        self._held.forget(done)
        return "; ".join(f"{point}: {why}" for point, why in kept.items())
