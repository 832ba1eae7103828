"""Puts wanted limits in force through the guard, and gives back whatever is not wanted any more.

What somebody else has set since stays: the hand at the machine wins, until something else is wanted there.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

from apps.agent.wanted import CLOCK, POWER, Wanted
from facility.checks import GuardLimits
from facility.devices.nvml import GpuIdentity, NvmlDevice, OneLimit
from facility.guard import Guard, Written
from facility.journal import Journal
from facility.records import Command, Mode, State, VerdictKind

log = logging.getLogger("eco.agent")

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
JOURNAL = "limits-{boot}.json"
MAX_AGE_S = 30.0  # a GPU that was not read for so long is not limited anew


class Limiter:
    """The limits of one node's GPUs, which were read before."""

    def __init__(self, gpus: NvmlDevice, known: Mapping[str, GpuIdentity], folder: Path, mode: Mode) -> None:
        """``folder`` keeps what stood at each limit before; raises GuardError where that cannot be read."""
        limits = [f"{name}/{quantity}" for name in known for quantity in (POWER, CLOCK)]
        actuators = [OneLimit(gpus, point) for point in limits if point in gpus.points]
        journal = Journal(journal_path(folder), _site(known))
        self.guard = Guard(actuators, GuardLimits(max_age_s=MAX_AGE_S), journal, mode)
        self._asked: dict[str, float | None] = {}  # by point: what was wanted there when it was last written
        self._taken: dict[str, float | None] = {}  # points that somebody else has set since: what we wanted there
        self._said: dict[str, str] = {}  # by point: the problem of the last try, said once
        self.problems: tuple[str, ...] = ()  # of the last call, in words

    @property
    def overridden(self) -> frozenset[str]:
        """Points that somebody else has set while we held them."""
        return frozenset(self._taken)

    async def apply(self, wanted: Wanted, state: State) -> list[Written]:
        """One round: yield, give back, limit. Returns what was tried; nothing is written except in ACTIVE."""
        self._yield_to_others(wanted, state)
        gone = self.guard.left_over - set(wanted.commands)
        backs = [Command(point, None, "", "nothing is wanted there any more") for point in sorted(gone)]
        done = await self.guard.apply([*backs, *self._due(wanted)], state)
        self.problems = tuple(_problem(one) for one in done if _problem(one))
        for one in done:
            self._note(one)
        return done

    def _due(self, wanted: Wanted) -> list[Command]:
        """What is not in force yet. A limit that was written once is watched, not written again."""
        held = self.guard.left_over
        news = (
            one for point, one in wanted.commands.items() if point not in held or self._asked.get(point) != one.value
        )
        return [one for one in news if one.point not in self._taken]

    def _note(self, done: Written) -> None:
        command, problem = done.verdict.command, _problem(done)
        if not problem and command.value is not None:
            self._asked[command.point] = command.value
        else:
            self._asked.pop(command.point, None)
        known = self._said.get(command.point)
        self._said[command.point] = problem
        if problem and problem != known:
            log.warning("%s", problem)
        elif not problem and command.value is None:
            log.info("%s is given back: %s", command.point, command.reason)
        elif not problem:
            log.info("%s: %g %s: %s", command.point, done.verdict.value, command.unit, command.reason)

    def _yield_to_others(self, wanted: Wanted, state: State) -> None:
        values = {point: command.value for point, command in wanted.commands.items()}
        self._taken = {point: was for point, was in self._taken.items() if values.get(point) == was}
        said = self.guard.departures(state)
        points = [point for point in self.guard.left_over if any(text.startswith(f"{point} ") for text in said)]
        for point in points:
            log.warning("%s: set by somebody else since: left as it is", point)
            self._taken[point] = values.get(point)
        self.guard.leave(points)

    async def give_back(self) -> list[str]:
        """Every limit as it stood before; what went wrong, in words. Once more where something did."""
        errors = await self.guard.hand_back()
        return await self.guard.hand_back() if errors else []


def journal_path(folder: Path, boot_file: Path = BOOT_ID) -> Path:
    """The journal of this boot. Limits do not outlive the driver: what an earlier boot wrote there is over."""
    try:
        boot = boot_file.read_text(encoding="ascii").strip()
    except OSError:
        boot = "unknown"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL.format(boot=boot)
    for old in folder.glob(JOURNAL.format(boot="*")):
        if old != path:
            old.unlink(missing_ok=True)
    return path


def _site(known: Mapping[str, GpuIdentity]) -> str:
    """Which GPUs they are: a former limit must not go to another GPU in the same place."""
    named = ",".join(f"{name}={gpu.uuid}" for name, gpu in sorted(known.items()))
    return f"gpus {hashlib.sha256(named.encode()).hexdigest()[:16]}"


def _problem(done: Written) -> str:
    verdict = done.verdict
    if done.error:
        return f"{verdict.command.point}: {done.error}"
    if verdict.kind is VerdictKind.REJECTED:
        return f"{verdict.command.point}: {verdict.rule}: {verdict.detail}"
    return ""
