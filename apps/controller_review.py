"""What is due for each workload by itself: first sight, a hand's change, a profile's next step, its end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

from apps.controller_act import Hands
from apps.controller_parts import Parts, Pass
from facility.errors import EcoError
from scheduler.cluster import lifecycle, names, profiling
from scheduler.cluster.ask import Ask
from scheduler.cluster.baseline import fix_baseline
from scheduler.cluster.carbon_budget import project
from scheduler.cluster.change import Change
from scheduler.cluster.fleet import Record
from scheduler.cluster.ledger import Ledger, Phase
from scheduler.cluster.profiler import curve_of, low_cap_w, make_profile
from scheduler.cluster.settings import GpuType
from scheduler.cluster.workload import Workload
from scheduler.placement import place, take
from twin.signals import CARBON


class Reviewer:
    """Goes through the workloads of a pass; remembers only what was read of each version of an object."""

    def __init__(self, parts: Parts, hands: Hands) -> None:
        self._parts, self._settings, self._hands = parts, parts.settings, hands
        self._asks: dict[str, tuple[str, str, Ask]] = {}

    async def review(self, work: Pass) -> None:
        """What is due for each workload by itself: first sight, a hand's change, a profile's next step, its end."""
        workloads = self._parts.view.workloads()
        work.report.workloads = len(workloads)
        self._parts.books.begin(workloads)
        self._asks = {key: one for key, one in self._asks.items() if key in workloads}
        free = {node.name: node.gpus_free for node in work.nodes if not node.parked}
        ledgers = [(one, one.kept.ledger) for one in workloads.values()]
        work.measured = {one.recipe for one, kept in ledgers if kept is not None and kept.phase is Phase.PROFILING}
        for workload in workloads.values():
            scene = self.scene_of(work, workload)
            record = await self._reviewed(work, workload, scene, free)
            if record is not None and record.ledger.phase is not Phase.DONE:
                work.records[record.key], work.gpus[record.key] = record, scene.gpu

    async def _reviewed(
        self, work: Pass, workload: Workload, scene: lifecycle.Scene, free: dict[str, int]
    ) -> Record | None:
        """A workload after what was due for it; None where it is not ours."""
        ledger = workload.kept.ledger
        if ledger is None:
            workload, ledger = await self._first(work, workload, scene)
        if ledger is None:
            return None
        record = self._record(workload, scene, ledger)
        if workload.kept.ledger is None or ledger.phase is Phase.DONE:
            return record  # the ledger of a dry run stands in no annotation
        self._parts.books.look(record)
        change = await self._due(work, record, scene, free)
        if change is None:
            return record
        after = (await self._hands.send(work, [change])).get(record.key, workload)
        return self._record(after, scene, after.kept.ledger or ledger)

    async def _first(self, work: Pass, workload: Workload, scene: lifecycle.Scene) -> tuple[Workload, Ledger | None]:
        """First sight: the workload after it, and its ledger; in a dry run the one that it would have."""
        baseline = None
        ask = self._ask(workload, scene)
        needed_s = lifecycle.work_s(ask, scene.profile)
        if scene.gpu is not None and needed_s is not None and not ask.problems:
            curve = curve_of(scene.gpu, scene.profile, ask.work_class)
            start, host_w = workload.created_at(work.now), self._settings.host_w_per_gpu
            forecast, is_measured = work.forecasts.get(CARBON), scene.profile is not None
            baseline = fix_baseline(start, needed_s, workload.gpus, curve, host_w, forecast, is_measured=is_measured)
        change = lifecycle.first_sight(workload, scene, baseline)
        if change is None:
            return workload, None
        work.plan_soon = True
        after = (await self._hands.send(work, [change])).get(workload.key, workload)
        return after, change.ledger if self._parts.writer.is_dry else after.kept.ledger

    async def _due(self, work: Pass, record: Record, scene: lifecycle.Scene, free: dict[str, int]) -> Change | None:
        """The one change that is due for a job that is known, apart from plans."""
        workload, ledger, books, now = record.workload, record.ledger, self._parts.books, work.now
        if workload.outcome:
            work.plan_soon = True
            return await asyncio.to_thread(books.finish, record, now)
        change = lifecycle.by_hand(workload, ledger, now) or lifecycle.asked_anew(workload, ledger, scene, record.ask)
        if change is not None:
            work.plan_soon = True
            return change
        change = await self._profile(work, record, scene, free)
        if change is None and not self._parts.writer.is_dry and books.is_due(record, now):
            change = await asyncio.to_thread(books.note, record, now)
        if change is not None and not change.is_turn:
            change = self.with_budget(work, record, scene, change)
        return change

    async def _profile(self, work: Pass, record: Record, scene: lifecycle.Scene, free: dict[str, int]) -> Change | None:
        gpu, settings, now = scene.gpu, self._settings, work.now
        if gpu is None:
            return None
        recipe = record.workload.recipe
        if profiling.is_wanted(record, scene.profile, settings) and recipe not in work.measured:
            placement = place(record.workload.gpus, free)
            if placement is None:
                return None
            take(free, placement)
            work.measured.add(recipe)
            return profiling.begin(record, placement, settings, now)
        if record.ledger.phase is not Phase.PROFILING:
            return None
        spans = profiling.halves(record, settings)
        if spans is None or (spans.low is None and now < spans.high[1]):
            gone = profiling.is_given_up(record, settings, now)
            return profiling.conclude(record, None, "its pods did not run in time", now) if gone else None
        if spans.low is None:
            return profiling.lower(record, gpu, now)
        if now < spans.low[1]:
            return None
        work.plan_soon = True
        return await asyncio.to_thread(self._conclude, record, gpu, spans, now)

    def _conclude(self, record: Record, gpu: GpuType, spans: profiling.Halves, now: datetime) -> Change:
        assert spans.low is not None  # noqa: S101 - asked before
        meter, pods = self._parts.meter, [pod.name for pod in record.pods]
        namespace, profile, why = record.workload.namespace, None, ""
        try:
            high, low = meter.usage(namespace, pods, *spans.high), meter.usage(namespace, pods, *spans.low)
            half_s = (spans.high[1] - spans.high[0]).total_seconds()
            cap_w = low_cap_w(gpu, record.ask.floor_w)
            profile = make_profile(record.workload.recipe, gpu, now, half_s, cap_w, high, low, record.ask.work_class)
            if not self._parts.writer.is_dry:
                self._parts.profiles.keep(profile)
        except EcoError as error:
            why = str(error)
        return profiling.conclude(record, profile, why, now)

    def with_budget(self, work: Pass, record: Record, scene: lifecycle.Scene, change: Change) -> Change:
        """The change, with the word about the carbon budget where the projection exceeds it for the first time."""
        forecast = work.forecasts.get(CARBON)
        if forecast is None or scene.gpu is None or names.EVENT_OVER_BUDGET in change.ledger.said:
            return change
        settled = replace(record, ledger=change.ledger)
        found = project(settled, change.ledger.windows, forecast, scene.gpu, self._settings, work.now)
        if found is None or not found.is_over:
            return change
        said = self._parts.books.over_budget(record, change.ledger, found.words, work.now)
        return replace(said, annotations=change.annotations, notices=(*change.notices, *said.notices))

    def scene_of(self, work: Pass, workload: Workload) -> lifecycle.Scene:
        """What is known around a workload in this pass."""
        product = workload.gpu_product or work.product
        gpu = self._settings.gpu_type(product)
        named = "" if gpu is None else gpu.product
        return lifecycle.Scene(
            work.now,
            work.pods.of(workload),
            self._parts.view.policy(workload.namespace, workload.annotations.get(names.POLICY)),
            gpu,
            product,
            self._parts.profiles.get(workload.recipe, named),
            self._settings.race_s,
        )

    def _record(self, workload: Workload, scene: lifecycle.Scene, ledger: Ledger) -> Record:
        ask = self._ask(workload, scene)
        curve = None if scene.gpu is None else curve_of(scene.gpu, scene.profile, ask.work_class)
        return Record(workload, ledger, ask, tuple(scene.pods), curve)

    def _ask(self, workload: Workload, scene: lifecycle.Scene) -> Ask:
        """Its owner's wishes; read once for each version of the objects that say them."""
        policy = "" if scene.policy is None else str(scene.policy["metadata"]["resourceVersion"])
        known = self._asks.get(workload.key)
        if known is not None and known[:2] == (workload.version, policy):
            return known[2]
        ask = lifecycle.ask_of(workload, scene)
        self._asks[workload.key] = (workload.version, policy, ask)
        return ask
