"""The one function behind `eco report`: inputs to figures, whoever asks and wherever the readings came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from twin.reports.ashrae904 import ashrae_figures
from twin.reports.eu import Field, duty, eu_fields, eu_indicators
from twin.reports.figure import Figure
from twin.reports.ghg import ghg_figures
from twin.reports.history import History, history
from twin.reports.inputs import Inputs
from twin.reports.iso30134 import key_figures
from twin.reports.sci import sci_figures

Standard = Literal["iso30134", "eu2024-1364", "ghg", "sci", "ashrae90.4"]
STANDARDS: tuple[Standard, ...] = get_args(Standard)
TITLES: Mapping[Standard, str] = {
    "iso30134": "Key figures, ISO/IEC 30134",
    "eu2024-1364": "Delegated Regulation (EU) 2024/1364",
    "ghg": "Greenhouse gases: scope 2 by both methods, scope 3 of equipment",
    "sci": "Software carbon intensity, ISO/IEC 21031",
    "ashrae90.4": "Mechanical and electrical loads in operation, ASHRAE 90.4",
}
_FIGURES: Mapping[Standard, Callable[[Inputs], tuple[Figure, ...]]] = {
    "iso30134": key_figures,
    "eu2024-1364": eu_indicators,
    "ghg": ghg_figures,
    "sci": sci_figures,
    "ashrae90.4": ashrae_figures,
}


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Figures by standard; ``fields`` are those of the EU's annexes, where they were asked for."""

    inputs: Inputs
    figures: Mapping[Standard, tuple[Figure, ...]]
    fields: tuple[Field, ...]
    history: History

    def to_json(self) -> dict[str, Any]:
        """{"kpis": {key: figure}} and, for the regulation, its fields.

        Beside those of ISO/IEC 30134 the regulation's own indicators, which take IT energy elsewhere, are ``eu_...``.
        """
        kpis = {one.key: one.to_json() for group in self.figures.values() for one in group}
        fields = {"fields": [one.to_json() for one in self.fields], "duty": duty(self.inputs)} if self.fields else {}
        return {"kpis": kpis, **fields}


def build(inputs: Inputs, standards: tuple[Standard, ...] = STANDARDS) -> Report:
    """All figures of some standards; what cannot be had is there, without a value and with where to get it."""
    figures = {name: _FIGURES[name](inputs) for name in standards}
    if {"iso30134", "eu2024-1364"} <= set(figures):
        figures["eu2024-1364"] = tuple(replace(one, key=f"eu_{one.key}") for one in figures["eu2024-1364"])
    fields = eu_fields(inputs) if "eu2024-1364" in standards else ()
    return Report(inputs, figures, fields, history(inputs))
