"""One tick of the loop: state, forecasts, decision, guard, record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from apps.codec import decision_json
from apps.deciding import Decider
from apps.inputs import Inputs, pack
from apps.outlook import Outlook
from facility.collector import Collector
from facility.errors import EcoError
from facility.guard import Guard
from facility.records import Command, Decision, Forecasts, Quality, Reading, State
from facility.store import Store
from facility.written import Written
from scheduler.cluster.remote import RemoteCluster

Withholds = Callable[[Command], str]
"""Why a command of the policy must wait while an event lasts, in words; empty where it need not."""


@dataclass(slots=True)
class Loop:
    """What a tick needs, and what the last one left."""

    collector: Collector
    cluster: RemoteCluster | None
    outlook: Outlook
    decider: Decider
    guard: Guard
    store: Store
    withholds: Withholds | None = None
    last_forecasts: Forecasts = field(default_factory=dict)
    last_state: State | None = None
    last_decision: Decision | None = None
    last_written: tuple[Written, ...] = ()
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
        decision = self.decider.decide(state, forecasts)
        waiting = {command.point: why for command in decision.commands if (why := self._withheld(command))}
        commands = [command for command in decision.commands if command.point not in waiting]
        written = await self.guard.apply(commands, state)
        self.problems = tuple(problems)
        self.last_state, self.last_forecasts = state, forecasts
        self.last_decision, self.last_written = decision, tuple(written)
        inputs = Inputs.of(state, forecasts, decision, self.guard.mode)
        await asyncio.to_thread(self._record, decision, written, inputs, waiting)
        return decision

    def _withheld(self, command: Command) -> str:
        return "" if self.withholds is None else self.withholds(command)

    def _record(
        self, decision: Decision, written: Sequence[Written], inputs: Inputs, waiting: Mapping[str, str]
    ) -> None:
        payload = decision_json(decision)
        payload["mode"] = inputs.mode
        payload["forecasts"] = {
            name: {
                "issued_at": forecast.issued_at.isoformat(),
                "source": forecast.source,
                "synthetic": forecast.synthetic,
            }
            for name, forecast in sorted(inputs.forecasts.items())
        }
        payload["problems"] = list(self.problems)
        payload["withheld"] = dict(waiting)
        verdicts = [(done.verdict, done.read_back, done.error) for done in written]
        self.store.append_tick(decision, payload, verdicts, pack(inputs))
        carbon = inputs.forecasts.get("carbon_intensity_g_kwh")
        if carbon is not None:
            self.store.append_readings([_forecast_reading(carbon.value[0], decision.at, carbon.source)])


def _forecast_reading(value: float, at: datetime, source: str) -> Reading:
    return Reading("grid/carbon_forecast_g_kwh", float(value), "g/kWh", at, Quality.UNCERTAIN, source)
