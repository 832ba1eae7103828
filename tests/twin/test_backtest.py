from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from facility.errors import DataError
from twin.backtest import backtest
from twin.signals import Series

START = datetime(2023, 1, 1, tzinfo=UTC)


def _series(days: int) -> Series:
    values = np.tile(300.0 + 100.0 * np.cos(np.arange(24) / 24.0 * 2.0 * np.pi), days)
    return Series("carbon_intensity_g_kwh", "g/kWh", "DE", START, 3600.0, values, 3600.0, "test")


def test_what_returns_each_day_is_forecast_without_a_miss() -> None:
    for score in backtest(_series(80)):
        assert score.mape_pct == (0.0, 0.0, 0.0, 0.0)
        assert score.issues == 7


def test_too_short_a_past_is_an_error_that_says_how_much_is_needed() -> None:
    with pytest.raises(DataError, match="give at least 61 days"):
        backtest(_series(50))
