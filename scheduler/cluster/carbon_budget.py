"""A carbon budget of a job: what it will have emitted by its end as planned now, and what would fit where that is more.

The projection is what the account holds, and what is left at the power of the job's curve in the windows of its plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from facility.records import Forecast
from scheduler.cluster.fleet import Record
from scheduler.cluster.outlook import mean_of
from scheduler.cluster.settings import ClusterSettings, GpuType

SPEAK_BEFORE = 0.9  # of the work done: later than that nothing can be changed any more


@dataclass(frozen=True, slots=True)
class Projection:
    """Location-based carbon of a job, in kg, with what would bring it under its budget."""

    budget_kg: float
    used_kg: float
    ahead_kg: float
    suggestions: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether the plan does not fit the budget."""
        return self.used_kg + self.ahead_kg > self.budget_kg

    @property
    def words(self) -> str:
        """For the Event and the receipt."""
        total = self.used_kg + self.ahead_kg
        return f"projected {total:.3g} kg CO2e against a budget of {self.budget_kg:g} kg; {'; '.join(self.suggestions)}"


def project(
    record: Record,
    windows: Sequence[tuple[datetime, datetime]],
    forecast: Forecast,
    gpu: GpuType,
    settings: ClusterSettings,
    now: datetime,
) -> Projection | None:
    """The projection of a job that has a budget; None where it has none, or nothing is known of its power."""
    if record.ask.budget_kg is None or record.curve is None or record.workload.gpus == 0:
        return None
    pue, account, remaining_s = settings.pue or 1.0, record.ledger.account, record.remaining_s(now)
    kwh = _kwh(record, remaining_s, record.ledger.cap_w, settings)
    planned = windows or ((now, now + timedelta(seconds=remaining_s)),)
    spans = [(end - start).total_seconds() for start, end in planned]
    intensity = float(np.average([mean_of(forecast, *one)[0] for one in planned], weights=np.maximum(spans, 1.0)))
    used_kg = account.location_g / 1000.0 * pue
    ahead_kg = kwh * pue * intensity / 1000.0
    found = Projection(record.ask.budget_kg, used_kg, ahead_kg)
    if not found.is_over:
        return found
    left_kg = max(0.0, found.budget_kg - used_kg)
    suggestions = _suggest(record, forecast, gpu, settings, remaining_s, intensity, ahead_kg, left_kg)
    return Projection(found.budget_kg, used_kg, ahead_kg, tuple(suggestions))


def _kwh(record: Record, work_s: float, cap_w: float | None, settings: ClusterSettings) -> float:
    assert record.curve is not None  # noqa: S101 - asked before
    power_w = record.curve.power_w(cap_w) + settings.host_w_per_gpu
    return power_w * record.workload.gpus * work_s / record.curve.speed(cap_w) / 3.6e6


def _suggest(
    record: Record,
    forecast: Forecast,
    gpu: GpuType,
    settings: ClusterSettings,
    remaining_s: float,
    intensity: float,
    ahead_kg: float,
    left_kg: float,
) -> list[str]:
    """What would fit, each with its figure; the last needs the owner's judgement of quality."""
    share = left_kg / ahead_kg
    said = []
    slots = max(1, round(remaining_s / forecast.step_s))
    cleanest = float(np.sort(forecast.value)[:slots].mean())
    if cleanest < 0.98 * intensity:
        saved = 1.0 - cleanest / intensity
        fits = "fits" if cleanest <= share * intensity else "does not fit alone"
        horizon_h = len(forecast.value) * forecast.step_s / 3600.0
        said.append(f"a later deadline: the cleanest hours of the next {horizon_h:.0f} h emit {saved:.0%} less, {fits}")
    full = _kwh(record, remaining_s, record.ledger.cap_w, settings)
    least_cap = max(gpu.min_cap_w, record.ask.floor_w or 0.0)
    caps = np.linspace(least_cap, gpu.max_w, 11)
    costs = [_kwh(record, remaining_s, float(cap), settings) for cap in caps]
    best = int(np.argmin(costs))
    if costs[best] < 0.98 * full:
        fits = "fits" if costs[best] <= share * full else "does not fit alone"
        said.append(f"a cap of {caps[best]:.0f} W: {1.0 - costs[best] / full:.0%} less energy, {fits}")
    said.append(f"fewer steps: {share:.0%} of what is left fits")
    said.append("quantisation or pruning, where the model's quality allows it")
    return said
