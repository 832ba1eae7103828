"""Forecast v1: built from the past alone, with a band that means what it says."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from facility.errors import DataError
from tests.shared import shared
from twin.forecast import issue_forecasts, persistence_24h
from twin.signals import Series, Signals, read_electricity_maps, synthetic_signals

START = datetime(2023, 3, 1, tzinfo=UTC)
NOW = datetime(2023, 4, 10, 14, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def signals() -> Signals:
    return synthetic_signals("DE", START, 60, 1)


def corrupted(series: Series, now: datetime) -> Series:
    """The same series with every value that is not public at ``now`` replaced."""
    value = series.value.copy()
    value[series.known_count(now) :] = np.random.default_rng(0).normal(1e6, 1e6, len(value) - series.known_count(now))
    return replace(series, value=value)


@pytest.mark.parametrize("minutes", [0, 15, 30, 45])
def test_what_is_not_public_changes_no_byte(signals: Signals, minutes: int) -> None:
    now = NOW + timedelta(minutes=minutes)
    assert signals.price is not None
    other = Signals(
        corrupted(signals.carbon, now),
        corrupted(signals.drybulb, now),
        corrupted(signals.rh, now),
        corrupted(signals.price, now),
        signals.altitude_m,
    )
    ours, theirs = issue_forecasts(signals, now), issue_forecasts(other, now)
    assert ours.keys() == theirs.keys() == {"carbon_intensity_g_kwh", "drybulb_c", "wetbulb_c", "price_usd_mwh"}
    for quantity, forecast in ours.items():
        for part in ("value", "low", "high"):
            assert getattr(forecast, part).tobytes() == getattr(theirs[quantity], part).tobytes(), (quantity, part)


def test_it_repeats_the_newest_day_known(signals: Signals) -> None:
    forecast = persistence_24h(signals.carbon, NOW, 48.0, 3600.0)
    day_before = signals.carbon.window(NOW - timedelta(days=1), NOW, 3600.0)
    assert forecast.value[:24].tolist() == day_before.tolist()
    assert forecast.value[24:].tolist() == day_before.tolist()
    assert (forecast.issued_at, forecast.start, forecast.synthetic) == (NOW, NOW, True)


def test_published_prices_are_taken_as_they_are(signals: Signals) -> None:
    assert signals.price is not None
    forecast = persistence_24h(signals.price, NOW, 96.0, 3600.0)  # 16:00 in Berlin: tomorrow's prices are out
    public = datetime(2023, 4, 11, 22, tzinfo=UTC)
    known = round((public - NOW).total_seconds() / 3600.0)
    assert forecast.value[:known].tolist() == signals.price.window(NOW, public, 3600.0).tolist()
    assert forecast.low is not None
    assert forecast.low[:known].tolist() == forecast.value[:known].tolist()
    assert forecast.value[known] == signals.price.at(public - timedelta(days=1))


def test_weather_is_interpolated_between_past_stamps(signals: Signals) -> None:
    now = NOW + timedelta(minutes=15)
    forecast = persistence_24h(signals.drybulb, now, 1.0, 900.0)
    assert forecast.value[0] == pytest.approx(signals.drybulb.at(now - timedelta(days=1)))


def test_band_needs_two_weeks_and_history_a_day(signals: Signals) -> None:
    assert persistence_24h(signals.carbon, START + timedelta(days=10)).low is None
    with pytest.raises(DataError, match=r"23 h of carbon.*needs 24 h.*begin no earlier than 2023-03-02 01:00"):
        persistence_24h(signals.carbon, START + timedelta(hours=23))  # 23 hours are over
    with pytest.raises(DataError, match="no older than 48 h"):
        persistence_24h(signals.carbon, signals.carbon.end + timedelta(days=3))


def test_it_is_fast(signals: Signals) -> None:
    issue_forecasts(signals, NOW)
    begin = time.perf_counter()
    for step in range(100):
        persistence_24h(signals.carbon, NOW + timedelta(hours=step), 96.0, 900.0)
    assert (
        time.perf_counter() - begin
    ) / 100 < 0.01  # 0.3 ms on one core; ten times that leaves room for a busy machine


@pytest.mark.parametrize(("zone", "mape"), [("DE-LU", (0.10, 0.25)), ("US-CAL-CISO", (0.06, 0.15))])
def test_error_and_coverage_on_real_grids(zone: str, mape: tuple[float, float]) -> None:
    paths = [shared(f"carbon/electricitymaps_{zone}_{year}_hourly.csv") for year in (2022, 2023)]
    series = read_electricity_maps(paths)
    errors, inside = [], []
    for day in range(40, 720, 5):
        now = series.start + timedelta(days=day, hours=8)
        forecast = persistence_24h(series, now, 24.0, 3600.0)
        truth = series.window(now, now + timedelta(hours=24), 3600.0)
        assert forecast.low is not None
        assert forecast.high is not None
        errors.append(np.mean(np.abs(forecast.value / truth - 1.0)))
        inside.append(np.mean((truth >= forecast.low) & (truth <= forecast.high)))
    assert mape[0] < np.mean(errors) < mape[1]
    assert 0.87 < np.mean(inside) < 0.95  # of a nominal 90 %
