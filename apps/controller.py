"""The controller of a Kubernetes cluster: looks, decides what is due, and acts through the guard; level-triggered.

A pass needs nothing from the pass before: what is remembered of a job stands in its annotations. Each change is one
patch that carries the ledger which tells of it. What stops or starts something goes through the guard; notes of what
was seen (use, conditions, receipts) do not act on anything and are written directly.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta

from apps.controller_act import Hands
from apps.controller_parts import Parts, Pass, Report
from apps.controller_review import Reviewer
from facility.errors import EcoError
from scheduler.cluster import lifecycle, names
from scheduler.cluster.api import KubeError, NotFound, path_of
from scheduler.cluster.change import Change
from scheduler.cluster.fleet import Record, nodes_of, products_of
from scheduler.cluster.plan import Planned
from scheduler.cluster.workload import Workload
from twin.signals import CARBON

log = logging.getLogger("eco.controller")


class Controller:
    """Passes over one cluster; only the leader may run them."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._settings = parts, parts.settings
        self._hands = Hands(parts)
        self.reviewer = Reviewer(parts, self._hands)
        self._planned_at: datetime | None = None
        self._plan_soon = True
        self._held: dict[str, Workload] = {}  # ours and suspended at the last pass
        self.last: Report | None = None

    async def adopt(self) -> None:
        """After taking the lead: profiles are read, and what we hold of jobs that no longer ask for us is let go."""
        await asyncio.to_thread(self._parts.profiles.load)
        for kind in self._parts.view.kinds:
            if kind.is_pod:
                continue
            try:
                items, _ = await asyncio.to_thread(self._parts.kube.items, path_of(kind))
            except NotFound:
                continue
            for obj in items:
                workload = Workload(kind, obj)
                if workload.labels.get(names.MANAGED) != "true" and names.SUSPENDED_BY in workload.annotations:
                    self._held[workload.key] = workload
        self._plan_soon = True

    async def look_and_act(self, now: datetime) -> Report:
        """One pass. Raises nothing of a single job: what fails is in the report, and is tried again."""
        report = self.last = Report(now)
        if self._parts.view.age_s > self._settings.max_mirror_age_s:
            report.problems = [
                "the API server was not heard of for too long: nothing is done",
                *self._parts.view.problems,
            ]
            return report
        work = self.begin(now, report)
        await self._let_strays_go(work)
        await self.reviewer.review(work)
        self._plan_soon |= work.plan_soon
        if self._is_planning_due(now):
            await self._plan(work)
        await self._hands.renew_budgets(work)
        if self._parts.books.problem:
            report.problems.append(f"use is not written down: {self._parts.books.problem}")
        report.problems = list(dict.fromkeys(report.problems))
        self._held = {
            key: one.workload for key, one in work.records.items() if one.ledger.suspend and one.workload.is_suspended
        }
        return report

    def begin(self, now: datetime, report: Report) -> Pass:
        """A pass at ``now``: nodes, pods and the forecast as they stand."""
        view = self._parts.view
        nodes, pods = view.nodes(), view.pods()
        products = products_of(nodes)
        forecast = None
        if self._parts.outlook.age_s(now) <= self._settings.max_signal_age_s:
            forecast = self._parts.outlook.forecast(now)
        if forecast is None:
            report.problems.append("no fresh carbon signal: nothing new is deferred")
        forecasts = {} if forecast is None else {CARBON: forecast}
        product = next(iter(products)) if len(products) == 1 else ""
        return Pass(now, report, pods, nodes_of(nodes, pods.pods), forecasts, product)

    async def _let_strays_go(self, work: Pass) -> None:
        """Jobs that we hold and that have lost their label, or their ledger's mirror: resumed, never forgotten."""
        present = self._parts.view.workloads()
        for key, known in list(self._held.items()):
            if key in present:
                continue
            try:
                now_there = Workload(known.kind, await asyncio.to_thread(self._parts.kube.get, known.path))
            except NotFound:
                continue
            except KubeError as error:
                work.report.problems.append(str(error))
                continue
            if now_there.labels.get(names.MANAGED) == "true" or not now_there.is_suspended:
                continue
            ledger = now_there.kept.ledger or known.kept.ledger
            if ledger is not None and names.SUSPENDED_BY in now_there.annotations:
                text = f"label {names.MANAGED} was taken away"
                change = lifecycle.release(now_there, ledger, work.now, names.EVENT_RELEASED, text)
                await self._hands.send(work, [change])

    def _is_planning_due(self, now: datetime) -> bool:
        if self._planned_at is None or self._plan_soon:
            return True
        return now - self._planned_at >= timedelta(seconds=self._settings.tick_s)

    async def _plan(self, work: Pass) -> None:
        self._planned_at, self._plan_soon = work.now, False
        work.report.planned = True
        planned = await asyncio.to_thread(self.decide, work)
        self._plan_soon = planned.is_postponed
        forecast = work.forecasts.get(CARBON)
        changes = dict(planned.changes)
        for point, change in changes.items():
            if change.suspend is True:  # what it used so far is settled with the pause
                changes[point] = await asyncio.to_thread(
                    self._settled, work.records[change.workload.key], change, work.now
                )
        await self._hands.apply(work, planned.commands, changes)
        notes = planned.notes
        if forecast is not None:
            notes = [self._note_budget(work, note) for note in notes]
        await self._hands.send(work, notes)

    def decide(self, work: Pass) -> Planned:
        """The decision of this moment, pure."""
        return self._parts.planner.plan(work.records, work.nodes, work.forecasts, work.now, work.gpus)

    def _note_budget(self, work: Pass, note: Change) -> Change:
        record = work.records[note.workload.key]
        return self.reviewer.with_budget(work, record, self.reviewer.scene_of(work, note.workload), note)

    def _settled(self, record: Record, change: Change, now: datetime) -> Change:
        try:
            return replace(change, ledger=self._parts.books.settled(record, change.ledger, now))
        except EcoError as error:
            log.debug("%s: not settled at its pause: %s", record.key, error)
            return change
