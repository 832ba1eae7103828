"""MLC and ELC in operation, against the limits of ASHRAE 90.4 where they are configured.

The standard's components are design values: these are operated ones of the same form, and no proof of compliance. Its
limits by climate zone and edition are not part of this product: the site file states them with edition and table.
"""

from __future__ import annotations

from twin.reports.figure import Figure
from twin.reports.inputs import CATEGORY_WORDS, Inputs, joined
from twin.reports.metered import overlap

STANDARD = "ASHRAE 90.4, operated"
LIMIT_WHERE = (
    "limit not configured: take it for your climate zone from the tables of the edition adopted where you are, "
    "and state it in [report.ashrae_90_4]"
)


def ashrae_figures(inputs: Inputs) -> tuple[Figure, Figure, Figure]:
    """Mechanical load, electrical losses, and their sum, each over IT energy."""
    limits = inputs.facts.ashrae_90_4
    mlc, elc = _mlc(inputs), _elc(inputs)
    both = None if mlc.value is None or elc.value is None else mlc.value + elc.value
    summed = limits.mlc_max + limits.elc_max if limits.mlc_max is not None and limits.elc_max is not None else None
    total = mlc.renamed(
        key="mlc_elc",
        name="MLC + ELC",
        value=both,
        coverage_pct=min(mlc.coverage_pct, elc.coverage_pct),
        note="the standard lets one component make up for the other" if both is not None else "",
        missing=joined((mlc.missing, elc.missing)),
    )
    return _against(inputs, mlc, limits.mlc_max), _against(inputs, elc, limits.elc_max), _against(inputs, total, summed)


def _mlc(inputs: Inputs) -> Figure:
    head = ("mlc", "MLC, mechanical load component", "1", STANDARD)
    cooling, found = inputs.meters.get("cooling"), inputs.it()
    if cooling is None or found is None:
        return inputs.absent(*head, joined((inputs.lacks("cooling"), "" if found else inputs.lacks_it)))
    it, category = found
    when = overlap([cooling, it])
    drawn = it.over(when.known)
    value = cooling.over(when.known) / drawn if drawn > 0 else None
    return _valued(inputs.figure(*head, value, when, category=category, note=CATEGORY_WORDS[category]))


def _elc(inputs: Inputs) -> Figure:
    """Losses from the UPS's input to where IT energy is measured."""
    head = ("elc", "ELC, electrical loss component", "1", STANDARD)
    top, found = inputs.meters.get("ups_input"), inputs.it()
    if top is None or found is None:
        return inputs.absent(*head, joined((inputs.lacks("ups_input"), "" if found else inputs.lacks_it)))
    it, category = found
    when = overlap([top, it])
    drawn = it.over(when.known)
    value = (top.over(when.known) - drawn) / drawn if drawn > 0 else None
    note = f"from the UPS's input, {CATEGORY_WORDS[category]}; what is lost before the UPS is not in it"
    return _valued(inputs.figure(*head, value, when, category=category, note=note))


def _valued(figure: Figure) -> Figure:
    if figure.value is None:
        return figure.renamed(missing="no time at which all its meters were read, or nothing was drawn")
    return figure


def _against(inputs: Inputs, figure: Figure, limit: float | None) -> Figure:
    limits = inputs.facts.ashrae_90_4
    said = LIMIT_WHERE if limit is None else f"limit of zone {limits.climate_zone}: {limits.source}"
    return figure.renamed(limit=limit, note=joined((figure.note, said, "operated value, not the design value")))
