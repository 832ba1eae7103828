from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from facility.errors import DataError
from tests.shared import shared
from twin.daily_profile import daily_profile
from twin.persistence import persistence_24h
from twin.signals import Series, read_electricity_maps

START = datetime(2023, 1, 1, tzinfo=UTC)
DAY = 300.0 + 100.0 * np.cos(np.arange(24) / 24.0 * 2.0 * np.pi)


def _series(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Series:
    return Series("carbon_intensity_g_kwh", "g/kWh", "DE", START, 3600.0, values, 3600.0, "test")


def test_what_returns_each_day_is_foreseen_exactly() -> None:
    series = _series(np.tile(DAY, 60))
    now = START + timedelta(days=50, hours=7, minutes=15)
    forecast = daily_profile(series, now)
    assert forecast.value == pytest.approx(series.window(now, now + timedelta(hours=96), 900.0))
    assert forecast.low == pytest.approx(forecast.value)


def test_one_day_of_history_is_plain_persistence() -> None:
    series = _series(np.random.default_rng(1).uniform(100.0, 500.0, 48))
    now = START + timedelta(hours=24)
    assert daily_profile(series, now, 24.0).value == pytest.approx(persistence_24h(series, now, 24.0).value)


def test_a_new_level_is_taken_up_and_fades() -> None:
    values = np.tile(DAY, 30)
    values[20 * 24 : 20 * 24 + 3] += 90.0
    now = START + timedelta(days=20, hours=3)
    miss = daily_profile(_series(values), now, 96.0, 3600.0).value - np.tile(np.roll(DAY, -3), 4)
    assert miss[0] > 60.0
    assert np.all(np.diff(miss[:20]) < 0.0)
    assert miss[90] < 25.0


def test_no_value_after_now_is_seen() -> None:
    values = np.random.default_rng(2).uniform(100.0, 500.0, 24 * 60)
    now = START + timedelta(days=50, hours=7, minutes=45)
    spoilt = values.copy()
    spoilt[50 * 24 + 7 :] = 1e6  # the running hour is not over, so its value is not public either
    known, blind = daily_profile(_series(values), now), daily_profile(_series(spoilt), now)
    assert known.value.tobytes() == blind.value.tobytes()
    assert known.low is not None
    assert blind.low is not None
    assert known.low.tobytes() == blind.low.tobytes()


def test_too_short_a_past_says_from_when_on_it_works() -> None:
    with pytest.raises(DataError, match="begin no earlier than 2023-01-02 01:00 UTC"):
        daily_profile(_series(np.tile(DAY, 9)), START + timedelta(hours=20))


def test_no_band_without_a_fortnight_of_misses() -> None:
    assert daily_profile(_series(np.tile(DAY, 40)), START + timedelta(days=12)).low is None


@pytest.mark.parametrize("zone", ["DE-LU", "US-CAL-CISO"])
def test_it_beats_persistence_in_both_zones_and_its_band_holds(zone: str) -> None:
    series = read_electricity_maps(shared(f"carbon/electricitymaps_{zone}_2022_hourly.csv"))
    errors: dict[str, list[float]] = {"profile": [], "persistence": []}
    inside = []
    for day in range(40, 360, 2):
        now = series.start + timedelta(days=day, hours=6)
        truth = series.window(now, now + timedelta(hours=24), 3600.0)
        forecast = daily_profile(series, now, 24.0, 3600.0)
        assert forecast.low is not None
        assert forecast.high is not None
        inside.append(np.mean((forecast.low <= truth) & (truth <= forecast.high)))
        errors["profile"].append(float(np.abs(forecast.value - truth).mean()))
        errors["persistence"].append(float(np.abs(persistence_24h(series, now, 24.0, 3600.0).value - truth).mean()))
    assert np.mean(errors["profile"]) < np.mean(errors["persistence"])
    assert 0.8 < np.mean(inside) < 0.97


def test_a_synthetic_series_stays_labelled() -> None:
    series = replace(_series(np.tile(DAY, 9)), synthetic=True)
    assert daily_profile(series, START + timedelta(days=5)).synthetic
