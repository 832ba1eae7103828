"""Counters that roll over, begin anew, come twice or late: what is counted is what was used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facility.counters import Counters, Event, Range, Unwrapper, unwrap, unwrapped_name
from facility.records import Point, Quality, Reading

START = datetime(2023, 6, 1, tzinfo=UTC)
SIZES = st.sampled_from([2.0**16, 2.0**32, 2.0**48, 1e8])


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@settings(deadline=None)
@given(SIZES, st.floats(0.0, 1.0), st.lists(st.floats(0.0, 1.0), max_size=50))
def test_what_is_counted_is_what_was_used_however_often_it_rolled_over(
    size: float, began: float, shares: list[float]
) -> None:
    """At a known rate, steps of up to that rate are counted in full, roll-overs included."""
    rate = size / 1000.0
    true = [began * (size - 1.0)]
    for share in shares:
        true.append(true[-1] + share * rate * 10.0)
    samples = [(at(10.0 * i), value % size) for i, value in enumerate(true)]
    totals = unwrap(samples, Range(size, rate))
    assert totals == pytest.approx([total - true[0] + true[0] % size for total in true], rel=1e-9, abs=size * 1e-9)


@settings(deadline=None)
@given(SIZES, st.lists(st.tuples(st.floats(-100.0, 1000.0), st.floats(0.0, 1.0)), max_size=50), st.booleans())
def test_no_sequence_of_samples_lets_the_total_fall(
    size: float, steps: list[tuple[float, float]], knows_rate: bool
) -> None:
    counter = Unwrapper(Range(size, size / 1e4 if knows_rate else None))
    when, last = 0.0, 0.0
    for step_s, share in steps:
        when += step_s
        counter.feed(share * (size - 1.0), at(when))
        assert counter.total >= last
        last = counter.total


@settings(deadline=None)
@given(SIZES, st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30))
def test_repeated_and_late_samples_change_nothing(size: float, shares: list[float]) -> None:
    samples = [(at(10.0 * i), share * (size - 1.0)) for i, share in enumerate(shares)]
    noisy = [sample for i, one in enumerate(samples) for sample in (one, one, samples[i // 2])]
    limits = Range(size, size / 100.0)
    assert unwrap(noisy, limits)[2::3] == unwrap(samples, limits)


@settings(deadline=None)
@given(st.floats(0.0, 2.0**32 - 1.0), st.floats(0.0, 2.0**32 - 1.0), st.floats(0.1, 1e6))
def test_a_fall_is_a_roll_over_only_where_the_rate_allows_it(before: float, after: float, over_s: float) -> None:
    limits = Range(2.0**32, 100.0)
    counter = Unwrapper(limits)
    counter.feed(before, at(0.0))
    event = counter.feed(after, at(over_s))
    if event is Event.ROLLED_OVER:
        assert after < before
        assert limits.could_rise(after + 2.0**32 - before, over_s)
    if event is Event.RESTARTED:
        assert counter.total in (before, before + after)


def test_a_roll_over_and_a_reboot_are_told_apart_without_a_known_rate() -> None:
    counter = Unwrapper(Range(2.0**32))
    counter.feed(2.0**32 - 50.0, at(0.0))
    assert counter.feed(50.0, at(60.0)) is Event.ROLLED_OVER
    assert counter.total == 2.0**32 + 50.0
    assert counter.feed(3e9, at(120.0)) is Event.COUNTED  # an exchange of meters, or a month without a sample
    assert counter.feed(10.0, at(180.0)) is Event.RESTARTED
    assert counter.total == 2.0**32 + 3e9  # what came before is kept, and nothing is made up


def test_a_reboot_near_the_top_is_known_by_the_uptime() -> None:
    counter = Unwrapper(Range(2.0**16))
    counter.feed(65_000.0, at(0.0))
    assert counter.feed(20.0, at(60.0), uptime_s=15.0) is Event.RESTARTED
    assert counter.feed(30.0, at(120.0), uptime_s=75.0) is Event.COUNTED
    assert counter.total == 65_010.0


def test_a_counter_that_began_anew_at_0_is_counted_from_there_where_the_rate_allows_it() -> None:
    counter = Unwrapper(Range(2.0**32, max_rate_per_s=10.0))
    counter.feed(1e6, at(0.0))
    assert counter.feed(80.0, at(60.0)) is Event.RESTARTED
    assert counter.total == 1e6 + 80.0
    assert counter.feed(5e5, at(120.0)) is Event.JUMPED  # from the meter's own backup: not used in a minute
    assert counter.total == 1e6 + 80.0


def test_a_clock_that_was_set_back_is_no_late_sample() -> None:
    counter = Unwrapper(Range(2.0**32, 10.0))
    counter.feed(1000.0, at(3600.0))
    assert counter.feed(1010.0, at(60.0)) is Event.IGNORED
    assert counter.feed(1010.0, at(60.0), now=at(60.0)) is Event.COUNTED
    assert counter.feed(1020.0, at(120.0), now=at(120.0)) is Event.COUNTED
    assert counter.total == 1020.0


POINT = Point("m/energy_wh", "energy", "Wh", "m", rollover=2.0**32, max_rate_per_s=300.0)
POINTS = {
    "m/energy_wh": POINT,
    "m/up_s": Point("m/up_s", "uptime", "s", "m"),
    "m/x_c": Point("m/x_c", "t", "degC", "m"),
}


def reading(name: str, value: float | None, seconds: float, quality: Quality = Quality.GOOD) -> Reading:
    return Reading(name, value, "Wh", at(seconds), quality, "m")


def test_readings_of_counters_get_a_second_one_under_a_name_of_its_own() -> None:
    counters = Counters()
    assert unwrapped_name("pdu-1/outlet-2/energy_wh") == "pdu-1/outlet-2/energy_unwrapped_wh"
    counters.unwrap(POINTS, [reading("m/energy_wh", 2.0**32 - 100.0, 0.0), reading("m/x_c", 20.0, 0.0)], at(0.0))
    (total,) = counters.unwrap(POINTS, [reading("m/energy_wh", 100.0, 10.0)], at(10.0))
    assert (total.point, total.value, total.unit) == ("m/energy_unwrapped_wh", 2.0**32 + 100.0, "Wh")
    assert counters.unwrap(POINTS, [reading("m/energy_wh", None, 20.0, Quality.BAD)], at(20.0)) == []
    fresh = [reading("m/up_s", 2.0, 30.0), reading("m/energy_wh", 5.0, 30.0)]
    (total,) = counters.unwrap(POINTS, fresh, at(30.0))
    assert total.value == 2.0**32 + 105.0
    assert counters.restarts == 1


def test_a_counter_goes_on_from_what_was_stored() -> None:
    stored = [
        reading("m/energy_wh", 400.0, 0.0),
        reading("m/energy_unwrapped_wh", 2.0**32 + 400.0, 0.0),
        reading("n/energy_wh", 7.0, 0.0),
    ]
    counters = Counters()
    counters.resume(stored)
    (total,) = counters.unwrap(POINTS, [reading("m/energy_wh", 500.0, 60.0)], at(60.0))
    assert total.value == 2.0**32 + 500.0
