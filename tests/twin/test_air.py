"""Moist air against psychrolib, which is scalar and the reference."""

from __future__ import annotations

import numpy as np
import psychrolib
import pytest

from twin.air import (
    ENVELOPES,
    Weather,
    enthalpy_j_kg,
    humidity_ratio,
    saturation_pressure_pa,
    saturation_specific_heat_j_kg_k,
    wetbulb_c,
)

PRESSURE_PA = 99_000.0


@pytest.fixture(autouse=True)
def _si() -> None:
    psychrolib.SetUnitSystem(psychrolib.SI)


@pytest.mark.parametrize("t_c", [-40.0, -10.0, -0.5, 0.0, 0.005, 0.02, 5.0, 20.0, 35.0, 60.0])
def test_saturation_pressure_is_psychrolibs(t_c: float) -> None:
    assert float(saturation_pressure_pa(np.array(t_c))) == pytest.approx(psychrolib.GetSatVapPres(t_c), rel=1e-10)


@pytest.mark.parametrize("drybulb_c", [-20.0, -5.0, 3.0, 15.0, 30.0, 48.0])
@pytest.mark.parametrize("rh_pct", [3.0, 25.0, 60.0, 95.0, 100.0])
def test_wet_bulb_and_enthalpy_are_psychrolibs(drybulb_c: float, rh_pct: float) -> None:
    ratio = psychrolib.GetHumRatioFromRelHum(drybulb_c, rh_pct / 100.0, PRESSURE_PA)
    ours = humidity_ratio(np.array(drybulb_c), np.array(rh_pct), PRESSURE_PA)
    assert float(ours) == pytest.approx(ratio, rel=1e-9)
    assert float(enthalpy_j_kg(np.array(drybulb_c), ours)) == pytest.approx(
        psychrolib.GetMoistAirEnthalpy(drybulb_c, ratio), rel=1e-6, abs=1.0
    )
    wet = float(wetbulb_c(np.array(drybulb_c), np.array(rh_pct), PRESSURE_PA))
    assert wet == pytest.approx(psychrolib.GetTWetBulbFromHumRatio(drybulb_c, ratio, PRESSURE_PA), abs=2e-3)
    assert wet <= drybulb_c + 1e-5


def test_weather_takes_arrays_and_repeats_an_hour() -> None:
    weather = Weather.of(np.array([10.0, 20.0]), np.array([50.0, 50.0]))
    assert weather.wetbulb_c[1] > weather.wetbulb_c[0]
    assert weather.at(1, batch=3).drybulb_c.tolist() == [20.0, 20.0, 20.0]
    assert weather.at(slice(0, 1)).drybulb_c.tolist() == [10.0]


def test_saturated_air_takes_more_heat_the_warmer_it_is() -> None:
    heat = saturation_specific_heat_j_kg_k(np.arange(-20.0, 35.0), 101_325.0)
    assert np.all(np.diff(heat) > 0)
    assert heat[0] > 1_006.0
    warm, cold = (psychrolib.GetSatAirEnthalpy(t_c, 101_325.0) for t_c in (20.05, 19.95))
    assert float(saturation_specific_heat_j_kg_k(np.array(20.0), 101_325.0)) == pytest.approx(
        (warm - cold) / 0.1, rel=1e-6
    )


def test_envelope_counts_both_sides() -> None:
    assert ENVELOPES["recommended"].excess_k(np.array([16.0, 20.0, 28.5])).tolist() == [2.0, 0.0, 1.5]
