"""The key figures of ISO/IEC 30134, each over the time in which every meter behind it was read.

PUE -2, REF -3, ITEEsv -4, ITEUsv -5, ERF -6, CER -7, CUE -8, WUE -9 (EN 50600-4-7 has CER with the same definition).
Figures over IT energy carry the category of where that was measured.
"""

from __future__ import annotations

from dataclasses import replace

from facility.site.report import Quantity
from twin.kpi import cue_kg_kwh, pue, wue_l_kwh
from twin.reports.figure import Figure
from twin.reports.inputs import CATEGORY_WORDS, IT_AT, Inputs, joined
from twin.reports.intensity import Intensity
from twin.reports.metered import Metered, Overlap, overlap
from twin.reports.renewable import renewable_kwh

CARBON_WHERE = "carbon intensity of the grid: give --carbon FILE (Electricity Maps CSV), or take it in by `eco ingest`"
_NAME = "ISO/IEC 30134-"


def key_figures(inputs: Inputs) -> tuple[Figure, ...]:
    """The whole set; figures without a meter have no value."""
    categories = tuple(pue_at(inputs, quantity, category) for quantity, category in reversed(IT_AT))
    return (
        _headline(categories),
        *categories,
        _ref(inputs),
        *_servers(inputs),
        _erf(inputs),
        cer(inputs),
        cue(inputs),
        wue(inputs),
    )


def pue_at(inputs: Inputs, quantity: Quantity, category: int) -> Figure:
    """PUE with IT energy measured at one place."""
    head = (f"pue_category_{category}", f"PUE, category {category}", "1", f"{_NAME}2")
    facility, it = inputs.meters.get("facility"), inputs.meters.get(quantity)
    if facility is None or it is None:
        return inputs.absent(*head, inputs.lacks("facility", quantity), category=category)
    when = overlap([facility, it])
    value = pue(facility.over(when.known), it.over(when.known))
    note = CATEGORY_WORDS[category]
    if value is not None and value < 1.0:
        note += "; below 1: the meters disagree, or the facility meter does not see all"
    return inputs.figure(*head, value, when, category=category, note=note, missing=_no_time(value, when))


def _headline(categories: tuple[Figure, ...]) -> Figure:
    """The highest category that there is."""
    best = next((one for one in reversed(categories) if one.value is not None), categories[-1])
    return replace(best, key="pue", name="PUE")


def _no_time(value: float | None, when: Overlap) -> str:
    """Why a ratio has no value though its meters are there."""
    if value is not None:
        return ""
    if not when.length_s:
        return "no time at which all its meters were read: look at each meter's gaps"
    return "nothing was drawn: there is nothing to divide by"


def _over_it(inputs: Inputs, over: Quantity) -> tuple[Metered, Metered, int, Overlap] | str:
    """A quantity, IT energy with its category, and where both were read; or what is missing."""
    top, found = inputs.meters.get(over), inputs.it()
    if top is None or found is None:
        return joined((inputs.lacks(over), "" if found else inputs.lacks_it))
    it, category = found
    return top, it, category, overlap([top, it])


def cue(inputs: Inputs) -> Figure:
    """Carbon of all the site's energy, location-based, over IT energy."""
    head = ("cue", "CUE", "kg/kWh", f"{_NAME}8")
    parts, intensity = _over_it(inputs, "facility"), inputs.location
    if isinstance(parts, str) or intensity is None:
        return inputs.absent(*head, joined((parts if isinstance(parts, str) else "", _no_carbon(intensity))))
    facility, it, category, both = parts
    when = both.meet(intensity.spans)
    value = cue_kg_kwh(intensity.carbon_kg(facility, when.known), it.over(when.known))
    note = f"location-based; {intensity.words}; {CATEGORY_WORDS[category]}"
    return inputs.figure(*head, value, when, category=category, note=note, missing=_no_time(value, when))


