"""Meters as functions of time, against sums done by hand and by the clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facility.records import FloatArray
from twin.reports.intensity import of_readings
from twin.reports.metered import from_rate, from_register, longest_gap_s, mean_of, nothing, overlap, sum_of
from twin.reports.spans import Spans

HOUR = 3600.0


def _minutes(count: int) -> FloatArray:
    return np.arange(count, dtype=np.float64) * 60.0


def test_a_constant_power_is_energy_over_time() -> None:
    meter = from_rate(_minutes(61), np.full(61, 10.0), HOUR, 1 / HOUR)
    assert meter.over(meter.read) == pytest.approx(10.0)
    assert meter.read.length_s == HOUR
    assert meter.over(Spans.of([(600.0, 1200.0)])) == pytest.approx(10.0 / 6.0)


def test_a_ramp_is_integrated_by_trapezoids() -> None:
    meter = from_rate(np.array([0.0, 600.0, 1200.0]), np.array([0.0, 6.0, 0.0]), 1200.0, 1 / HOUR)
    assert meter.over(meter.read) == pytest.approx(1.0)


def test_a_gap_of_a_rate_is_neither_zero_nor_filled() -> None:
    at = _minutes(121)
    seen = (at < 1800.0) | (at > 5400.0)
    meter = from_rate(at[seen], np.full(int(seen.sum()), 10.0), 2 * HOUR, 1 / HOUR)
    covered_s = 1740.0 + (7200.0 - 5460.0)
    assert meter.read.length_s == covered_s
    assert meter.over(meter.read) == pytest.approx(10.0 * covered_s / HOUR)
    assert meter.unread == 0.0


def test_a_register_goes_on_counting_in_a_gap_but_nobody_knows_when() -> None:
    at = _minutes(121)
    seen = (at < 1800.0) | (at > 5400.0)
    meter = from_register(at[seen], at[seen] / HOUR, 2 * HOUR)
    assert meter.over(meter.read) == pytest.approx(meter.read.length_s / HOUR)
    assert meter.over(meter.known) == pytest.approx(2.0)
    assert meter.unread == pytest.approx(2.0 - meter.read.length_s / HOUR)


def test_a_gap_of_a_register_is_used_whole_or_not_at_all() -> None:
    """Two registers count through the gap of one; a power that is read for half of it cannot be set beside it."""
    at = _minutes(121)
    seen = (at < 1800.0) | (at > 5400.0)
    gapped = from_register(at[seen], 3.0 * at[seen] / HOUR, 2 * HOUR)
    register = from_register(at, 2.0 * at / HOUR, 2 * HOUR)
    both = overlap([gapped, register])
    assert both.known.length_s == 2 * HOUR
    assert both.read.length_s == gapped.read.length_s
    assert gapped.over(both.known) / register.over(both.known) == pytest.approx(1.5)
    half = at < 3600.0
    power = from_rate(at[half], np.full(60, 2.0), 2 * HOUR, 1 / HOUR)
    both = overlap([gapped, power])
    assert both.known.length_s == both.read.length_s == 1740.0
    assert gapped.over(both.known) / power.over(both.known) == pytest.approx(1.5)


def test_a_gap_that_the_span_cuts_is_not_known() -> None:
    meter = from_register(np.array([-7200.0, -6900.0, 600.0, 900.0, 1200.0]), np.arange(5.0), 1200.0)
    assert meter.known.length_s == meter.read.length_s == 600.0
    assert meter.over(meter.known) == pytest.approx(2.0)


def test_neighbouring_gaps_of_a_register_are_apart() -> None:
    """Of three long silences the span cuts the last; the others are known, for there was a reading between them."""
    at = np.concatenate([np.arange(0.0, 3001.0, 300.0), [6000.0, 9000.0, 12000.0]])
    meter = from_register(at, at, 10000.0)
    assert meter.read.length_s == 3000.0
    assert meter.known.length_s == 9000.0
    both = sum_of([meter, from_register(at, 2.0 * at, 10000.0)])
    assert both.gaps.length_s == 6000.0
    assert both.over(both.known) == pytest.approx(27000.0)
    staggered = sum_of([meter, from_register(at + 100.0, at, 10000.0)])
    assert staggered.known.length_s == staggered.read.length_s == 2900.0  # no moment at which both gaps end


def test_a_rollover_loses_nothing_and_a_reset_is_not_covered() -> None:
    at = _minutes(61)
    rolled = (np.arange(61) * 2.0 + 2.0**32 - 10.0) % 2.0**32
    meter = from_register(at, rolled, HOUR, rollover=2.0**32)
    assert (meter.over(meter.read), meter.read.length_s) == (pytest.approx(120.0), HOUR)
    reset = np.concatenate([1e6 + np.arange(31) * 2.0, np.arange(30) * 2.0])
    meter = from_register(at, reset, HOUR, rollover=2.0**32)
    assert meter.over(meter.read) == pytest.approx(60.0 + 58.0)
    assert meter.read.length_s == HOUR - 60.0
    assert meter.unread == 0.0


@pytest.mark.parametrize("stray", [0.0, 1e9])
def test_a_single_answer_that_no_register_gives_is_dropped(stray: float) -> None:
    value = 1000.0 + np.arange(61) * 2.0
    value[30] = stray
    meter = from_register(_minutes(61), value, HOUR)
    assert meter.over(meter.read) == pytest.approx(120.0)
    assert meter.read.length_s == HOUR


def test_stamps_of_two_clocks_in_one_register_are_not_read_as_energy() -> None:
    """A logger's clock is set back by an hour: for an hour readings of before and of after lie among one another."""
    at = np.arange(0.0, 4 * HOUR, 300.0)
    energy_kwh = 500.0 + at / HOUR
    told = np.where(at < 2 * HOUR, at, at - HOUR + 7.0)
    order = np.argsort(told, kind="stable")
    meter = from_register(told[order], energy_kwh[order], 3 * HOUR)
    assert meter.known.length_s == pytest.approx(2 * HOUR, abs=1200.0)
    assert meter.over(meter.known) / meter.known.length_s == pytest.approx(1.0 / HOUR)


