"""Sun, clear sky and photovoltaics against published values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.shared import shared
from twin import solar
from twin.signals.openmeteo import read_sky
from twin.signals.series import CLOUD_COVER, IRRADIANCE, Series
from twin.solar import Irradiance

SAN_JOSE = (37.36, -121.93)


def _day(start: datetime) -> solar.Sun:
    return solar.sun(start, 96, 900.0, *SAN_JOSE)


def test_position_is_that_of_the_published_example() -> None:
    """Reda and Andreas, Solar Position Algorithm (NREL/TP-560-34302), table A5.1."""
    when = datetime(2003, 10, 17, 19, 30, 30, tzinfo=UTC)
    sky = solar.sun(when - timedelta(seconds=0.5), 1, 1.0, 39.742476, -105.1786)
    assert np.degrees(np.arccos(sky.cos_zenith[0])) == pytest.approx(50.11, abs=0.4)
    assert sky.azimuth_deg[0] == pytest.approx(194.34, abs=0.6)


def test_sun_rises_in_the_east_and_stands_higher_in_summer() -> None:
    summer, winter = _day(datetime(2022, 6, 21, 8, tzinfo=UTC)), _day(datetime(2022, 12, 21, 8, tzinfo=UTC))
    up = summer.cos_zenith > 0
    assert summer.azimuth_deg[up][0] < 90 < 270 < summer.azimuth_deg[up][-1]
    assert np.degrees(np.arccos(summer.cos_zenith.max())) == pytest.approx(SAN_JOSE[0] - 23.44, abs=0.3)
    assert np.degrees(np.arccos(winter.cos_zenith.max())) == pytest.approx(SAN_JOSE[0] + 23.44, abs=0.3)


def test_clear_sky_lies_below_the_sun_outside_the_air() -> None:
    sky = _day(datetime(2022, 6, 21, 8, tzinfo=UTC))
    clear = solar.clear_sky_w_m2(sky.cos_zenith)
    assert clear.max() == pytest.approx(1098.0 * sky.cos_zenith.max() * np.exp(-0.057 / sky.cos_zenith.max()))
    assert np.all(clear <= sky.extraterrestrial_w_m2 * np.maximum(sky.cos_zenith, 0.0) + 1e-9)
    assert np.all(clear[sky.cos_zenith < 0] == 0.0)


def test_clouds_dim_and_a_flat_plane_sees_the_horizontal() -> None:
    assert solar.cloud_transmission(np.array([0.0, 1.0])) == pytest.approx([1.0, 0.25])
    sky = _day(datetime(2022, 3, 21, 8, tzinfo=UTC))
    clear = solar.clear_sky_w_m2(sky.cos_zenith)
    high = sky.cos_zenith > 0.06
    assert solar.tilted_w_m2(clear, sky, 0.0, 180.0)[high] == pytest.approx(clear[high])
    assert solar.tilted_w_m2(clear, sky, 30.0, 180.0).sum() > clear.sum()  # tilted to the equinox sun
    assert solar.tilted_w_m2(clear, sky, 30.0, 0.0).sum() < clear.sum()


def test_diffuse_share_falls_with_clearness_without_a_jump() -> None:
    sky = solar.Sun(np.ones(500), np.full(500, 180.0), np.full(500, 1000.0))
    share = solar.diffuse_share(np.linspace(0.0, 1000.0, 500), sky)
    assert share[0] == pytest.approx(1.0)
    assert np.abs(np.diff(share)).max() < 0.02
    assert share.min() > 0.1


def test_rated_conditions_give_rated_power_less_losses() -> None:
    cold = 25.0 - solar.NOCT_RISE_K_M2_W * 1000.0
    power = solar.pv_power_w(10.0, np.array([1000.0]), np.array([cold]))
    assert power == pytest.approx(10e3 * 0.86 * 0.96)
    assert solar.pv_power_w(10.0, np.array([1000.0]), np.array([40.0])) < power


def test_a_file_of_cloud_cover_gives_a_plausible_july_yield() -> None:
    sky = read_sky([shared("weather/openmeteo_US-CAL-CISO_2022.json")])
    assert sky is not None
    assert sky.quantity == CLOUD_COVER
    start, count = datetime(2022, 7, 1, tzinfo=UTC), 30 * 96
    sun = solar.sun(start, count, 900.0, *SAN_JOSE)
    known = Irradiance(sky).horizontal_w_m2(
        start, start + timedelta(days=30), 900.0, solar.clear_sky_w_m2(sun.cos_zenith)
    )
    power = solar.pv_power_w(1.0, solar.tilted_w_m2(known, sun, 20.0, 180.0), np.full(count, 22.0))
    kwh_day = power.sum() * 900.0 / 3.6e6 / 30.0
    assert 4.5 < kwh_day < 6.8
    assert "modelled" in Irradiance(sky).source


def test_measured_irradiance_is_taken_as_it_is() -> None:
    start = datetime(2022, 7, 1, tzinfo=UTC)
    measured = Series(IRRADIANCE, "W/m²", "", start, 3600.0, np.array([100.0, 300.0]), 0.0, "file")
    taken = Irradiance(measured).horizontal_w_m2(start, start + timedelta(hours=2), 1800.0, np.zeros(4))
    assert taken == pytest.approx([100.0, 100.0, 300.0, 300.0])
