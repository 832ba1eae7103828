"""What-if: limits, losses of machines, other regions and key figures."""

from __future__ import annotations

import pytest

from facility.errors import ConfigError
from tests.twin.cases import (
    CATALOGUE,
    START,
    answer_of,
    setup,
    site,
    world,
)
from twin.scenarios import FREE, ask
from twin.scenarios.building import changed_hall
from twin.scenarios.case import Case
from twin.scenarios.surroundings import surroundings


def test_more_racks_name_the_limit_and_unknown_limits_stay_unknown() -> None:
    answer = answer_of("more-racks")
    found = {one.id: one for one in answer.scenario.limits}
    assert found["space"].hours is None is found["feeder"].hours
    assert found["ups-redundancy"].use_pct == pytest.approx(
        1.5 * next(one.use_pct for one in answer.baseline.limits if one.id == "ups-redundancy"), rel=0.02
    )
    judged = ask(setup(), CATALOGUE.of("more-racks"), shared={"rack_positions": 50, "feeder_kw": 700.0})
    after = {one.id: one for one in judged.scenario.limits}
    assert after["space"].hours == after["feeder"].hours == pytest.approx(24.0)
    assert "60 racks on 50 places" in judged.scenario.binding


def test_a_hall_beyond_its_plant_says_that_the_chillers_bind() -> None:
    answer = ask(setup(), CATALOGUE.of(FREE), {"extra_racks": 60, "utilisation": 1.0, "drybulb_offset_k": 8.0})
    bound = {one.id for one in answer.scenario.limits if one.kind == "capacity" and one.hours}
    assert {"chiller", "tower", "ups-redundancy"} & bound
    assert "UPS" in answer.scenario.binding


def test_regimes_of_the_economizer_fill_the_span() -> None:
    found = {one.id: one.hours for one in answer_of("heat-wave").scenario.limits}
    modes = [found[name] for name in ("free-cooling", "part-free-cooling", "mechanical")]
    assert sum(hours for hours in modes if hours is not None) == pytest.approx(24.0)


def test_losing_all_air_reaches_32_c_and_leaves_no_energy_figure() -> None:
    answer = answer_of("lose-all-air")
    assert answer.loss is not None
    assert all(one.minutes is not None and one.reached_pct == 100.0 for one in answer.loss.reach)
    assert answer.loss.rate_breached_pct == 100.0
    assert answer.scenario.account["facility_kwh"] is None
    assert answer.delta["carbon_kg"] is None
    assert any("shut down" in note for note in answer.scenario.notes)


def test_losing_one_of_seven_is_milder_than_losing_three() -> None:
    one = answer_of("lose-crah").loss
    three = ask(setup(), CATALOGUE.of("lose-crah"), {"crahs_lost": 3}).loss
    assert one is not None is not three
    assert one.hottest_inlet_c.mean < three.hottest_inlet_c.mean
    assert one.rise_15_min_k.mean < three.rise_15_min_k.mean
    assert answer_of("warmer-supply").loss is None


def test_more_machines_than_there_are_cannot_be_lost() -> None:
    with pytest.raises(ConfigError, match="crahs_lost"):
        changed_hall(site().hall, Case(crahs_lost=8))


def test_another_region_brings_its_own_grid_weather_and_clock() -> None:
    answer = answer_of("other-region")
    assert any("DE" in source for source in answer.signals)
    before, after = (one.account["effective_ci_g_kwh"] for one in (answer.baseline, answer.scenario))
    assert before is not None is not after
    assert after.mean > before.mean
    assert surroundings(world("DE"), Case(), START, 1, 900.0).timezone == "Europe/Berlin"


def test_key_figures_of_a_case_are_interim_and_keep_their_category() -> None:
    kpis = answer_of("solar").scenario.kpis
    by_category = {one.category: one.value for one in kpis if one.name == "PUE"}
    assert set(by_category) == {0, 1, 2, 3}
    assert by_category[1] < by_category[3]  # type: ignore[operator]
    assert all("interim: 24 h" in one.note for one in kpis)
    renewable = next(one.value for one in kpis if one.name == "REF")
    assert renewable is not None
    assert 0.0 < renewable < 1.0