def test_the_longest_gap_follows_how_often_a_meter_is_read() -> None:
    assert longest_gap_s(_minutes(10)) == 600.0
    assert longest_gap_s(np.arange(10) * 3600.0) == 3 * HOUR


def test_a_sum_is_covered_where_every_meter_was_read() -> None:
    whole = from_rate(_minutes(61), np.full(61, 1.0), HOUR)
    half = from_rate(_minutes(31), np.full(31, 3.0), HOUR)
    both = sum_of([whole, half])
    assert both.read.length_s == 1800.0
    assert both.over(both.read) == pytest.approx(4.0 * 1800.0)
    assert mean_of([whole, half]).mean() == pytest.approx(2.0)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_readings_are_no_measurement(count: int) -> None:
    for meter in (
        from_rate(_minutes(count), np.full(count, 5.0), HOUR),
        from_register(_minutes(count), np.full(count, 5.0), HOUR),
    ):
        assert meter.read.length_s == 0.0
        assert meter.over(meter.read) == 0.0
        assert meter.mean() is None


def test_what_is_declared_not_to_be_there_is_zero_and_covered() -> None:
    meter = nothing(HOUR)
    assert (meter.over(meter.read), meter.read.length_s) == (0.0, HOUR)


def test_carbon_is_energy_of_each_hour_at_its_own_intensity() -> None:
    power = from_rate(_minutes(121), np.concatenate([np.full(60, 10.0), np.full(61, 20.0)]), 2 * HOUR, 1 / HOUR)
    intensity = of_readings(np.array([0.0, HOUR]), np.array([100.0, 400.0]), "lifecycle", "by hand")
    assert intensity is not None
    spans = power.read.meet(intensity.spans)
    assert intensity.carbon_kg(power, spans) == pytest.approx(1.0 + 8.0, rel=0.01)  # the ramp between the hours
    late = of_readings(np.array([HOUR]), np.array([400.0]), "lifecycle", "by hand")
    assert late is not None
    assert power.read.meet(late.spans).length_s == HOUR


PIECES = st.lists(st.tuples(st.integers(0, 100), st.integers(1, 20)), max_size=8)


def _spans(pieces: list[tuple[int, int]]) -> Spans:
    """Disjoint spans from drawn ones, by the seconds that they hold."""
    held = np.zeros(130, dtype=bool)
    for start, length in pieces:
        held[start : start + length] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], held, [False]]).astype(int)))
    return Spans.of(zip(edges[::2].astype(float), edges[1::2].astype(float), strict=True))


@given(first=PIECES, second=PIECES)
def test_spans_meet_second_by_second(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    one, other = _spans(first), _spans(second)
    seconds = np.arange(130) + 0.5
    both = one.meet(other)
    assert both.length_s == float((one.holds(seconds) & other.holds(seconds)).sum())
    assert both.seconds_before(np.array([130.0]))[0] == pytest.approx(both.length_s)


@given(
    power=arrays(np.float64, 50, elements=st.floats(0.0, 1e4)),
    seen=arrays(np.bool_, 50, elements=st.booleans()),
    cut=st.floats(0.0, 2940.0),
)
def test_energy_of_parts_is_that_of_the_whole(power: FloatArray, seen: FloatArray, cut: float) -> None:
    at = _minutes(50)[seen]
    meter = from_rate(at, power[seen], 2940.0, 1 / HOUR)
    parts = [meter.read.meet(Spans.of([piece])) for piece in ((0.0, cut), (cut, 2940.0))]
    assert sum(meter.over(part) for part in parts) == pytest.approx(meter.over(meter.read), abs=1e-6)
    assert sum(part.length_s for part in parts) == pytest.approx(meter.read.length_s, abs=1e-6)
