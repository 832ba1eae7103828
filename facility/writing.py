"""Writes the checked commands of one actuator, in turn, and reads back what was taken. Only the guard calls it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from facility.checks import Authority, Checks, GuardLimits
from facility.errors import DeviceTimeout, EcoError
from facility.held import Held
from facility.journal import Journal
from facility.records import Actuator, Command, State, Verdict
from facility.written import NO_ANSWER, Written, compare, read_together

log = logging.getLogger("eco.guard")


class Writer:
    """What is on disk before a write, the write itself, and what is known after it."""

    def __init__(
        self,
        limits: GuardLimits,
        turns: Mapping[str, asyncio.Lock],
        journal: Journal,
        held: Held,
        checks: Checks,
        refuse: Callable[[Command, Authority], None],
        write_back: Callable[[Actuator, str, bool], Awaitable[str]],
    ) -> None:
        """``turns`` are by actuator. ``refuse`` raises where nothing may be written any more.

        ``write_back`` gives a point back, the last argument says whether it is a job's; it returns the error in words.
        """
        self._limits, self._turns, self._journal, self._held, self._checks = limits, turns, journal, held, checks
        self._refuse, self._write_back = refuse, write_back

    async def write(
        self,
        actuator: Actuator,
        indices: Sequence[int],
        done: list[Written],
        state: State,
        authority: Authority,
        *,
        is_jobs: bool,
    ) -> None:
        """Write those of ``done`` at ``indices`` in turn, in place. Jobs are read back by one look at all of them."""
        is_silent = False
        for index in indices:
            verdict = done[index].verdict
            if is_silent:
                done[index] = Written(verdict, error="not written: the device did not answer the command before")
                continue
            done[index] = await self._write(actuator, verdict, state, authority, is_job=is_jobs)
            is_silent = not done[index].answered
        written = [index for index in indices if not done[index].error and done[index].verdict.value is not None]
        if is_jobs and written:
            await self._read_jobs(actuator, written, done)

    async def _read_jobs(self, actuator: Actuator, indices: Sequence[int], done: list[Written]) -> None:
        verdicts = [done[index].verdict for index in indices]
        try:
            async with asyncio.timeout(self._limits.write_deadline_s), self._turns[actuator.name]:
                found = await read_together(actuator, verdicts, self._limits.read_back_tolerance)
        except Exception as error:
            found = [Written(verdict, error=f"not read back: {str(error) or NO_ANSWER}") for verdict in verdicts]
        for index, written in zip(indices, found, strict=True):
            done[index] = written

    async def _write(
        self, actuator: Actuator, verdict: Verdict, state: State, authority: Authority, *, is_job: bool
    ) -> Written:
        command, reading = replace(verdict.command, value=verdict.value), None
        if command.value is None:
            return Written(verdict, error=await self._write_back(actuator, command.point, is_job))
        try:
            async with asyncio.timeout(self._limits.write_deadline_s), self._turns[actuator.name]:
                self._refuse(command, authority)
                if is_job:  # it is not given back: it goes on as it is
                    await actuator.write(command)
                else:
                    known = state.points.get(command.point)
                    self._journal.remember(command.point, None if known is None else known.value)
                    await actuator.write(command)
                    reading = await actuator.read_back(command)
            if reading is not None:
                compare(command, reading, self._limits.read_back_tolerance)
        except (TimeoutError, DeviceTimeout) as error:
            return Written(verdict, error=str(error) or NO_ANSWER, answered=False)
        except EcoError as error:
            return Written(verdict, error=str(error))
        except Exception as error:
            log.exception("%s: the write failed", command.point)
            return Written(verdict, error=repr(error))
        if reading is None:
            return Written(verdict)
        self._checks.moved(command.point, state)
        self._held.decided(command.point, command.value, state.at)
        return Written(verdict, read_back=reading.value)
