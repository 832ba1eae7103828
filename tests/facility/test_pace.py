"""The grid that a device is polled on, and how far apart its polls are while it fails."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facility.pace import BACK_OFF_PERIODS, BACK_OFF_S, Grid, back_off_s, start_s

START = datetime(2023, 6, 1, tzinfo=UTC)
PERIODS = st.floats(0.1, 3600.0)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@settings(deadline=None)
@given(PERIODS, st.integers(0, 10_000), st.lists(st.floats(0.0, 5.0), min_size=1, max_size=30))
def test_polls_that_take_long_move_no_later_poll(period_s: float, number: int, took: list[float]) -> None:
    """Every poll begins on the grid, and each period is either served or counted as missed."""
    grid, now, missed = Grid(START, period_s, number), 0.0, 0
    grid.begin(at(now))
    first, _ = grid.next_after(at(now))
    now += first
    served = 1
    for share in took:
        began = now
        now += share * period_s
        wait_s, skipped = grid.next_after(at(now))
        assert 0.0 <= wait_s <= period_s * 1.001
        now += wait_s
        served, missed = served + 1, missed + skipped
        periods = (now - began) / period_s
        assert abs(periods - round(periods)) < 1e-3 * max(periods, 1.0) / min(period_s, 1.0)
    assert round((now - first) / period_s) == served - 1 + missed


def test_a_sleep_that_ends_a_little_early_does_not_serve_a_period_twice() -> None:
    grid = Grid(START, 10.0, 0)
    grid.begin(at(0.0))
    wait_s, _ = grid.next_after(at(1.0))
    assert wait_s == 9.0
    wait_s, missed = grid.next_after(at(9.999))
    assert (round(wait_s, 3), missed) == (10.001, 0)


def test_a_clock_that_is_set_back_stops_no_poll() -> None:
    grid = Grid(START, 10.0, 0)
    grid.begin(at(7200.0))
    wait_s, missed = grid.next_after(at(3601.0))
    assert (wait_s, missed) == (pytest.approx(9.0), 0)


@settings(deadline=None)
@given(st.integers(1, 2000))
def test_devices_begin_apart_and_soon(devices: int) -> None:
    starts = sorted(start_s(number, devices) for number in range(devices))
    assert len(set(starts)) == devices
    assert starts[-1] <= 0.01 * devices
    assert max((later - earlier for earlier, later in itertools.pairwise(starts)), default=0.0) < 0.03


@settings(deadline=None)
@given(PERIODS, st.integers(1, 100_000))
def test_a_dead_device_is_asked_seldom_but_asked(period_s: float, failures: int) -> None:
    wait_s = back_off_s(period_s, failures)
    assert wait_s <= min(BACK_OFF_PERIODS * period_s, max(BACK_OFF_S, period_s))
    assert wait_s >= 0.5 * period_s