def _no_carbon(intensity: Intensity | None) -> str:
    return CARBON_WHERE if intensity is None else ""


def wue(inputs: Inputs) -> Figure:
    """Water over IT energy."""
    head = ("wue", "WUE", "L/kWh", f"{_NAME}9")
    parts = _over_it(inputs, "water")
    if isinstance(parts, str):
        return inputs.absent(*head, parts)
    water, it, category, when = parts
    value = wue_l_kwh(water.over(when.known), it.over(when.known))
    note = f"water drawn at the site; {CATEGORY_WORDS[category]}"
    return inputs.figure(*head, value, when, category=category, note=note, missing=_no_time(value, when))


def _erf(inputs: Inputs) -> Figure:
    head = ("erf", "ERF", "1", f"{_NAME}6")
    reused, facility = inputs.meters.get("reused_heat"), inputs.meters.get("facility")
    if reused is None or facility is None:
        return inputs.absent(*head, inputs.lacks("reused_heat", "facility"))
    when = overlap([reused, facility])
    drawn = facility.over(when.known)
    value = min(reused.over(when.known) / drawn, 1.0) if drawn > 0 else None
    return inputs.figure(*head, value, when, note="heat handed over for use outside", missing=_no_time(value, when))


def _ref(inputs: Inputs) -> Figure:
    """At most 1: what exceeds the site's own consumption does not count (EN 50600-4-3)."""
    head = ("ref", "REF", "1", f"{_NAME}3")
    facility, renewable = inputs.meters.get("facility"), renewable_kwh(inputs)
    claimed_kwh = renewable.within(facility.known.length_s / inputs.span_s) if facility else None
    if facility is None or claimed_kwh is None:
        return inputs.absent(*head, joined((inputs.lacks("facility"), renewable.missing)))
    when = overlap([facility])
    drawn = facility.over(when.known)
    value = min(claimed_kwh / drawn, 1.0) if drawn > 0 else None
    counted = "certificates and contracts by their share of the time measured, and on-site generation"
    note = joined((counted, f"not counted: {renewable.missing}" if renewable.missing else ""))
    return inputs.figure(*head, value, when, note=note, missing=_no_time(value, when))


def cer(inputs: Inputs) -> Figure:
    """Heat removed over the electricity that removed it."""
    head = ("cer", "CER", "1", f"{_NAME}7, EN 50600-4-7")
    heat, cooling = inputs.meters.get("heat_removed"), inputs.meters.get("cooling")
    if heat is None or cooling is None:
        return inputs.absent(*head, inputs.lacks("heat_removed", "cooling"))
    when = overlap([heat, cooling])
    drawn = cooling.over(when.known)
    value = heat.over(when.known) / drawn if drawn > 0 else None
    return inputs.figure(*head, value, when, note="heat removed over electricity", missing=_no_time(value, when))


def _servers(inputs: Inputs) -> tuple[Figure, Figure]:
    """ITEEsv from the servers' benchmark, ITEUsv as the mean CPU utilisation; GPUs count in neither."""
    work, power = inputs.facts.ict.server_work_per_s, inputs.facts.ict.server_max_w
    head = ("iteesv", "ITEEsv", "work/s/W", f"{_NAME}4")
    if work is None or power is None:
        where = "performance and maximum power of the servers by their benchmark (SERT): [report.ict]"
        efficiency = inputs.absent(*head, f"{where} server_work_per_s, server_max_w")
    else:
        efficiency = inputs.figure(*head, work / power, inputs.whole, note="as configured; CPUs alone")
    head = ("iteusv", "ITEUsv", "%", f"{_NAME}5")
    used = inputs.meters.get("cpu_utilisation")
    if used is None:
        return efficiency, inputs.absent(*head, inputs.lacks("cpu_utilisation"))
    note = "mean of CPUs over servers and time; GPUs do not count"
    return efficiency, inputs.figure(*head, used.mean(), overlap([used]), note=note)
