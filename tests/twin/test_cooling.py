"""Each machine alone: fans, coil, chiller and tower."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.twin.halls import SITES, hall, params
from twin import cooling
from twin.air import saturation_specific_heat_j_kg_k

CHILLER = params().chiller
CRAH = params().crah
ONE = np.array(1.0)


def test_fan_power_has_its_exponent_without_static_pressure() -> None:
    fan = replace(CRAH, static_share=0.0, fan_exponent=2.7)
    ratio = cooling.crah_fan_w(fan, ONE, np.array(0.5)) / cooling.crah_fan_w(fan, ONE, ONE)
    assert float(ratio) == pytest.approx(0.5**2.7)


def test_static_pressure_flattens_fan_power_and_half_speed_still_saves_most() -> None:
    half = float(cooling.crah_fan_w(CRAH, ONE, np.array(0.5)) / cooling.crah_fan_w(CRAH, ONE, ONE))
    assert 0.5**CRAH.fan_exponent < half < 0.25


def test_fans_hold_to_their_minimum_speed() -> None:
    low, minimum = (cooling.crah_fan_w(CRAH, ONE, np.array(speed)) for speed in (0.05, CRAH.min_speed))
    assert float(low) == float(minimum)


def test_coil_moves_its_rating_and_never_more_than_the_smaller_stream() -> None:
    air = cooling.air_capacity_w_k(np.array(3.5))
    water = np.array(1.2 * 4186.0)
    moved = cooling.coil_conductance_w_k(CRAH, ONE, ONE, air, water, ONE)
    assert float(moved) * (24.0 - 7.0) == pytest.approx(50_000.0, rel=0.05)
    assert float(moved) < float(np.minimum(air, water))


def test_equal_streams_are_no_singularity() -> None:
    streams = np.array([4186.0 * (1 - 1e-7), 4186.0, 4186.0 * (1 + 1e-7)])
    moved = cooling.coil_conductance_w_k(CRAH, ONE, ONE, streams, np.full(3, 4186.0), ONE)
    assert np.ptp(moved) < 1e-3 * moved[0]


@pytest.mark.parametrize("name", SITES)
def test_chiller_meets_its_rating(name: str) -> None:
    site, chiller = hall(name).chiller, params(name).chiller
    power_w = cooling.chiller_power_w(
        chiller,
        ONE,
        np.array(site.rated_capacity_w),
        np.array(site.rated_chw_supply_c),
        np.array(site.rated_condenser_inlet_c),
    )
    assert site.rated_capacity_w / float(power_w) == pytest.approx(site.rated_cop)
    assert float(np.asarray(chiller.resistance_k_w)) > 0


def test_chiller_power_rises_with_lift_and_load() -> None:
    condenser = np.linspace(15.0, 45.0, 61)
    for heat in (5e3, 30e3, 70e3):
        power = cooling.chiller_power_w(CHILLER, ONE, np.full(61, heat), np.full(61, 7.0), condenser)
        assert np.all(np.diff(power) >= 0)
        assert power[-1] > power[0]
    heats = np.linspace(0.0, 70e3, 71)
    power = cooling.chiller_power_w(CHILLER, ONE, heats, np.full(71, 7.0), np.full(71, 25.0))
    assert power[0] == 0.0
    assert np.all(np.diff(power) > 0)


def test_warmer_chilled_water_saves_power() -> None:
    power = cooling.chiller_power_w(CHILLER, ONE, np.full(3, 4e4), np.array([7.0, 12.0, 18.0]), np.full(3, 27.0))
    assert np.all(np.diff(power) < 0)


def test_capacity_falls_as_the_condenser_warms() -> None:
    capacity = cooling.chiller_capacity_w(CHILLER, ONE, np.full(3, 7.0), np.array([20.0, 30.0, 200.0]))
    assert capacity[0] > capacity[1] > capacity[2] == pytest.approx(0.3 * CHILLER.rated_capacity_w)


@pytest.mark.parametrize("name", SITES)
def test_the_tower_law_stays_close_to_the_merkel_model(name: str) -> None:
    site, tower = hall(name).tower, params(name).tower
    fill = cooling._size_fill(site, tower.water_kg_s, tower.design_cs_j_kg_k)
    for air_c in (5.0, 15.0, 27.0):
        cs = saturation_specific_heat_j_kg_k(np.array(air_c), 101_325.0)
        for speed in (0.5, 0.75, 1.0):
            merkel = cooling.merkel_approach_k_w(fill, speed * site.design_air_kg_s, tower.water_kg_s, float(cs))
            law = float(cooling.approach_k_w(tower, cs)) * speed**-tower.fan_slope
            assert law == pytest.approx(merkel, rel=0.15), (air_c, speed)


def test_tower_fan_meets_its_setpoint_or_runs_full() -> None:
    tower = params().tower
    approach = cooling.approach_k_w(tower, np.array(4000.0))
    wet = np.array([0.0, 15.0, 30.0])
    speed = cooling.tower_fan_speed(tower, approach, np.full(3, 5e4), wet, np.full(3, 20.0))
    assert speed[0] < speed[1] <= 1.0 == speed[2]
    reached = wet[1] + float(approach) * 5e4 * speed[1] ** -tower.fan_slope
    assert reached == pytest.approx(20.0)


def test_make_up_water_is_evaporation_and_blow_down() -> None:
    tower = params().tower
    cs = saturation_specific_heat_j_kg_k(np.array([5.0, 25.0]), 101_325.0)
    water = cooling.makeup_water_kg_s(
        tower, np.full(2, 1e5), np.ones(2), cs, np.array([5.0, 25.0]), np.array([5.0, 25.0])
    )
    assert water[0] < water[1]  # cold air takes more of the heat sensibly
    assert water[1] < 1e5 / 2.45e6 * tower.cycles / (tower.cycles - 1.0)
    dry = cooling.makeup_water_kg_s(tower, np.array(1e5), ONE, cs[1], np.array(35.0), np.array(25.0))
    assert float(dry) > water[1]
