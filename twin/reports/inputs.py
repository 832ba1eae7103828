"""What a report is made of: meters as functions of time, intensities, facts of the site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from facility.site.report import Quantity, ReportFacts
from twin.kpi import YEAR_H
from twin.reports.figure import Figure
from twin.reports.intensity import Intensity
from twin.reports.metered import Metered, Overlap
from twin.reports.meters import WHERE
from twin.reports.spans import Spans

IT_AT: tuple[tuple[Quantity, int], ...] = (("it", 3), ("pdu_output", 2), ("ups_output", 1))
"""Where IT energy may be measured, the nearest to the servers first, with the category that makes of a figure."""
CATEGORY_WORDS: Mapping[int, str] = {1: "IT at UPS output", 2: "IT at PDU output", 3: "IT at the IT inlet"}


@dataclass(frozen=True, slots=True)
class Installed:
    """The GPUs of a hall."""

    gpus: int
    gpu_model: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """Everything behind a report over [start, end)."""

    site: str
    timezone: str
    start: datetime
    end: datetime
    meters: Mapping[Quantity, Metered]
    reasons: Mapping[Quantity, str] = field(default_factory=dict)  # why a quantity has no meter
    location: Intensity | None = None  # location-based, life cycle where there is a choice
    direct: Intensity | None = None  # location-based, combustion alone
    facts: ReportFacts = field(default_factory=ReportFacts)
    installed: Installed | None = None
    gpu_hours: float | None = None  # delivered, as the platform counted them
    jobs: float | None = None  # finished
    source: str = ""
    points: Mapping[Quantity, tuple[str, ...]] = field(default_factory=dict)

    @property
    def span_s(self) -> float:
        """Length in seconds."""
        return (self.end - self.start).total_seconds()

    @property
    def is_interim(self) -> bool:
        """Whether it is less than a year."""
        return self.span_s < YEAR_H * 3600.0

    def lacks(self, *quantities: Quantity) -> str:
        """What of these is not measured, and where to get it; empty where all is."""
        absent = [one for one in quantities if one not in self.meters]
        return "; ".join(self.reasons.get(one) or WHERE[one] for one in absent)

    def it(self) -> tuple[Metered, int] | None:
        """IT energy where it is measured nearest to the servers, with its category."""
        return next(((self.meters[name], category) for name, category in IT_AT if name in self.meters), None)

    @property
    def lacks_it(self) -> str:
        """Where to get IT energy."""
        return "; ".join(filter(None, (self.reasons.get(name) for name, _ in IT_AT))) or WHERE["it"]

    @property
    def whole(self) -> Overlap:
        """The report's span."""
        span = Spans.of([(0.0, self.span_s)])
        return Overlap(span, span)

    def figure(
        self, key: str, name: str, unit: str, standard: str, value: float | None, when: Overlap | None, **more: Any
    ) -> Figure:
        """A figure of ``when`` its meters are known; whatever is less than a year says so."""
        coverage_pct = 0.0 if when is None else 100.0 * when.read.length_s / self.span_s
        notes = [more.pop("note", ""), self._bridged(when)]
        if self.is_interim and value is not None:
            notes.append(f"interim: {self.span_s / 3600.0:.4g} h, not a year")
        return Figure(
            key=key,
            name=name,
            unit=unit,
            standard=standard,
            value=value,
            start=self.start,
            end=self.end,
            coverage_pct=min(coverage_pct, 100.0),
            is_interim=self.is_interim,
            note="; ".join(filter(None, notes)),
            **more,
        )

    def _bridged(self, when: Overlap | None) -> str:
        """How much of it registers counted while they were not read."""
        share_pct = 0.0 if when is None else 100.0 * (when.known.length_s - when.read.length_s) / self.span_s
        return f"{share_pct:.2g} % of the time counted by registers that were not read" if share_pct > 0.005 else ""

    def absent(self, key: str, name: str, unit: str, standard: str, missing: str, **more: Any) -> Figure:
        """A figure that cannot be had, and why."""
        return self.figure(key, name, unit, standard, None, None, missing=missing, **more)


def joined(missing: Sequence[str]) -> str:
    """Several reasons as one text."""
    return "; ".join(dict.fromkeys(part for part in missing if part))
