"""Carbon intensity over a report's span: held over its steps, unknown where the source has nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from facility.records import FloatArray
from twin.reports.metered import Metered
from twin.reports.spans import Spans
from twin.signals import Series


@dataclass(frozen=True, slots=True, eq=False)
class Intensity:
    """g CO2e/kWh [n] in steps between ``edges_s`` [n + 1], seconds since the report's beginning; NaN is unknown."""

    edges_s: FloatArray
    g_kwh: FloatArray
    kind: str  # lifecycle or direct
    source: str
    synthetic: bool = False

    @property
    def spans(self) -> Spans:
        """Where it is known."""
        known = np.isfinite(self.g_kwh)
        return Spans(self.edges_s[:-1][known], self.edges_s[1:][known])

    def carbon_kg(self, energy_kwh: Metered, spans: Spans) -> float:
        """Carbon of energy drawn in ``spans``, which must lie where both are known."""
        drawn = energy_kwh.steps(spans, self.edges_s)
        return float(np.sum(drawn * np.nan_to_num(self.g_kwh))) / 1000.0

    @property
    def words(self) -> str:
        """Kind and source, for a note."""
        kind = {"lifecycle": "life-cycle", "direct": "direct (combustion)"}.get(self.kind, self.kind or "unstated")
        made_up = "SYNTHETIC, no measurement: " if self.synthetic and "synthetic" not in self.source else ""
        return f"{kind} intensity: {made_up}{self.source}"


def of_series(series: Series, start: datetime, end: datetime) -> Intensity | None:
    """A signal on its own grid, cut to [start, end); None where it has nothing there."""
    first = (series.start - start).total_seconds()
    edges = first + np.arange(len(series.value) + 1, dtype=np.float64) * series.step_s
    kept = (edges[1:] > 0.0) & (edges[:-1] < (end - start).total_seconds())
    if not kept.any():
        return None
    return Intensity(
        np.append(edges[:-1][kept], edges[1:][kept][-1]),
        np.asarray(series.value[kept], dtype=np.float64),
        series.kind,
        series.source,
        series.synthetic,
    )


def of_readings(at_s: FloatArray, value: FloatArray, kind: str, source: str) -> Intensity | None:
    """Readings that each hold until the next, the last for as long as the usual step; None without readings."""
    known = np.isfinite(value)
    at_s, value = at_s[known], value[known]
    if not at_s.size:
        return None
    step_s = float(np.median(np.diff(at_s))) if at_s.size > 1 else 3600.0
    held = np.minimum(np.append(np.diff(at_s), step_s), 2.0 * step_s)
    edges = np.unique(np.concatenate([at_s, at_s + held]))
    owner = np.searchsorted(at_s, edges[:-1], side="right") - 1
    inside = edges[:-1] < (at_s + held)[owner]
    return Intensity(edges, np.where(inside, value[owner], np.nan), kind, source)
