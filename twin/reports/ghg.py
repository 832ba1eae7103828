"""Scope 2 by both methods, side by side, and scope 3 of equipment and of fuels upstream (GHG Protocol).

Location-based: each hour's energy times the grid's intensity of that hour. Market-based: energy under instruments at
their own intensity, the rest at the residual mix. Purchased energy is the main meter's without what the site made.
"""

from __future__ import annotations

from facility.site.report import Quantity
from twin.reports.embodied import SERVERS_WHERE, share_kg, whole_kg, words
from twin.reports.figure import Figure
from twin.reports.inputs import Inputs, joined
from twin.reports.intensity import Intensity
from twin.reports.iso30134 import CARBON_WHERE
from twin.reports.metered import Metered, Overlap, overlap
from twin.reports.renewable import share_of
from twin.reports.spans import Spans

_SCOPE2 = "GHG Protocol scope 2"
_SCOPE3 = "GHG Protocol scope 3"
RESIDUAL_WHERE = (
    "residual mix: [report.residual_mix] g_kwh with its source (AIB publishes Europe's, Green-e that of the USA)"
)
_MADE_ON_SITE: tuple[Quantity, ...] = ("onsite_renewable", "generator")


def ghg_figures(inputs: Inputs) -> tuple[Figure, ...]:
    """Both methods of scope 2, what is upstream of the fuels, and equipment."""
    return (scope2_location(inputs), scope2_market(inputs), _upstream(inputs), *_capital_goods(inputs))


def purchased(inputs: Inputs) -> tuple[Metered, Overlap] | None:
    """Energy from outside and when it was measured; None without a main meter."""
    facility = inputs.meters.get("facility")
    if facility is None:
        return None
    made = [inputs.meters[name] for name in _MADE_ON_SITE if name in inputs.meters]
    return facility, overlap([facility, *made])


def purchased_kwh(inputs: Inputs, facility: Metered, spans: Spans) -> float:
    """Energy from outside in ``spans``: what the main meter saw less what the site made itself, never below zero."""
    made = sum(inputs.meters[name].over(spans) for name in _MADE_ON_SITE if name in inputs.meters)
    return max(facility.over(spans) - made, 0.0)


def _located_kg(inputs: Inputs, intensity: Intensity, facility: Metered, spans: Spans) -> float:
    made = sum(intensity.carbon_kg(inputs.meters[name], spans) for name in _MADE_ON_SITE if name in inputs.meters)
    return intensity.carbon_kg(facility, spans) - made


def scope2_location(inputs: Inputs) -> Figure:
    """The grid's carbon of every hour; combustion alone where the source tells it apart from the life cycle."""
    head = ("scope2_location_kg", "Scope 2, location-based", "kg", _SCOPE2)
    bought, intensity = purchased(inputs), inputs.direct or inputs.location
    if bought is None or intensity is None:
        return inputs.absent(*head, joined((inputs.lacks("facility"), "" if intensity else CARBON_WHERE)))
    facility, measured = bought
    when = measured.meet(intensity.spans)
    if not when.length_s:
        return inputs.absent(*head, f"no time at which both energy and intensity are known; {CARBON_WHERE}")
    upstream = (
        "" if inputs.direct else "upstream of the fuels is within it, which scope 2 leaves out: give direct values"
    )
    note = joined((intensity.words, upstream))
    return inputs.figure(*head, _located_kg(inputs, intensity, facility, when.known), when, note=note)


def scope2_market(inputs: Inputs) -> Figure:
    """Contracts first, then the residual mix; without it nothing is put in its place."""
    head = ("scope2_market_kg", "Scope 2, market-based", "kg", _SCOPE2)
    bought = purchased(inputs)
    if bought is None:
        return inputs.absent(*head, inputs.lacks("facility"))
    facility, when = bought
    if not when.length_s:
        return inputs.absent(*head, "no time at which the main meter was read")
    kwh = purchased_kwh(inputs, facility, when.known)
    kg = market_kg(inputs, kwh, when.length_s / inputs.span_s)
    if kg is None:
        return inputs.absent(*head, RESIDUAL_WHERE)
    return inputs.figure(*head, kg, when, note=_contracts(inputs))


def market_kg(inputs: Inputs, kwh: float, share: float) -> float | None:
    """Carbon of ``kwh`` by contracts, of which ``share`` counts; None where the rest has no residual mix.

    Instruments are used up in the order of the file; more of them than energy drawn do not go below zero.
    """
    left_kwh, grams = kwh, 0.0
    for one in inputs.facts.instrument:
        used_kwh = min(one.kwh * share_of(one, inputs.start, inputs.end) * share, left_kwh)
        left_kwh -= used_kwh
        grams += used_kwh * one.g_kwh
    residual = inputs.facts.residual_mix
    if left_kwh > 1e-9 * kwh and residual is None:
        return None
    return (grams + left_kwh * (residual.g_kwh if residual else 0.0)) / 1e3


def _contracts(inputs: Inputs) -> str:
    listed = [
        f"{one.kwh:g} kWh {one.kind.replace('_', ' ')} {one.start} to {one.end} at {one.g_kwh:g} g/kWh ({one.source})"
        for one in inputs.facts.instrument
    ]
    mix = inputs.facts.residual_mix
    rest = f"the rest at the residual mix, {mix.g_kwh:g} g/kWh ({mix.source})" if mix else "all of it under contracts"
    return "; ".join([*listed, rest])


def _upstream(inputs: Inputs) -> Figure:
    """Category 3 of what was bought: life cycle less combustion, where both are known."""
    head = ("scope3_fuel_upstream_kg", "Scope 3 category 3, upstream of electricity", "kg", _SCOPE3)
    bought, whole, direct = purchased(inputs), inputs.location, inputs.direct
    if bought is None or whole is None or direct is None or whole.kind != "lifecycle":
        where = (
            ""
            if whole and direct
            else "life-cycle and direct intensity of the grid: --carbon with a file that has both"
        )
        return inputs.absent(*head, joined((inputs.lacks("facility"), where)))
    facility, measured = bought
    when = measured.meet(whole.spans).meet(direct.spans)
    kg = _located_kg(inputs, whole, facility, when.known) - _located_kg(inputs, direct, facility, when.known)
    return inputs.figure(*head, kg, when, note="life-cycle less direct intensity, location-based; network losses not")


def _capital_goods(inputs: Inputs) -> tuple[Figure, Figure]:
    standard = f"{_SCOPE3} category 2"
    whole, part = whole_kg(inputs), share_kg(inputs, inputs.span_s)
    spread = ("embodied_share_kg", "Embodied carbon of equipment, the span's share of its life", "kg", standard)
    total = ("embodied_kg", "Embodied carbon of equipment, whole", "kg", standard)
    if whole is None or part is None:
        return inputs.absent(*spread, SERVERS_WHERE), inputs.absent(*total, SERVERS_WHERE)
    in_year = (
        "the corporate standard counts the whole in the year of purchase; spread over life it is for SCI and trends"
    )
    return (
        inputs.figure(*spread, part, inputs.whole, note=f"{words(inputs)}; {in_year}"),
        inputs.figure(*total, whole, inputs.whole, note=words(inputs)),
    )
