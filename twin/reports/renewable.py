"""Renewable energy of a span: cancelled guarantees of origin, power purchase agreements, and on-site generation.

An instrument covers a period; of it counts the share of time that lies in the span. Energy under a contract whose
guarantees of origin are cancelled too must be stated once, as one of the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from facility.site.report import Instrument
from twin.reports.inputs import Inputs, joined

INSTRUMENTS_WHERE = (
    "guarantees of origin and contracts: one [[report.instrument]] each; none_of = ['instruments'] if there are none"
)


@dataclass(frozen=True, slots=True)
class Renewable:
    """kWh by origin; None is not known. ``missing`` says what, and where to get it."""

    origin_kwh: float | None
    ppa_kwh: float | None
    onsite_kwh: float | None
    missing: str

    @property
    def total_kwh(self) -> float | None:
        """What is known of it; None where nothing is."""
        return self.within(1.0)

    def within(self, share: float) -> float | None:
        """The same beside energy measured for a share of the span: claims count for that share."""
        claims = [part * share for part in (self.origin_kwh, self.ppa_kwh) if part is not None]
        parts = claims if self.onsite_kwh is None else [*claims, self.onsite_kwh]
        return sum(parts) if parts else None


def renewable_kwh(inputs: Inputs) -> Renewable:
    """Renewable energy of the report's span, each origin apart."""
    instruments = inputs.facts.instrument
    is_said = bool(instruments) or "instruments" in inputs.facts.none_of
    onsite = inputs.meters.get("onsite_renewable")
    renewable = [one for one in instruments if one.renewable]
    contracts = [one for one in renewable if one.kind == "ppa"]
    certificates = [one for one in renewable if one.kind != "ppa"]
    return Renewable(
        origin_kwh=covered_kwh(inputs, certificates) if is_said else None,
        ppa_kwh=covered_kwh(inputs, contracts) if is_said else None,
        onsite_kwh=None if onsite is None else onsite.over(onsite.known),
        missing=joined(("" if is_said else INSTRUMENTS_WHERE, inputs.lacks("onsite_renewable"))),
    )


def covered_kwh(inputs: Inputs, instruments: Iterable[Instrument]) -> float:
    """Energy of instruments by the share of their period that lies in the report's span."""
    return sum(one.kwh * share_of(one, inputs.start, inputs.end) for one in instruments)


def share_of(one: Instrument, start: datetime, end: datetime) -> float:
    """Share of an instrument's period that lies in [start, end)."""
    first, last = _midnight(one.start), _midnight(one.end)
    overlap_s = (min(last, end) - max(first, start)).total_seconds()
    return max(overlap_s, 0.0) / (last - first).total_seconds()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
