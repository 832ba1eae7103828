from __future__ import annotations

import numpy as np
import pytest

from twin import kpi

IT_W = np.array([1000.0, 3000.0])
FACILITY_W = np.array([1500.0, 4000.0])
INTENSITY = np.array([400.0, 100.0])


def test_hand_computed_account() -> None:
    factors = kpi.three_factors(IT_W, FACILITY_W, INTENSITY, 900.0)
    assert factors is not None
    assert factors.it_kwh == pytest.approx(1.0)
    assert factors.pue == pytest.approx(1.375)
    assert factors.effective_ci_g_kwh == pytest.approx((1500 * 400 + 4000 * 100) / 5500)
    assert factors.facility_kwh == pytest.approx(1.375)
    assert factors.carbon_kg == pytest.approx(kpi.carbon_kg(FACILITY_W, INTENSITY, 900.0), rel=1e-12)
    assert factors.carbon_kg == pytest.approx(0.25)


def test_effective_and_flat_intensity_are_apart() -> None:
    assert kpi.flat_ci_g_kwh(INTENSITY) == 250.0
    assert kpi.effective_ci_g_kwh(np.array([5.0, 5.0]), INTENSITY) == 250.0
    assert kpi.effective_ci_g_kwh(IT_W, INTENSITY) == pytest.approx(175.0)


def test_usage_effectiveness() -> None:
    assert kpi.pue(158.0, 100.0) == pytest.approx(1.58)
    assert kpi.cue_kg_kwh(42.0, 100.0) == pytest.approx(0.42)
    assert kpi.wue_l_kwh(180.0, 100.0) == pytest.approx(1.8)


def test_software_carbon_intensity() -> None:
    embodied_g = kpi.embodied_share_g(1000.0, used_s=3600.0, lifetime_s=7200.0, resource_share=0.5)
    assert embodied_g == 250.0
    assert kpi.sci_g(2.0, 300.0, embodied_g, 10.0) == pytest.approx(85.0)


def test_nothing_divided_by_nothing_is_missing_not_zero() -> None:
    none = np.zeros(2)
    assert kpi.pue(1.0, 0.0) is None
    assert kpi.cue_kg_kwh(1.0, 0.0) is None
    assert kpi.wue_l_kwh(1.0, 0.0) is None
    assert kpi.effective_ci_g_kwh(none, INTENSITY) is None
    assert kpi.flat_ci_g_kwh(np.array([])) is None
    assert kpi.sci_g(1.0, 1.0, 0.0, 0.0) is None
    assert kpi.three_factors(none, none, INTENSITY, 900.0) is None
