"""What a series holds, in figures and findings: for `eco ingest`, and for the head of every result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from twin.signals.plausible import dip_offset_h
from twin.signals.series import CARBON, Gap, Series
from twin.signals.zones import find_zone

STUCK_H = 24.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth knowing about a series; ``level`` is ``info`` or ``warning``."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """Span, range, gaps and findings of one series."""

    quantity: str
    unit: str
    zone: str
    source: str
    synthetic: bool
    start: datetime
    end: datetime
    step_s: float
    values: int
    least: float
    mean: float
    most: float
    estimated: int
    gaps: tuple[Gap, ...]
    findings: tuple[Finding, ...]


def report(series: Series) -> SeriesReport:
    """Describe a series: what was filled, estimated, stuck or made up. Errors were raised when it was read."""
    return SeriesReport(
        quantity=series.quantity,
        unit=series.unit,
        zone=series.zone,
        source=series.source,
        synthetic=series.synthetic,
        start=series.start,
        end=series.end,
        step_s=series.step_s,
        values=len(series.value),
        least=float(series.value.min()),
        mean=float(series.value.mean()),
        most=float(series.value.max()),
        estimated=series.estimated,
        gaps=series.gaps,
        findings=tuple(_findings(series)),
    )


def _findings(series: Series) -> list[Finding]:
    found = [Finding("info", note) for note in series.notes]
    if series.synthetic:
        found.append(Finding("warning", "synthetic: made up, not measured"))
    if series.estimated:
        found.append(Finding("info", f"{series.estimated} of {len(series.value)} values are estimated by the source"))
    if series.gaps:
        filled = sum(gap.missing for gap in series.gaps)
        first = series.gaps[0].start
        found.append(
            Finding("warning", f"{filled} missing values were interpolated, the first at {first:%Y-%m-%d %H:%M} UTC")
        )
    stuck = _longest_run(series)
    if stuck * series.step_s >= STUCK_H * 3600.0:
        found.append(Finding("warning", f"one value stands still for {stuck * series.step_s / 3600.0:g} h"))
    if series.quantity == CARBON:
        found.append(_sun(series))
    return found


def _sun(series: Series) -> Finding:
    """What the midday dip says of the clock."""
    offset = dip_offset_h(series)
    if offset is not None:
        return Finding("info", f"the midday dip trails solar noon by {offset:.1f} h: the stamps are UTC")
    if find_zone(series.zone) is None:
        return Finding("info", f"zone {series.zone} is not listed, so clock and place could not be checked")
    return Finding("info", "too short, or too little sun in the mix, to check the clock")


def _longest_run(series: Series) -> int:
    """The length of the longest run of equal values."""
    edges = np.flatnonzero(np.diff(series.value) != 0.0)
    return int(np.diff(np.concatenate([[-1], edges, [len(series.value) - 1]])).max())
