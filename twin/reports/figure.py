"""One figure of a report, with all that a reader needs to trust it or to go and get it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure over [start, end); without a value ``missing`` says what is missing and where to get it."""

    key: str
    name: str
    unit: str
    standard: str
    value: float | None
    start: datetime
    end: datetime
    coverage_pct: float  # share of the span with good readings of every meter behind it
    category: int | None = None  # where IT energy is measured: 1 UPS output, 2 PDU output, 3 IT inlet
    is_interim: bool = True  # of less than a year
    note: str = ""
    missing: str = ""
    limit: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "value": self.value,
            "unit": self.unit,
            "category": self.category,
            "coverage_pct": self.coverage_pct,
            "from": self.start.isoformat(),
            "to": self.end.isoformat(),
            "interim": self.is_interim,
            "name": self.name,
            "standard": self.standard,
            "note": self.note,
            "missing": self.missing or None,
            **({} if self.limit is None else {"limit": self.limit, "within_limit": self.is_within}),
        }

    @property
    def is_within(self) -> bool | None:
        """Whether it is at or below its limit; None without one of them."""
        return None if self.limit is None or self.value is None else self.value <= self.limit

    def renamed(self, **changes: Any) -> Figure:
        """The same with some fields changed."""
        return replace(self, **changes)
