"""The controller's hands: changes, through the guard where they act on something; budgets; a dry run's words."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from apps.controller_parts import Parts, Pass
from facility.records import JOB_GPU_CAP_W, JOB_RUN_FLAG, Command
from scheduler.cluster import names
from scheduler.cluster.api import Conflict, KubeError
from scheduler.cluster.change import Change
from scheduler.cluster.fleet import state_of
from scheduler.cluster.node_budgets import apply_budget, due_budgets, wanted_budgets
from scheduler.cluster.workload import Workload

log = logging.getLogger("eco.controller")


class Hands:
    """Sends what was decided."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._settings = parts, parts.settings
        self._logged: set[str] = set()

    async def send(self, work: Pass, changes: Iterable[Change]) -> dict[str, Workload]:
        """Send changes: through the guard where they start, stop or cap something. The workloads after, by key."""
        after: dict[str, Workload] = {}
        for change in changes:
            command = command_of(change)
            if command is not None:
                after |= await self.apply(work, [command], {command.point: change})
                continue
            if self._parts.writer.is_dry:
                self._say_once(change)
                continue
            try:
                sent = await asyncio.to_thread(self._parts.writer.send, change, work.now)
            except Conflict as error:
                log.info("%s", error)  # decided anew at the next pass
            except KubeError as error:
                work.report.problems.append(str(error))
            else:
                work.report.changes += 1
                after |= self._taken_in([sent] if sent is not None else [])
        return after

    async def apply(self, work: Pass, commands: list[Command], changes: Mapping[str, Change]) -> dict[str, Workload]:
        """Commands through the guard; what it rejects or the server refuses is in the report."""
        if not commands:
            return {}
        actuator = self._parts.actuator
        keys = {change.workload.key for change in changes.values()}
        records = [work.records[key] for key in keys if key in work.records]
        state = state_of(records, work.nodes, work.now, self._settings.max_pauses)
        actuator.prepare(state, changes)
        if self._parts.writer.is_dry:
            for change in changes.values():
                self._say_once(change)
        for done in await self._parts.guard.apply(commands, state):
            if done.error or done.verdict.rule:
                word = done.error or f"{done.verdict.command.point}: {done.verdict.rule}: {done.verdict.detail}"
                work.report.problems.append(word)
        work.report.commands += len(actuator.after)
        return self._taken_in(actuator.after.values())

    def _taken_in(self, workloads: Iterable[Workload]) -> dict[str, Workload]:
        found = {}
        for workload in workloads:
            self._parts.view.put(workload)
            found[workload.key] = workload
        return found

    def _say_once(self, change: Change) -> None:
        """Dry run: what would be done, in the log, once for each job and reason."""
        words = change.annotations.get(names.REASON) or "; ".join(one.message for one in change.notices)
        if not words:
            return
        did = "would start" if change.suspend is False else "would hold" if change.suspend else "would note"
        line = f"{change.workload.key}: {did}: {words}"
        if line not in self._logged:
            self._logged.add(line)
            log.info("dry run: %s", line)

    async def renew_budgets(self, work: Pass) -> None:
        """Renew the budgets of nodes with capped pods."""
        if self._parts.writer.is_dry:
            return
        fresh = self._parts.view.workloads()  # with the ledgers as written in this pass
        pairs = [(one, fresh.get(key, one.workload)) for key, one in work.records.items()]
        records = [replace(one, workload=found, ledger=found.kept.ledger or one.ledger) for one, found in pairs]
        wanted = wanted_budgets(records)
        plan_id = f"{work.now:%Y%m%dt%H%M%S}-{hashlib.sha256(repr(wanted).encode()).hexdigest()[:8]}"
        for body in due_budgets(wanted, self._parts.view.budgets(), work.now, self._settings.budget_s, plan_id):
            try:
                await asyncio.to_thread(apply_budget, self._parts.writer, body)
            except KubeError as error:
                work.report.problems.append(str(error))


def command_of(change: Change) -> Command | None:
    """The command that a change means to the guard; None where it only takes note of something."""
    words = change.annotations.get(names.REASON) or ""
    key = change.workload.key
    if change.is_turn:
        placement = change.ledger.placement if change.suspend is False else ()
        return Command(f"{key}/{JOB_RUN_FLAG}", 0.0 if change.suspend else 1.0, "1", words, placement)
    if names.GPU_CAP_W in change.annotations and change.ledger.cap_w is not None:
        return Command(f"{key}/{JOB_GPU_CAP_W}", change.ledger.cap_w, "W", words)
    return None
