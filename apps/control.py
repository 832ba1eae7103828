"""What persons may do to the running loop: set its mode, answer proposals, hold points, order an event, stop it.

Each act is audited. One that takes more power is in the audit before it is done; one that gives back is done first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from apps.assembly import Parts
from apps.demand_response import DemandResponse
from apps.keeper import Keeper
from apps.modes import Grant
from apps.proposals import Proposal, Proposals, Status
from facility.audit import SERVICE, Actor, AuditEntry
from facility.checks import Authority
from facility.clock import Clock
from facility.errors import DataError, StoreError
from facility.overrides import Override
from facility.records import Command, Mode, State
from facility.written import Written

log = logging.getLogger("eco.control")

WRITING = (Mode.ADVISORY, Mode.ACTIVE)


class Control:
    """The acts of persons, and of the service in their place when a grant runs out."""

    def __init__(self, parts: Parts, keeper: Keeper, clock: Clock, demand: DemandResponse) -> None:
        self._parts, self._keeper, self._clock = parts, keeper, clock
        self.modes, self.overrides = parts.modes, parts.overrides
        self.proposals = Proposals()
        self.demand = demand
        parts.loop.guard.set_mode(self.modes.mode)
        parts.loop.withholds = demand.withholds

    # Mode ---------------------------------------------------------------------------------------------------------

    async def set_mode(self, wanted: Mode, actor: Actor, why: str, until: datetime | None = None) -> Grant:
        """Change the mode from now on. Raises DataError where the site does not allow it."""
        grant = Grant(wanted, self._clock.now(), actor.name, actor.role, why, until)
        entry = self.modes.entry(grant)
        if self.modes.is_raised_by(wanted):
            await self._keeper.audit([entry])
            self._adopt(grant)
        else:
            await self._lower(grant, actor)
            self._keeper.note(entry)
        return grant

    async def stop(self, actor: Actor, why: str) -> list[str]:
        """Mode OFF, and everything given back at once; returns what could not be, in words."""
        grant = Grant(Mode.OFF, self._clock.now(), actor.name, actor.role, why)
        entry = self.modes.entry(grant, "stopped")
        errors = await self._lower(grant, actor)
        self._keeper.note(entry)
        return errors

    async def expire(self, at: datetime) -> None:
        """What runs out by itself: the grant of a mode, and proposals."""
        fallback = self.modes.after_expiry(at)
        if fallback is not None:
            entry = self.modes.entry(fallback, "expired")
            log.warning("%s", fallback.why)
            await self._lower(fallback, SERVICE)
            self._keeper.note(entry)
        for row in self.proposals.expire(at):
            self._keeper.note(row)

    def _adopt(self, grant: Grant) -> None:
        self.modes.adopt(grant)
        self._parts.loop.guard.set_mode(grant.mode)

    async def _lower(self, grant: Grant, actor: Actor) -> list[str]:
        """Less power, at once: what the loop held goes back; overrides stay where writing is allowed."""
        held = self.modes.mode in WRITING
        self._adopt(grant)
        for row in self.proposals.expire(grant.since, all_open=True):
            self._keeper.note(row)
        if not held:
            return []
        for row in await self.demand.abandon(actor, grant.since):
            self._keeper.note(row)
        errors = await self._parts.loop.guard.hand_back()
        for error in errors:
            log.error("not given back: %s", error)
        if grant.mode in WRITING:
            await self.reapply(await self._state())
        return errors

    # Proposals ----------------------------------------------------------------------------------------------------

    def propose(self, state: State, until: datetime) -> None:
        """After a decision in ADVISORY: what a person may accept until the next one."""
        loop = self._parts.loop
        if self.modes.mode is not Mode.ADVISORY or loop.last_decision is None:
            return
        verdicts = [written.verdict for written in loop.last_written]
        for row in self.proposals.make(loop.last_decision, verdicts, state.points, until):
            self._keeper.note(row)

    async def accept(self, name: str, actor: Actor, why: str = "") -> tuple[Proposal, list[Written]]:
        """Write what was proposed, checked anew on what is known now. Raises DataError where it is not open."""
        if self.modes.mode is not Mode.ADVISORY:
            raise DataError(f"nothing is proposed in mode {self.modes.mode.value}", where=name[:80])
        proposal, entry = self.proposals.settle(name, Status.ACCEPTED, actor, why, self._clock.now())
        await self._keeper.audit([entry])
        self.proposals.adopt(proposal)
        return proposal, await self._write(proposal.commands, await self._state(), Authority.CONSENT)

    async def reject(self, name: str, actor: Actor, why: str = "") -> Proposal:
        """Nothing is written. Raises DataError where the proposal is not open."""
        proposal, entry = self.proposals.settle(name, Status.REJECTED, actor, why, self._clock.now())
        await self._keeper.audit([entry])
        self.proposals.adopt(proposal)
        return proposal

    # Overrides ----------------------------------------------------------------------------------------------------

    async def hold(self, point: str, value: float | None, actor: Actor, why: str) -> tuple[Override, list[Written]]:
        """The point is the person's until it is lifted; with a value it is written now, where the mode allows writing.

        Raises DataError for a point that nobody may write.
        """
        actuator = self._parts.loop.guard.owner(point)
        if actuator is None or not actuator.points[point].writable:
            raise DataError("no point that can be written", where=point[:200], hint="GET /v1/state lists them")
        now = self._clock.now()
        override = Override(point, value, actor.name, why, now)
        await self._keeper.audit([self._override_entry(override, "held", actor)])
        self.overrides.hold(override)
        if value is None:
            self._parts.loop.guard.leave([point])
            return override, []
        command = Command(point, value, actuator.points[point].unit, f"override by {actor.name}: {why}")
        return override, await self._write([command], await self._state(), Authority.OVERRIDE)

    async def lift(self, point: str, actor: Actor, why: str) -> Override:
        """The loop may command the point again. Raises DataError where nobody holds it."""
        override = self.overrides.of(point)
        if override is None:
            raise DataError("nobody holds this point", where=point[:200], hint="GET /v1/overrides lists them")
        await self._keeper.audit([self._override_entry(override, "lifted", actor, why)])
        self.overrides.lift(point)
        return override

    def found(self, point: str, wanted: float, value: float) -> None:
        """Somebody set another value at the device: from now on the point is theirs."""
        why = f"it reports {value:g} where {wanted:g} was written"
        override = Override(point, None, "somebody at the device", why, self._clock.now(), is_found=True)
        log.warning("%s is overridden at the device: %s", point, why)
        self.overrides.hold(override)
        self._parts.loop.guard.leave([point])
        self._keeper.note(self._override_entry(override, "found", SERVICE))

    async def reapply(self, state: State) -> list[Written]:
        """Write the values of overrides anew, as a tick does with those of the policy."""
        points = {point: self._parts.loop.guard.owner(point) for point in self.overrides.held}
        commands = [
            Command(point, held.value, actuator.points[point].unit, f"override by {held.person}: {held.why}")
            for point, held in self.overrides.held.items()
            if held.value is not None and (actuator := points[point]) is not None
        ]
        if not commands or self.modes.mode not in WRITING:
            return []
        return await self._write(commands, state, Authority.OVERRIDE)

    def _override_entry(self, override: Override, action: str, actor: Actor, why: str = "") -> AuditEntry:
        value = "as it is" if override.value is None else f"{override.value:g}"
        after = "" if action == "lifted" else value
        before = value if action == "lifted" else ""
        at = self._clock.now()
        return AuditEntry(at, "override", override.point, action, actor, why or override.why, before, after)

    # Events -------------------------------------------------------------------------------------------------------

    async def order_event(self, shed_w: float, for_s: float, actor: Actor, why: str) -> AuditEntry:
        """Shed at once; raises DataError where that cannot be."""
        entry = await self.demand.order(shed_w, for_s, actor, why, self._clock.now())
        self._keeper.note(entry)
        return entry

    async def end_event(self, actor: Actor) -> AuditEntry:
        """End the shedding early, in order; raises DataError where none is under way."""
        entry = await self.demand.end(actor, self._clock.now())
        self._keeper.note(entry)
        return entry

    # Writing ------------------------------------------------------------------------------------------------------

    async def _state(self) -> State:
        state, _ = await self._parts.loop.state(self._clock.now())
        return state

    async def _write(self, commands: Sequence[Command], state: State, authority: Authority) -> list[Written]:
        """Through the guard, and its verdicts to the store."""
        written = await self._parts.loop.guard.apply(commands, state, authority)
        rows = [(done.verdict, done.read_back, done.error) for done in written]
        try:
            await self._keeper.verdicts(state.at, rows)
        except StoreError as error:
            log.error("verdicts were not kept: %s", error)
        return written
