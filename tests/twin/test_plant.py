"""Plant controls on the reference hall: the legacy PUE, the order of the three, limits and ramps; and the benchmark."""

from __future__ import annotations

import time

import numpy as np
import pytest

from apps.bench_plants import bench_plants
from facility.errors import ConfigError
from tests.shared import shared
from tests.twin.halls import hall, outside, params, setpoints
from twin.air import Weather
from twin.bench import bench
from twin.part_load import part_load, settle, uniform_inputs
from twin.plant import PLANTS, _table, plant_control, ramped
from twin.signals import read_weather


@pytest.fixture(scope="module")
def san_jose() -> Weather:
    record = read_weather([shared("weather/openmeteo_US-CAL-CISO_2022.json")])
    return Weather.of(record.drybulb.value, record.rh.value)


def test_legacy_control_has_the_papers_pue_at_60_percent_load(san_jose: Weather) -> None:
    (row,) = part_load(hall(), san_jose, "legacy", [0.6])
    assert row.pue == pytest.approx(1.58, abs=0.02)
    assert row.economizer_share == 0.0


def test_better_control_saves_total_power_and_stays_in_the_envelope(san_jose: Weather) -> None:
    for load in (0.2, 0.6, 1.0):
        legacy, rule, optimum = (part_load(hall(), san_jose, plant, [load])[0] for plant in PLANTS)
        assert optimum.facility_kw < rule.facility_kw < legacy.facility_kw
        assert legacy.it_kw < rule.it_kw  # the penalty of warmer air is paid in IT power
        assert max(rule.max_inlet_c, optimum.max_inlet_c) <= 27.0
    (rule,) = part_load(hall(), san_jose, "rule", [0.6])
    assert 1.20 <= rule.pue <= 1.26


def test_part_load_is_worse_and_the_worst_hour_is_worse_than_the_year(san_jose: Weather) -> None:
    rows = part_load(hall(), san_jose, "legacy")
    assert [row.pue for row in rows] == sorted((row.pue for row in rows), reverse=True)
    assert all(row.peak_pue > row.pue for row in rows)


@pytest.mark.parametrize("name", ["site.toml", "site-1mw.toml"])
def test_the_optimum_is_built_quickly_and_beats_rule_in_any_weather(name: str) -> None:
    _table.cache_clear()
    start = time.process_time()
    control = plant_control("optimum", hall(name))
    assert time.process_time() - start < 6.0
    inputs = uniform_inputs(params(name), outside(np.linspace(-12.0, 32.0, 45)), 0.7)
    _, best = settle(params(name), control, inputs)
    _, rule = settle(params(name), plant_control("rule", hall(name)), inputs)
    assert np.all(best.facility_w <= rule.facility_w * 1.002)
    assert np.all(best.max_inlet_c[inputs.weather.wetbulb_c < 26.0] <= 27.0)
    assert plant_control("optimum", hall(name)) is control


@pytest.mark.parametrize("plant", PLANTS)
def test_setpoints_stay_within_the_equipment(plant: str) -> None:
    site, control = hall(), plant_control(plant, hall())
    load = np.linspace(0.0, 80e3, 40)
    action = control.action(load, outside(np.linspace(-40.0, 40.0, 40)))
    assert control.name == plant
    assert np.all((action.supply_air_c >= site.crah.supply_min_c) & (action.supply_air_c <= site.crah.supply_max_c))
    assert np.all((action.fan_speed >= site.crah.min_speed) & (action.fan_speed <= 1.0))
    assert np.all(action.chw_supply_c >= site.chilled_water.supply_min_c)
    assert np.all(action.tower_c >= site.tower.setpoint_min_c)


def test_an_unknown_plant_is_refused_with_the_names() -> None:
    with pytest.raises(ConfigError, match=r"no plant control is called 'best'.*legacy, rule, optimum"):
        plant_control("best", hall())


def test_ramps_bound_the_change_and_units_switch_at_once() -> None:
    cold, warm = setpoints(1, supply_air_c=18.0, economizer=0.0), setpoints(1, supply_air_c=26.0, economizer=1.0)
    halfway = ramped(cold, warm, 900.0)
    assert halfway.supply_air_c[0] == 20.5
    assert halfway.economizer[0] == 1.0
    assert ramped(cold, warm, 36_000.0).supply_air_c[0] == 26.0


def test_better_control_costs_less_in_every_climate_and_at_every_load() -> None:
    rows = bench_plants(hall(), (), (0.3, 1.0))
    assert len(rows) == 2 * 3 * 2
    assert all(row["weather"].startswith("synthetic") for row in rows)
    power = {(row["weather"], row["load"], row["plant"]): row["facility_kw"] for row in rows}
    for place, load in {(row["weather"], row["load"]) for row in rows}:
        assert power[place, load, "optimum"] < power[place, load, "rule"] < power[place, load, "legacy"]


def test_the_benchmark_takes_as_many_steps_as_it_is_told() -> None:
    result = bench(hall(), batch=64, seconds=0.1, least_steps=5_000)
    assert result["hall_steps"] >= 5_000
    assert result["env_steps_per_s"] > 0
    assert result["realtime_factor"] > 0
    assert (result["batch"], result["dt_s"]) == (64.0, 900.0)
