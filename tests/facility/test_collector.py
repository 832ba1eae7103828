"""The collector over devices that answer, hang, break and come back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from facility.clock import ManualClock, ScaledClock, WallClock
from facility.collector import Collector, Polled
from facility.errors import DeviceError
from facility.records import Point, Quality, Reading
from tests.facility.memory import MemoryActuator

START = datetime(2023, 6, 1, tzinfo=UTC)


class Patient(MemoryActuator):
    """A device that hangs while ``hangs`` is set, and says that it is broken while ``fails`` is."""

    hangs = False
    fails = False
    polls = 0

    def __init__(self, name: str, clock: ManualClock | ScaledClock) -> None:
        super().__init__([Point(f"{name}/x_c", "temperature", "degC", name)], {f"{name}/x_c": 20.0})
        self.clock = clock

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        self.polls += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise DeviceError("out of order", where=self.name)
        point = f"{self.name}/x_c"
        return [Reading(point, self.values[point], "degC", self.clock.now(), Quality.GOOD, self.name)]


class Sink:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []

    async def __call__(self, readings: list[Reading]) -> None:
        self.readings += readings

    def of(self, point: str) -> list[float | None]:
        return [reading.value for reading in self.readings if reading.point == point]


async def test_a_device_that_hangs_delays_no_other_and_comes_back() -> None:
    clock, sink = ScaledClock(START, _now(), 600.0), Sink()
    good, bad = Patient("good", clock), Patient("bad", clock)
    bad.hangs = True
    collector = Collector([Polled(good, 30.0, 0.2), Polled(bad, 30.0, 0.2)], clock, sink)
    running = asyncio.create_task(collector.run())
    while good.polls < 10:
        await asyncio.sleep(0.01)
    assert "bad/x_c" not in collector.latest
    bad.hangs = False
    while "bad/x_c" not in collector.latest:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bad.polls < good.polls
    assert 0.0 in sink.of("bad/collector_up_flag")
    assert set(sink.of("good/collector_up_flag")) == {1.0}


def _now() -> float:
    import time

    return time.time()


async def test_a_failure_leaves_old_readings_to_age_and_restamps_nothing() -> None:
    clock, sink = ManualClock(START), Sink()
    device = Patient("d", clock)
    collector = Collector([], clock, sink)
    polled = Polled(device, 30.0, 1.0)
    assert await collector.poll(polled)
    device.fails = True
    clock.advance(90.0)
    assert not await collector.poll(polled)
    assert sink.of("d/x_c") == [20.0]
    state = collector.snapshot(clock.now())["d/x_c"]
    assert (state.value, state.age_s, state.measured_at) == (20.0, 90.0, START)
    assert not state.is_usable(60.0)
    assert collector.latest["d/collector_up_flag"].value == 0.0


async def test_a_row_that_was_already_read_is_not_kept_twice() -> None:
    clock, sink = ManualClock(START), Sink()
    device = Patient("d", clock)
    collector = Collector([], clock, sink)
    await collector.poll(Polled(device, 30.0, 1.0))
    await collector.poll(Polled(device, 30.0, 1.0))
    assert sink.of("d/x_c") == [20.0]
    clock.advance(1.0)
    await collector.poll(Polled(device, 30.0, 1.0))
    assert sink.of("d/x_c") == [20.0, 20.0]


async def test_a_clock_that_is_set_back_does_not_freeze_what_is_known() -> None:
    """Else an old value would stand, its age shown as nothing, until the clock is where it was."""
    clock, sink = ManualClock(START), Sink()
    device = Patient("d", clock)
    collector = Collector([], clock, sink)
    await collector.poll(Polled(device, 30.0, 1.0))
    clock.advance(-3600.0)
    device.values["d/x_c"] = 35.0
    await collector.poll(Polled(device, 30.0, 1.0))
    assert collector.snapshot(clock.now())["d/x_c"].value == 35.0


async def test_a_failing_device_is_asked_less_and_less_often() -> None:
    clock, sink = ManualClock(START), Sink()
    device = Patient("d", clock)
    device.fails = True
    running = asyncio.create_task(Collector([Polled(device, 10.0, 1.0)], clock, sink).run())
    for _ in range(400):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        clock.advance(1.0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert 5 <= device.polls <= 15  # 40 would be at every period


def test_a_snapshot_of_the_past_is_not_of_negative_age() -> None:
    clock = ManualClock(START)
    collector = Collector([], clock, Sink())
    collector.latest["a/x_c"] = Reading("a/x_c", 1.0, "degC", START, Quality.GOOD, "a")
    assert collector.snapshot(START - timedelta(seconds=5))["a/x_c"].age_s == 0.0


class Deaf(MemoryActuator):
    """Swallows a cancellation, as a client library may."""

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise DeviceError("cancelled", where=self.name) from None
        return []


async def test_polling_ends_even_where_a_device_swallows_the_cancellation() -> None:
    async def sink(_: list[Reading]) -> None:
        return None

    device = Deaf([Point("deaf/power_w", "power", "W", "deaf")], {"deaf/power_w": 1.0})
    collector = Collector([Polled(device, 0.0, 30.0)], WallClock(), sink)
    running = asyncio.create_task(collector.run())
    await asyncio.sleep(0.05)
    collector.stop()
    running.cancel()
    _, late = await asyncio.wait([running], timeout=10.0)
    assert not late


class Scripted(MemoryActuator):
    """Runs what it is told at each poll, then reports the time."""

    def __init__(self, name: str, clock: ManualClock, act: Callable[[], Awaitable[None]], line: str = "") -> None:
        super().__init__([Point(f"{name}/energy_wh", "energy", "Wh", name, rollover=2.0**16)], {})
        self.clock = clock
        self.act = act
        self.line = line
        self.began: list[datetime] = []
        self.value = 0.0

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        self.began.append(self.clock.now())
        await self.act()
        return [Reading(f"{self.name}/energy_wh", self.value, "Wh", self.clock.now(), Quality.GOOD, self.name)]


async def run_for(collector: Collector, clock: ManualClock, seconds: int) -> None:
    """Let the collector poll while the clock is moved second by second."""
    running = asyncio.create_task(collector.run())
    for _ in range(seconds):
        for _ in range(5):
            await asyncio.sleep(0)
        clock.advance(1.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def nothing() -> None:
    return None


async def test_a_device_is_polled_on_a_grid_and_what_it_overruns_is_counted() -> None:
    clock, sink = ManualClock(START), Sink()
    quick = Scripted("quick", clock, nothing)
    slow = Scripted("slow", clock, lambda: clock.sleep(25.0))
    collector = Collector([Polled(quick, 10.0, 9.0), Polled(slow, 10.0, 9.0)], clock, sink)
    await run_for(collector, clock, 200)
    assert {round((began - START).total_seconds()) % 10 for began in quick.began} == {0}
    assert len(quick.began) in (20, 21)
    assert collector.health("quick").missed == 0
    steps = {round((b - a).total_seconds()) for a, b in zip(slow.began[1:], slow.began[2:], strict=False)}
    assert steps == {30}
    assert collector.health("slow").missed == 2 * (len(slow.began) - 2)
    assert sink.of("slow/collector_missed_count")[-1] == collector.health("slow").missed - 2


async def test_no_fault_of_a_device_ends_polling_and_it_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock, sink = ManualClock(START), Sink()

    async def fail() -> None:
        raise ZeroDivisionError("a fault in a library")

    async def cancelled_within() -> None:
        raise asyncio.CancelledError

    devices = [Scripted("a", clock, fail), Scripted("b", clock, cancelled_within), Scripted("c", clock, nothing)]
    collector = Collector([Polled(device, 10.0, 5.0) for device in devices], clock, sink)
    await run_for(collector, clock, 100)
    assert len(devices[2].began) in (10, 11)
    assert collector.health("a").failures == len(devices[0].began) > 2
    assert collector.health("a").last_error == "ZeroDivisionError: a fault in a library"
    assert "from within" in collector.health("b").last_error
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    devices[0].act = devices[1].act = nothing
    caplog.clear()
    await run_for(collector, clock, 100)
    assert sorted(record.message.split(" after")[0] for record in caplog.records) == ["a is up again", "b is up again"]
    assert collector.health("a").last_error == ""


async def test_devices_of_one_line_take_turns_and_each_has_its_whole_time() -> None:
    clock, sink, under_way = ManualClock(START), Sink(), 0

    async def alone() -> None:
        nonlocal under_way
        under_way += 1
        assert under_way == 1
        await asyncio.sleep(0.05)
        under_way -= 1

    collector = Collector([], clock, sink)
    units = [Polled(Scripted(f"unit-{i}", clock, alone, "gateway"), 10.0, 0.35) for i in range(8)]
    assert all(await asyncio.gather(*(collector.poll(unit) for unit in units)))


async def test_a_sink_that_hangs_holds_up_no_poll() -> None:
    clock = ManualClock(START)

    async def sink(_: list[Reading]) -> None:
        await asyncio.Event().wait()

    device = Scripted("d", clock, nothing)
    collector = Collector([Polled(device, 1.0, 5.0)], clock, sink, capacity=50)
    running = asyncio.create_task(collector.run())
    await asyncio.sleep(0.2)
    for _ in range(60):
        for _ in range(5):
            await asyncio.sleep(0)
        clock.advance(1.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(device.began) >= 60
    assert collector.dropped > 0


async def test_a_counter_is_kept_as_it_is_and_unwrapped_beside_it() -> None:
    clock, sink = ManualClock(START), Sink()
    device = Scripted("m", clock, nothing)
    collector = Collector([], clock, sink)
    for value in (65_500.0, 100.0):
        device.value = value
        await collector.poll(Polled(device, 10.0, 1.0))
        clock.advance(10.0)
    assert sink.of("m/energy_wh") == [65_500.0, 100.0]
    assert sink.of("m/energy_unwrapped_wh") == [65_500.0, 65_636.0]
