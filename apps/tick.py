"""One tick of the loop: state, forecasts, decision, guard, record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from apps.codec import decision_json
from apps.outlook import Outlook
from facility.collector import Collector
from facility.errors import EcoError
from facility.guard import Guard, Written
from facility.records import Decision, Forecasts, Mode, Quality, Reading, State
from facility.store import Store
from scheduler.cluster.remote import RemoteCluster
from scheduler.policy import Policy


@dataclass(slots=True)
class Loop:
    """What a tick needs, and what the last one left."""

    collector: Collector
    cluster: RemoteCluster | None
    outlook: Outlook
    policy: Policy
    guard: Guard
    store: Store
    mode: Mode
    last_forecasts: Forecasts = field(default_factory=dict)
    last_decision: Decision | None = None
    problems: tuple[str, ...] = ()  # of the last tick

    async def state(self, at: datetime) -> tuple[State, list[str]]:
        """Every point with its age, jobs and nodes as the cluster reports them, and what could not be had."""
        points = self.collector.snapshot(at)
        if self.cluster is None:
            return State(at, points), []
        try:
            jobs, nodes = await self.cluster.state()
        except EcoError as error:
            return State(at, points), [f"cluster: {error}"]
        return State(at, points, jobs, nodes), []

    async def tick(self, at: datetime) -> Decision:
        """Decide once at ``at`` and act on what the guard lets through; everything is kept before it returns."""
        state, problems = await self.state(at)
        forecasts, missing = await asyncio.to_thread(self.outlook.issue, at)  # a provider may take its time
        problems += [f"forecast: {error}" for error in missing]
        decision = self.policy.decide(state, forecasts)
        written = await self.guard.apply(decision.commands, state)
        self.problems = tuple(problems)
        self.last_forecasts, self.last_decision = forecasts, decision
        await asyncio.to_thread(self._record, decision, written, forecasts)
        return decision

    def _record(self, decision: Decision, written: Sequence[Written], forecasts: Forecasts) -> None:
        payload = decision_json(decision)
        payload["mode"] = self.mode.value
        payload["forecasts"] = {
            name: {
                "issued_at": forecast.issued_at.isoformat(),
                "source": forecast.source,
                "synthetic": forecast.synthetic,
            }
            for name, forecast in sorted(forecasts.items())
        }
        payload["problems"] = list(self.problems)
        self.store.append_decision(decision, payload)
        self.store.append_verdicts(decision.at, [(done.verdict, done.read_back, done.error) for done in written])
        carbon = forecasts.get("carbon_intensity_g_kwh")
        if carbon is not None:
            self.store.append_readings([_forecast_reading(carbon.value[0], decision.at, carbon.source)])


def _forecast_reading(value: float, at: datetime, source: str) -> Reading:
    return Reading("grid/carbon_forecast_g_kwh", float(value), "g/kWh", at, Quality.UNCERTAIN, source)
