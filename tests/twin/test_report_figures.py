"""Figures of a report on inputs small enough to be worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facility.errors import DataError
from facility.site import Roles
from facility.site.report import (
    Ashrae904,
    Embodied,
    Instrument,
    Quantity,
    ReportFacts,
    ReportMeters,
    ResidualMix,
)
from twin.reports.build import STANDARDS, build
from twin.reports.eu import Field, eu_fields
from twin.reports.figure import Figure
from twin.reports.inputs import Inputs, Installed
from twin.reports.intensity import Intensity
from twin.reports.iso30134 import key_figures
from twin.reports.metered import Metered, from_rate, nothing
from twin.reports.meters import choose
from twin.reports.units import Track, flow_kg_s, metered

START = datetime(2024, 6, 1, tzinfo=UTC)
HOURS = 10.0
SPAN_S = HOURS * 3600.0


def _steady(rate: float, per_s: float = 1 / 3600.0, until_s: float = SPAN_S) -> Metered:
    """A rate in kW, l/h or, with ``per_s`` 1, a mean; read every minute."""
    at = np.arange(0.0, until_s + 1.0, 60.0)
    return from_rate(at, np.full(len(at), rate), SPAN_S, per_s)


def _grid(g_kwh: float, kind: str = "lifecycle") -> Intensity:
    return Intensity(np.arange(11) * 3600.0, np.full(10, g_kwh), kind, "by hand")


METERS: dict[Quantity, Metered] = {
    "facility": _steady(130.0),
    "ups_input": _steady(108.0),
    "ups_output": _steady(104.0),
    "pdu_output": _steady(102.0),
    "it": _steady(100.0),
    "cooling": _steady(20.0),
    "heat_removed": _steady(110.0),
    "reused_heat": _steady(13.0),
    "water": _steady(180.0),
    "drybulb": _steady(25.0, 1.0),
}


def _inputs(meters: dict[Quantity, Metered] | None = None, **changes: Any) -> Inputs:
    held: dict[str, Any] = {
        "site": "by hand",
        "timezone": "UTC",
        "start": START,
        "end": START + timedelta(hours=HOURS),
        "meters": METERS if meters is None else meters,
        "location": _grid(300.0),
    }
    return Inputs(**(held | changes))


def _all(inputs: Inputs) -> dict[str, Figure]:
    return {one.key: one for group in reversed(list(build(inputs).figures.values())) for one in group}


def _fields(inputs: Inputs) -> dict[tuple[str, str], Field]:
    return {(one.item, one.symbol): one for one in eu_fields(inputs)}


def test_the_iso_set_by_hand() -> None:
    found = _all(_inputs())
    expected = {
        "pue": 1.3,
        "pue_category_1": 130 / 104,
        "pue_category_2": 130 / 102,
        "pue_category_3": 1.3,
        "cue": 0.39,
        "wue": 1.8,
        "erf": 0.1,
        "cer": 5.5,
    }
    assert {key: found[key].value for key in expected} == pytest.approx(expected)
    assert (found["pue"].category, found["cue"].category, found["pue_category_1"].category) == (3, 3, 1)
    for key in expected:
        assert found[key].coverage_pct == pytest.approx(100.0)
        assert "interim: 10 h" in found[key].note
        assert found[key].is_interim


def test_json_has_the_form_that_other_programs_read() -> None:
    said = build(_inputs(), ("iso30134",)).to_json()
    assert set(said) == {"kpis"}
    assert {"pue", "ref", "iteesv", "iteusv", "erf", "cer", "cue", "wue"} <= set(said["kpis"])
    for one in said["kpis"].values():
        assert {"value", "unit", "category", "coverage_pct", "from", "to"} <= set(one)
        assert (one["value"] is None) == (one["missing"] is not None)
    assert said["kpis"]["pue"]["from"] == "2024-06-01T00:00:00+00:00"


def test_a_year_is_not_interim() -> None:
    end = START + timedelta(days=365)
    at = np.arange(0.0, 365 * 86400.0 + 1.0, 3600.0)
    year = {
        name: from_rate(at, np.full(len(at), kw), at[-1], 1 / 3600.0) for name, kw in (("facility", 3.0), ("it", 2.0))
    }
    pue = _all(_inputs(year, end=end))["pue"]
    assert (pue.is_interim, pue.value, "interim" in pue.note) == (False, pytest.approx(1.5), False)


def test_nothing_is_measured_and_everything_says_where_to_get_it() -> None:
    report = build(_inputs({}, location=None))
    for group in report.figures.values():
        for one in group:
            assert one.value is None
            assert one.missing
            assert one.coverage_pct == 0.0
    for field in report.fields:
        assert (field.value is None) == bool(field.missing)


def test_a_ratio_is_taken_where_all_its_meters_were_read() -> None:
    half = _steady(100.0, until_s=SPAN_S / 2)
    rising = from_rate(np.arange(0.0, SPAN_S + 1, 60.0), np.linspace(100.0, 300.0, 601), SPAN_S, 1 / 3600.0)
    pue = _all(_inputs({"facility": rising, "it": half}))["pue"]
    assert pue.coverage_pct == pytest.approx(50.0)
    assert pue.value == pytest.approx(1.5)  # the mean of the first half, 100 to 200


def test_intensity_that_ends_early_shortens_coverage_and_adds_no_zero() -> None:
    short = replace(_grid(300.0), g_kwh=np.array([300.0] * 4 + [np.nan] * 6))
    cue = _all(_inputs(location=short))["cue"]
    assert (cue.value, cue.coverage_pct) == (pytest.approx(0.39), pytest.approx(40.0))


def test_meters_that_disagree_are_called_so() -> None:
    pue = _all(_inputs({"facility": _steady(90.0), "it": _steady(100.0)}))["pue"]
    assert pue.value == pytest.approx(0.9)
    assert "below 1" in pue.note


@given(st.lists(st.floats(1.0, 1e5), min_size=4, max_size=4))
def test_categories_of_pue_are_ordered_as_the_meters_are(powers: list[float]) -> None:
    """Less energy arrives the further down it is measured, so a higher category has a higher PUE."""
    it, pdu, ups, facility = np.cumsum(powers)
    meters: dict[Quantity, Metered] = {
        "facility": _steady(float(facility)),
        "ups_output": _steady(float(ups)),
        "pdu_output": _steady(float(pdu)),
        "it": _steady(float(it)),
    }
    found = {one.key: one for one in key_figures(_inputs(meters))}
    values = [found[f"pue_category_{category}"].value for category in (1, 2, 3)]
    assert all(value is not None for value in values)
    assert 1.0 <= values[0] <= values[1] <= values[2]  # type: ignore[operator]
    assert found["pue"].value == values[2]


def _instrument(kwh: float, g_kwh: float = 0.0, **changes: Any) -> Instrument:
    held: dict[str, Any] = {
        "kind": "guarantee_of_origin",
        "kwh": kwh,
        "g_kwh": g_kwh,
        "start": date(2024, 6, 1),
        "end": date(2024, 6, 2),
        "source": "cancellation 1",
    }
    return Instrument(**(held | changes))


def test_both_methods_of_scope_2_side_by_side() -> None:
    facts = ReportFacts(
        instrument=(_instrument(1200.0), _instrument(480.0, 10.0, kind="ppa")),
        residual_mix=ResidualMix(g_kwh=500.0, source="by hand"),
    )
    found = _all(_inputs(facts=facts, direct=_grid(250.0, "direct")))
    assert found["scope2_location_kg"].value == pytest.approx(1300 * 0.25)  # combustion alone
    assert found["scope3_fuel_upstream_kg"].value == pytest.approx(1300 * 0.05)
    certified, contracted = 1200 * 10 / 24, 480 * 10 / 24  # of a day, ten hours
    rest = 1300 - certified - contracted
    assert found["scope2_market_kg"].value == pytest.approx((contracted * 10 + rest * 500) / 1e3)
    assert found["ref"].value == pytest.approx((certified + contracted) / 1300)
    fields = _fields(_inputs(facts=facts))
    assert fields["1(p)", "E_RES-GOO"].value == pytest.approx(certified)
    assert fields["1(q)", "E_RES-PPA"].value == pytest.approx(contracted)
    assert fields["1(r)", "E_RES-OS"].value is None


def test_no_residual_mix_is_not_replaced_unless_all_is_under_contract() -> None:
    assert _all(_inputs())["scope2_market_kg"].value is None
    assert "residual mix" in _all(_inputs())["scope2_market_kg"].missing
    plenty = ReportFacts(instrument=(_instrument(1e6),))
    found = _all(_inputs(facts=plenty))
    assert found["scope2_market_kg"].value == 0.0
    assert found["ref"].value == 1.0  # more certificates than energy count for no more than it


def test_what_the_site_makes_itself_is_not_bought() -> None:
    meters = METERS | {"onsite_renewable": _steady(30.0)}
    found = _all(_inputs(meters))
    assert found["scope2_location_kg"].value == pytest.approx(1000 * 0.3)
    assert found["ref"].value == pytest.approx(30 / 130)
    assert "not counted: guarantees" in found["ref"].note


def test_software_carbon_intensity_by_hand() -> None:
    servers = Embodied(item="server", count=10, kg_each=876.0, life_years=1.0, source="by hand")
    found = _all(_inputs(facts=ReportFacts(embodied=(servers,)), gpu_hours=100.0, jobs=20.0))
    assert found["embodied_kg"].value == pytest.approx(8760.0)
    assert found["embodied_share_kg"].value == pytest.approx(10.0)  # ten of 8,760 hours
    assert found["sci_gpu_hour"].value == pytest.approx((1300 * 300 + 10_000) / 100)
    assert found["sci_job"].value == pytest.approx((1300 * 300 + 10_000) / 20)
    assert found["sci_installed_gpu_hour"].value is None


@pytest.mark.parametrize(("model", "whole_kg"), [("NVIDIA A100-SXM4-80GB", 64 * 127.6), ("H100", 8 * 1312.0)])
def test_boards_whose_figure_is_known_are_counted_and_servers_called_missing(model: str, whole_kg: float) -> None:
    found = _all(_inputs(installed=Installed(64, model)))
    assert found["embodied_kg"].value == pytest.approx(whole_kg)
    assert "not counted: embodied carbon of servers" in found["embodied_kg"].note
    assert _all(_inputs(installed=Installed(64, "another")))["embodied_kg"].value is None


def test_operated_loads_against_limits_that_are_configured() -> None:
    found = _all(_inputs())
    assert (found["mlc"].value, found["elc"].value) == (pytest.approx(0.2), pytest.approx(0.08))
    assert found["mlc_elc"].value == pytest.approx(0.28)
    assert found["mlc"].limit is None
    assert "limit not configured" in found["mlc"].note
    limits = Ashrae904(climate_zone="3C", mlc_max=0.15, elc_max=0.14, source="edition and table")
    found = _all(_inputs(facts=ReportFacts(ashrae_90_4=limits)))
    assert [found[key].is_within for key in ("mlc", "elc", "mlc_elc")] == [False, True, True]
    assert found["mlc_elc"].limit == pytest.approx(0.29)


def test_the_annexes_have_the_regulations_order_and_symbols() -> None:
    fields = eu_fields(_inputs())
    symbols = [one.symbol for one in fields if one.annex == "II" and one.symbol]
    assert symbols == [
        "P_DIT", "S_DC", "S_CR", "E_DC", "E_DC-BG", "E_IT", "C_BtG", "W_IN", "W_IN-POT", "E_REUSE", "T_WH", "T_IN",
        "CDD", "E_RES-TOT", "E_RES-GOO", "E_RES-PPA", "E_RES-OS", "C_SERV", "C_STOR", "B_IN", "B_OUT", "T_IN", "T_OUT",
    ]  # fmt: skip
    found = _fields(_inputs())
    assert found["1(l)", "T_IN"].unit == "C"  # the same symbol twice
    assert found["3(c)", "T_IN"].unit == "EB"
    assert found["1(d)", "E_DC"].value == pytest.approx(1300.0)
    assert found["1(e)", "E_IT"].value == pytest.approx(1040.0)  # at the UPS output: category 1
    assert "UPS output" in found["1(e)", "E_IT"].note
    assert found["1(h)", "W_IN"].value == pytest.approx(1.8)
    assert found["1(d)", "E_DC-BG"].value is None
    assert [one.item for one in fields if one.annex == "I"] == [str(number) for number in range(1, 12)]


def test_the_regulations_pue_is_at_the_ups() -> None:
    figures = build(_inputs(), ("eu2024-1364",)).figures["eu2024-1364"]
    assert {one.key: one.value for one in figures}["pue"] == pytest.approx(130 / 104)
    every = build(_inputs()).to_json()["kpis"]
    assert (every["pue"]["value"], every["eu_pue"]["value"]) == (pytest.approx(1.3), pytest.approx(1.25))


def test_what_is_declared_not_to_be_there_is_zero() -> None:
    field = _fields(_inputs(METERS | {"generator": nothing(SPAN_S)}))["1(d)", "E_DC-BG"]
    assert (field.value, field.coverage_pct) == (0.0, 100.0)


def test_degree_days_are_of_whole_local_days() -> None:
    at = np.arange(0.0, 3 * 86400.0 + 1.0, 600.0)
    outdoor = from_rate(at, np.where(at < 86400.0, 18.0, 25.0), at[-1])
    field = _fields(_inputs({"drybulb": outdoor}, end=START + timedelta(days=3)))["1(n)", "CDD"]
    assert field.value == pytest.approx(8.0, abs=0.05)  # two days of four kelvin; the ramp at midnight
    assert _fields(_inputs())["1(n)", "CDD"].value is None  # ten hours are no day


def test_every_standard_is_built_alone_and_together() -> None:
    for name in STANDARDS:
        assert set(build(_inputs(), (name,)).figures) == {name}
    assert tuple(build(_inputs()).figures) == STANDARDS


def test_meters_are_known_by_the_conventions_of_names() -> None:
    units = {
        "main/power_kw": "kW",
        "main/energy_wh": "Wh",
        "ups-1/input_kw": "kW",
        "ups-1/output_kw": "kW",
        "pdu-1/power_kw": "kW",
        "pdu-2/power_kw": "kW",
        "mech/power_kw": "kW",
        "water/makeup_m3": "m3",
        "pdu-1/rack_inlet_c": "degC",
    }
    points = choose(units, Roles(), ReportMeters()).points
    assert points["facility"] == ("main/energy_wh",)
    assert points["pdu_output"] == ("pdu-1/power_kw", "pdu-2/power_kw")
    assert points["ups_output"] == ("ups-1/output_kw",)
    assert points["water"] == ("water/makeup_m3",)
    assert "it" not in points


def test_a_meter_that_is_named_and_not_there_is_missing_not_guessed() -> None:
    units = {"main/power_kw": "kW", "pdu-1/power_kw": "kW", "pdu-2/power_kw": "kW"}
    roles = Roles(it_power_w=("pdu-1/power_kw", "pdu-3/power_kw"))
    chosen = choose(units, roles, ReportMeters(ups_output=("ups-1/output_kw",)))
    assert "it" not in chosen.points
    assert "ups_output" not in chosen.points
    assert "pdu-3/power_kw" in chosen.reasons["it"]


def test_units_of_energy_and_water() -> None:
    at = np.array([0.0, 300.0, 600.0])
    for unit, last, kwh in (("Wh", 1000.0, 1.0), ("MWh", 1.0, 1000.0), ("GJ", 3.6, 1000.0)):
        meter = metered(Track("a/b", unit, at, np.array([0.0, last / 2, last])), 600.0)
        assert meter.over(meter.known) == pytest.approx(kwh)
    meter = metered(Track("a/b", "m3/h", at, np.full(3, 6.0)), 600.0, water=True)
    assert meter.over(meter.known) == pytest.approx(1000.0)
    assert flow_kg_s(Track("a/b", "m3/h", at, np.full(3, 3.6)))[0] == pytest.approx(1.0)
    with pytest.raises(DataError, match="its unit is 'degC'"):
        metered(Track("a/b", "degC", at, np.zeros(3)), 600.0)
    with pytest.raises(DataError, match="a meter here has litres"):
        metered(Track("a/b", "kWh", at, np.zeros(3)), 600.0, water=True)
