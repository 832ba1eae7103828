"""Tells that a building is no longer the one that was calibrated: which subsystem, since when, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

from twin.identification.calibrated import CalibratedHall
from twin.identification.columns import Columns
from twin.identification.observed import observed
from twin.identification.operation import STEP_S, operation
from twin.identification.replay import replay
from twin.identification.watch import Drift, watch
from twin.model_card import iso
from twin.prediction import BuildingModel, building_series
from twin.telemetry.reading import Telemetry


@dataclass(frozen=True, slots=True)
class DriftAlarm:
    """One output that has left the calibrated hall, in words and figures."""

    output: str
    since: str  # ISO, UTC
    alarmed: str
    change: float  # W or K, beyond what is usual
    change_pct: float | None

    @property
    def words(self) -> str:
        """What a person should know and do."""
        by = f"{self.change:+.2f} K" if self.change_pct is None else f"{self.change_pct:+.1f} %"
        what, _, _ = self.output.rpartition(",")
        return f"{what} {by} since {self.since[:10]} (seen {self.alarmed[:10]}): look at it, or calibrate again"


def find_drift(model: BuildingModel, telemetry: Telemetry, from_us: int) -> list[DriftAlarm]:
    """Alarms of the time from ``from_us`` on; none where the model has no calibrated hall or the time is too short."""
    if model.hall is None or not model.hall.usually:
        return []
    series, _ = building_series(model, telemetry)
    columns = Columns(series, model.topology, model.points)
    step_us = round(STEP_S * 1e6)
    first = max(0, -(-(from_us - series.clock.start_us) // step_us))
    found = _watched(model.hall, columns, int(first))
    begin_us = series.clock.start_us + int(first) * step_us
    return [
        DriftAlarm(
            output=drift.output,
            since=iso(begin_us + drift.since_step * step_us),
            alarmed=iso(begin_us + drift.alarm_step * step_us),
            change=drift.change,
            change_pct=drift.change_pct,
        )
        for drift in found
    ]


def _watched(calibrated: CalibratedHall, columns: Columns, first: int) -> list[Drift]:
    hall = calibrated.best
    run = operation(columns, hall)
    run, seen = run.part(first, len(run)), observed(columns)
    measured = {name: values[first:] for name, values in seen.items() if name in calibrated.usually}
    if not len(run) or not measured:
        return []
    shown = replay([hall], run, list(measured))
    return watch(measured, {name: values[:, 0] for name, values in shown.items()}, run, calibrated.usually)
