"""Learned forecasts in the arena: the newest that was out, shifted to the running hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from facility.errors import DataError
from scheduler.arena.learned import learned_table
from twin.forecasting.inputs import Issues
from twin.forecasting.rolling import Issued

START = datetime(2023, 1, 1, tzinfo=UTC)


def issued(count: int = 8) -> Issued:
    """Issued every six hours from hour 24 on; the value says 1000 x issue + hour that it is for."""
    hours = 24 + 6 * np.arange(count)
    value = 1000.0 * np.arange(count)[:, None] + hours[:, None] + np.arange(96)
    issues = Issues(tuple(START + timedelta(hours=int(hour)) for hour in hours), hours, hours, hours)
    return Issued(issues, value, value, value, value)


def test_each_hour_sees_the_newest_forecast_that_was_out() -> None:
    starts = [START + timedelta(hours=30), START + timedelta(hours=26)]
    table = learned_table(issued(), START, starts, hours=10)
    for step in range(0, 40, 4):
        for row, begin in enumerate((30, 26)):
            hour = begin + step // 4
            newest = (hour - 24) // 6
            np.testing.assert_allclose(table.at(step)[row], 1000.0 * newest + hour + np.arange(72))


def test_an_hour_before_the_first_issue_is_an_error() -> None:
    with pytest.raises(DataError, match="3 of 10 hours"):
        learned_table(issued(), START, [START + timedelta(hours=21)], hours=10)
    with pytest.raises(DataError, match="no learned forecast"):
        learned_table(issued(), START, [START + timedelta(hours=80)], hours=30)
