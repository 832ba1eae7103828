"""Annexes I and II of Delegated Regulation (EU) 2024/1364, field by field in the regulation's order and symbols.

IT energy is that at the UPS output (category 1), at the PDUs where there is no UPS. The symbol T_IN stands for two
quantities: the intake air's setpoint (item 1(l), C) and incoming traffic (item 3(c), EB); each row says which.
Sites of 500 kW of IT and more report by 15 May for the year before and keep the records for ten years.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from facility.site.report import Quantity
from twin.reports.degree_days import cooling_degree_days
from twin.reports.figure import Figure
from twin.reports.inputs import CATEGORY_WORDS, IT_AT, Inputs, joined
from twin.reports.iso30134 import key_figures, pue_at
from twin.reports.metered import Metered
from twin.reports.renewable import INSTRUMENTS_WHERE, renewable_kwh

REGULATION = "Delegated Regulation (EU) 2024/1364"
THRESHOLD_KW = 500.0


@dataclass(frozen=True, slots=True)
class Field:
    """One field; without a value ``missing`` says where to get it."""

    annex: str  # I, II
    item: str  # as the regulation numbers it
    symbol: str
    name: str
    unit: str
    value: float | str | None
    missing: str = ""
    note: str = ""
    coverage_pct: float | None = None  # None: a fact, not a measurement

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        names = ("annex", "item", "symbol", "name", "unit", "value", "coverage_pct", "note")
        return {**{name: getattr(self, name) for name in names}, "missing": self.missing or None}


def eu_fields(inputs: Inputs) -> tuple[Field, ...]:
    """Every field of both annexes."""
    return (*_annex_1(inputs), *_energy(inputs), *_environment(inputs), *_renewables(inputs), *_ict(inputs))


def eu_indicators(inputs: Inputs) -> tuple[Figure, ...]:
    """The indicators that the Commission computes (Annex III): PUE, WUE, ERF, REF, with IT energy as in Annex II."""
    quantity, category = _it_place(inputs)
    found = {one.key: one for one in key_figures(_measured_at(inputs, quantity))}
    pue = pue_at(inputs, quantity, category).renamed(key="pue", name="PUE")
    return tuple(replace(one, standard=f"{REGULATION}, Annex III") for one in (pue, *map(found.__getitem__, _OTHERS)))


_OTHERS = ("wue", "erf", "ref")


def _it_place(inputs: Inputs) -> tuple[Quantity, int]:
    """UPS output, else PDU output, else the IT inlet; UPS output where nothing is measured."""
    return next((place for place in reversed(IT_AT) if place[0] in inputs.meters), IT_AT[-1])


def _measured_at(inputs: Inputs, quantity: Quantity) -> Inputs:
    """The same with IT energy measured there alone."""
    others = {name for name, _ in IT_AT} - {quantity}
    return replace(inputs, meters={name: one for name, one in inputs.meters.items() if name not in others})


def _fact(annex: str, item: str, symbol: str, name: str, unit: str, value: float | str | None, key: str) -> Field:
    """What the site file states in ``key``, or where to state it."""
    known = None if value == "" else value
    return Field(annex, item, symbol, name, unit, known, "" if known is not None else f"state it in [report] {key}")


def _annex_1(inputs: Inputs) -> tuple[Field, ...]:
    facts, levels = inputs.facts, inputs.facts.redundancy
    rows: tuple[tuple[str, str, str], ...] = (
        ("name of the data centre", inputs.site, "the site's name, [site] name"),
        ("owner: name and contact", facts.owner, "owner"),
        ("operator: name and contact", facts.operator, "operator"),
        ("location: local administrative unit (LAU) code", facts.lau_code, "lau_code"),
        ("type: enterprise, colocation or co-hosting", facts.kind, "kind"),
        ("year and month of entry into operation", facts.in_operation_since, "in_operation_since, as 2019-04"),
        ("redundancy, electrical, high voltage", levels.electrical_high_voltage, "redundancy.electrical_high_voltage"),
        ("redundancy, electrical, low voltage", levels.electrical_low_voltage, "redundancy.electrical_low_voltage"),
        ("redundancy, electrical, rack", levels.electrical_rack, "redundancy.electrical_rack"),
        ("redundancy, cooling, room", levels.cooling_room, "redundancy.cooling_room"),
        ("redundancy, cooling, rack", levels.cooling_rack, "redundancy.cooling_rack"),
    )
    return tuple(_fact("I", str(n + 1), "", name, "", value, key) for n, (name, value, key) in enumerate(rows))


def _energy(inputs: Inputs) -> tuple[Field, ...]:
    facts = inputs.facts
    quantity, category = _it_place(inputs)
    it = _total(inputs, quantity, "1(e)", "E_IT", "energy of the IT equipment", "kWh")
    return (
        _fact("II", "1(a)", "P_DIT", "installed IT power demand", "kW", facts.rated_it_kw, "rated_it_kw"),
        _fact("II", "1(b)", "S_DC", "floor area of the data centre", "m2", facts.floor_m2, "floor_m2"),
        _fact("II", "1(c)", "S_CR", "floor area of computer rooms", "m2", facts.computer_room_m2, "computer_room_m2"),
        _total(inputs, "facility", "1(d)", "E_DC", "total energy, fuels included", "kWh"),
        _total(inputs, "generator", "1(d)", "E_DC-BG", "of it from backup generators", "kWh"),
        replace(it, note=joined((CATEGORY_WORDS[category], it.note))),
        _fact("II", "1(f)", "", "grid functions", "", facts.grid_functions, "grid_functions"),
        _fact(
            "II",
            "1(g)",
            "C_BtG",
            "battery capacity offered to the grid, mean",
            "kW",
            facts.battery_to_grid_kw,
            "battery_to_grid_kw",
        ),
    )


def _environment(inputs: Inputs) -> tuple[Field, ...]:
    refrigerants = ", ".join(inputs.facts.refrigerants)
    return (
        _total(inputs, "water", "1(h)", "W_IN", "water drawn", "m3", per_unit=1e-3),
        _total(inputs, "potable_water", "1(i)", "W_IN-POT", "of it potable", "m3", per_unit=1e-3),
        _total(inputs, "reused_heat", "1(j)", "E_REUSE", "waste heat reused outside", "kWh"),
        _mean(inputs, "waste_heat_temperature", "1(k)", "T_WH", "temperature of the waste heat, mean"),
        _mean(inputs, "intake_setpoint", "1(l)", "T_IN", "setpoint of the IT intake air, mean"),
        _fact("II", "1(m)", "", "refrigerants", "", refrigerants, "refrigerants"),
        _degree_days(inputs),
    )


def _total(
    inputs: Inputs, quantity: Quantity, item: str, symbol: str, name: str, unit: str, per_unit: float = 1.0
) -> Field:
    """A sum over the span; what a register counted while it was not read is in it, and said."""
    meter = inputs.meters.get(quantity)
    if meter is None or not meter.known.length_s:
        where = inputs.lacks(quantity) or "its meter was not read in this span"
        return Field("II", item, symbol, name, unit, None, where, coverage_pct=0.0)
    unread = meter.unread * per_unit
    note = f"of it {unread:.6g} {unit} counted while the register was not read" if unread > 0 else ""
    value = meter.over(meter.known) * per_unit
    return Field("II", item, symbol, name, unit, value, "", note, _coverage(inputs, meter))


def _mean(inputs: Inputs, quantity: Quantity, item: str, symbol: str, name: str) -> Field:
    meter = inputs.meters.get(quantity)
    value = None if meter is None else meter.mean()
    if meter is None or value is None:
        return Field("II", item, symbol, name, "C", None, inputs.lacks(quantity) or "not read", coverage_pct=0.0)
    note = "supply air's setpoint" if quantity == "intake_setpoint" and not inputs.facts.meters.intake_setpoint else ""
    return Field("II", item, symbol, name, "C", value, "", note, _coverage(inputs, meter))


def _coverage(inputs: Inputs, meter: Metered) -> float:
    return min(100.0 * meter.read.length_s / inputs.span_s, 100.0)


def _degree_days(inputs: Inputs) -> Field:
    head = ("II", "1(n)", "CDD", "cooling degree days, base 21 C", "K d")
    outdoor = inputs.meters.get("drybulb")
    if outdoor is None:
        return Field(*head, None, inputs.lacks("drybulb"), coverage_pct=0.0)
    found = cooling_degree_days(outdoor, inputs.start, inputs.end, inputs.timezone)
    if found is None:
        return Field(*head, None, "no whole day of outdoor readings in this span", coverage_pct=0.0)
    return Field(
        *head, found.kelvin_days, "", f"sum of daily means above 21 C over {found.days} days", found.coverage_pct
    )


def _renewables(inputs: Inputs) -> tuple[Field, ...]:
    """Claims by their share of the span; the total is that of what is known, and says what is not."""
    found = renewable_kwh(inputs)
    lacking = inputs.lacks("onsite_renewable")
    onsite = inputs.meters.get("onsite_renewable")
    rows: tuple[tuple[str, str, str, float | None, str, str], ...] = (
        ("1(o)", "E_RES-TOT", "renewable energy, total", found.total_kwh, found.missing, found.missing),
        ("1(p)", "E_RES-GOO", "of it by guarantees of origin", found.origin_kwh, INSTRUMENTS_WHERE, ""),
        ("1(q)", "E_RES-PPA", "of it by power purchase agreements", found.ppa_kwh, INSTRUMENTS_WHERE, ""),
        ("1(r)", "E_RES-OS", "of it from on-site generation", found.onsite_kwh, lacking, ""),
    )
    covered = {"E_RES-OS": _coverage(inputs, onsite)} if onsite is not None else {}
    return tuple(
        Field(
            "II",
            item,
            symbol,
            name,
            "kWh",
            value,
            where if value is None else "",
            f"not counted: {note}" if note and value is not None else "",
            covered.get(symbol),
        )
        for item, symbol, name, value, where, note in rows
    )


def _ict(inputs: Inputs) -> tuple[Field, ...]:
    ict = inputs.facts.ict
    rows: tuple[tuple[str, str, str, str, float | None, str], ...] = (
        ("2(a)", "C_SERV", "ICT capacity of servers", "", ict.server_capacity, "server_capacity"),
        ("2(b)", "C_STOR", "ICT capacity of storage", "PB", ict.storage_pb, "storage_pb"),
        ("3(a)", "B_IN", "incoming bandwidth", "GB/s", ict.incoming_gb_s, "incoming_gb_s"),
        ("3(b)", "B_OUT", "outgoing bandwidth", "GB/s", ict.outgoing_gb_s, "outgoing_gb_s"),
        ("3(c)", "T_IN", "incoming traffic (the same symbol as the setpoint)", "EB", ict.incoming_eb, "incoming_eb"),
        ("3(d)", "T_OUT", "outgoing traffic", "EB", ict.outgoing_eb, "outgoing_eb"),
    )
    return tuple(_fact("II", *row[:4], row[4], f"ict.{row[5]}") for row in rows)


def duty(inputs: Inputs) -> str:
    """Whether the site must report, in words."""
    rated = inputs.facts.rated_it_kw
    if rated is None:
        return f"sites of {THRESHOLD_KW:g} kW of IT and more report; this one's rated_it_kw is not stated"
    verb = "must report" if rated >= THRESHOLD_KW else "need not report"
    return f"with {rated:g} kW of IT this site {verb} (from {THRESHOLD_KW:g} kW on), by 15 May for the year before"
