from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


ENERGY = st.floats(1.0, 1e9)
OVERHEAD = st.floats(1.0, 4.0)


def _named(energy: kpi.SiteEnergy) -> dict[tuple[str, int | None], kpi.Kpi]:
    return {(one.name, one.category): one for one in kpi.site_kpis(energy)}


@given(it_kwh=ENERGY, overhead=OVERHEAD, pdu=st.floats(1.0, 1.1), intensity=st.floats(0.0, 1500.0))
def test_identities_of_the_key_figures(it_kwh: float, overhead: float, pdu: float, intensity: float) -> None:
    facility = it_kwh * pdu * overhead
    found = _named(
        kpi.SiteEnergy(
            span_h=kpi.YEAR_H,
            coverage_pct=100.0,
            facility_kwh=facility,
            it_kwh=it_kwh,
            ups_output_kwh=it_kwh * pdu,
            carbon_kg=facility * intensity / 1e3,
        )
    )
    pue = found["PUE", 3].value
    assert pue is not None
    assert pue >= 1.0
    assert found["PUE", 1].value == pytest.approx(overhead)
    assert found["CUE", 3].value == pytest.approx(pue * intensity / 1e3)  # CUE = PUE x CI
    assert "interim" not in found["PUE", 3].note


@given(facility_kwh=ENERGY, reused=st.floats(0.0, 2.0), renewable=st.floats(0.0, 2.0))
def test_shares_of_the_sites_energy_stay_between_nothing_and_all(
    facility_kwh: float, reused: float, renewable: float
) -> None:
    found = _named(
        kpi.SiteEnergy(
            span_h=kpi.YEAR_H,
            coverage_pct=97.0,
            facility_kwh=facility_kwh,
            reused_kwh=reused * facility_kwh,
            renewable_kwh=renewable * facility_kwh,
        )
    )
    for name in ("ERF", "REF"):
        value = found[name, None].value
        assert value is not None
        assert 0.0 <= value <= 1.0
        assert found[name, None].coverage_pct == 97.0


def test_what_is_missing_is_named_and_never_zero() -> None:
    for one in kpi.site_kpis(kpi.SiteEnergy(span_h=168.0, coverage_pct=50.0)):
        assert one.value is None
        assert "missing: " in one.note
        assert "interim: 168 h" in one.note
    nothing = _named(kpi.SiteEnergy(span_h=168.0, coverage_pct=100.0, facility_kwh=1.0, it_kwh=0.0))
    assert nothing["PUE", 3].value is None
    assert "nothing to divide by" in nothing["PUE", 3].note


def test_cooling_efficiency_water_and_software_carbon_by_hand() -> None:
    found = _named(
        kpi.SiteEnergy(
            span_h=kpi.YEAR_H,
            coverage_pct=100.0,
            facility_kwh=150.0,
            it_kwh=100.0,
            cooling_kwh=30.0,
            electrical_loss_kwh=10.0,
            heat_removed_kwh=120.0,
            water_l=180.0,
            carbon_kg=45.0,
            embodied_kg=5.0,
            functional_units=1000.0,
            cpu_utilisation_pct=35.0,
            server_work_per_s=2e6,
            server_max_w=1e3,
        )
    )
    assert found["CER", None].value == pytest.approx(4.0)
    assert found["WUE", 3].value == pytest.approx(1.8)
    assert found["SCI", None].value == pytest.approx(50.0)
    assert (found["MLC", 3].value, found["ELC", 3].value) == (pytest.approx(0.3), pytest.approx(0.1))
    assert found["ITEEsv", None].value == pytest.approx(2000.0)
    assert found["ITEUsv", None].value == 35.0
