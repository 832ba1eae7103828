"""What-if: the catalogue is whole, directions are right, accounts close and differences pair up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from facility.errors import ConfigError
from facility.site import Tariff
from tests.twin.cases import (
    CATALOGUE,
    answer_of,
    around_of,
    figures_of,
    run,
    setup,
    site,
)
from twin.scenarios import FREE, ask, parse_settings, spread_ensemble
from twin.scenarios.account import bill_usd, difference
from twin.scenarios.case import Case
from twin.scenarios.catalogue import Change, Question
from twin.scenarios.simulate import LOADS, simulate
from twin.scenarios.surroundings import dew_point_c


def test_the_catalogue_holds_what_people_ask() -> None:
    wanted = {
        "warmer-supply",
        "more-racks",
        "lose-crah",
        "heat-wave",
        "no-economizer",
        "jobs-to-night",
        "gpu-cap",
        "other-region",
        "battery",
        "solar",
    }
    assert wanted <= {one.id for one in CATALOGUE.question}


@pytest.mark.parametrize("name", [one.id for one in CATALOGUE.question])
def test_every_question_is_answered_by_the_figures_it_names(name: str) -> None:
    answer = answer_of(name)
    assert set(answer.question.look_at) <= set(answer.delta)
    assert answer.scenario.binding
    assert answer.series["case"].n_unique() == 2
    assert answer.series.height == 2 * 24


def test_a_value_out_of_the_questions_range_is_refused() -> None:
    question = CATALOGUE.of("warmer-supply")
    with pytest.raises(ConfigError, match="asked between"):
        question.cases({"supply_air_offset_k": "8"})
    with pytest.raises(ConfigError, match="supply_air_offset_k"):
        CATALOGUE.of(FREE).cases({"supply_air_offset_k": "80"})
    with pytest.raises(ConfigError, match="no question"):
        CATALOGUE.of("heat")
    with pytest.raises(ConfigError, match="sets nothing"):
        parse_settings(["supply=3"])
    with pytest.raises(ValueError, match="no parameter"):
        Change(name="supply", value=1.0)


def test_shared_settings_move_both_cases_and_others_the_scenario_alone() -> None:
    baseline, scenario = CATALOGUE.of(FREE).cases({"supply_air_c": "26"}, {"utilisation": "0.8"})
    assert (baseline.utilisation, scenario.utilisation) == (0.8, 0.8)
    assert (baseline.supply_air_c, scenario.supply_air_c) == (None, 26.0)


def test_warmer_supply_saves_chiller_power_and_costs_fans_and_leakage() -> None:
    before, after = figures_of(), figures_of(supply_air_offset_k=2.0)
    assert np.all(after["chiller_kwh"] < before["chiller_kwh"])
    for name in ("server_fan_kwh", "leakage_kwh", "it_kwh", "crah_fan_kwh", "hottest_inlet_c"):
        assert np.all(after[name] > before[name]), name


@pytest.mark.parametrize("plant", ["legacy", "rule"])
@pytest.mark.parametrize("heat_k", [-10.0, 0.0, 6.0])
def test_an_economizer_never_raises_total_power(plant: str, heat_k: float) -> None:
    shared = {"plant": plant, "drybulb_offset_k": heat_k}
    on, off = run(**shared, economizer="on"), run(**shared, economizer="off")
    assert np.all(on.flows["facility_w"] <= off.flows["facility_w"] * (1.0 + 1e-9))


@pytest.mark.parametrize("change", [{"drybulb_offset_k": 6.0}, {"dewpoint_offset_k": 4.0}])
def test_hotter_or_wetter_outside_never_lowers_chiller_and_tower_power(change: dict[str, float]) -> None:
    before, after = figures_of(), figures_of(**change)
    power = [one["chiller_kwh"] + one["tower_fan_kwh"] for one in (before, after)]
    assert np.all(power[1] >= power[0] - 1e-6)
    assert np.all(after["economizer_h"] <= before["economizer_h"])


def test_hot_air_without_more_moisture_keeps_its_dew_point() -> None:
    before, after = around_of(), around_of(drybulb_offset_k=6.0)
    assert after.weather.drybulb_c == pytest.approx(before.weather.drybulb_c + 6.0)
    assert after.dewpoint_c == pytest.approx(before.dewpoint_c)
    assert np.all(after.weather.wetbulb_c > before.weather.wetbulb_c)
    assert dew_point_c(np.array([20.0]), np.array([50.0])) == pytest.approx([9.27], abs=0.02)  # psychrometric chart


def test_caps_save_energy_for_the_same_work_and_take_longer() -> None:
    before, after = figures_of(), figures_of(gpu_cap_w=300.0)
    assert np.all(after["it_kwh"] < before["it_kwh"])
    assert after["run_time_pct"][0] > 0 == before["run_time_pct"][0]
    assert after["work_done_pct"][0] == pytest.approx(100.0)
    assert after["gpus_busy_pct"][0] == pytest.approx(60.0 * (1.0 + after["run_time_pct"][0] / 100.0))


def test_parking_leaky_aisles_and_cycles_have_the_right_sign() -> None:
    before = figures_of()
    assert np.all(figures_of(parking_share=0.8)["it_kwh"] < before["it_kwh"])
    assert np.all(figures_of(bypass=0.3, recirculation_factor=2.0)["crah_fan_kwh"] > before["crah_fan_kwh"])
    assert np.all(figures_of(cycles_of_concentration=6.0)["water_l"] < before["water_l"])


def test_every_step_closes_the_balance() -> None:
    flows = run(extra_racks=20, utilisation=0.95).flows
    assert np.all(flows["balance_residual_w"] < 1e-3 * flows["facility_w"])


@pytest.mark.parametrize("values", [{}, {"pv_kwp": 2000.0, "battery_kw": 300.0, "battery_kwh": 1200.0}])
def test_carbon_is_the_product_of_three_factors_and_loads_sum_to_the_meter(values: dict[str, float]) -> None:
    figures = figures_of(**values)
    product = figures["it_kwh"] * figures["pue"] * figures["effective_ci_g_kwh"] / 1e3
    assert figures["carbon_kg"] == pytest.approx(product)
    loads = sum(figures[f"{name.removesuffix('_w')}_kwh"] for name in LOADS)
    assert figures["facility_kwh"] == pytest.approx(loads + figures["battery_loss_kwh"])
    assert np.all(figures["pue"] > 1.0)


def test_the_same_case_twice_differs_by_nothing() -> None:
    answer = ask(setup(), Question(id="same", text=""))
    assert all(band is None or band.mean == band.lo90 == band.hi90 == 0.0 for band in answer.delta.values())


def test_draws_pair_up_so_that_the_band_is_of_the_difference() -> None:
    before, after = figures_of(), figures_of(supply_air_offset_k=2.0)
    paired = difference(after, before)["it_kwh"]
    assert paired is not None
    assert np.ptp(paired) < 0.3 * np.ptp(before["it_kwh"])


def test_rows_of_the_batch_do_not_see_each_other() -> None:
    alone = simulate(spread_ensemble(site().hall, 1), Case(), around_of())
    assert alone.flows["facility_w"][:, 0] == pytest.approx(run().flows["facility_w"][:, 0], rel=1e-12)


def test_the_series_sums_to_the_account() -> None:
    answer = answer_of("solar-battery")
    rows = answer.series.filter(pl.col("case") == "scenario")
    for column, figure in (("carbon_kg", "carbon_kg"), ("import_kw", "import_kwh"), ("water_l", "water_l")):
        band = answer.scenario.account[figure]
        assert band is not None
        assert rows[column].sum() == pytest.approx(band.mean)
    balance = rows["import_kw"] - rows["export_kw"] + rows["pv_kw"] + rows["battery_discharge_kw"]
    assert balance.to_numpy() == pytest.approx((rows["facility_kw"] + rows["battery_charge_kw"]).to_numpy())


def test_a_bill_needs_every_part_and_counts_months_by_their_peak() -> None:
    times = [datetime(2024, 7, 31, 22, tzinfo=UTC) + timedelta(hours=index) for index in range(4)]
    power, price = np.array([[100.0], [100.0], [200.0], [200.0]]), np.full(4, 50.0)
    assert bill_usd(power, price, Tariff(), times, 3600.0) is None
    tariff = Tariff(energy_adder_usd_kwh=0.05, demand_charge_usd_kw_month=730.5, fixed_usd_month=0.0)
    assert bill_usd(power, None, tariff, times, 3600.0) is None
    bill = bill_usd(power, price, tariff, times, 3600.0)
    assert bill == pytest.approx([600.0 * 0.1 + 2.0 * (100.0 + 200.0)])


def test_market_based_carbon_needs_the_factor_of_the_contracts() -> None:
    assert figures_of()["market_carbon_kg"] is None
    figures = figures_of(market_g_kwh=50.0)
    assert figures["market_carbon_kg"] == pytest.approx(figures["import_kwh"] * 0.05)
