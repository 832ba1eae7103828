"""The collector: each device at its own pace, failures aside, nothing old passed for new."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from facility.clock import WallClock
from facility.collector import Collector, Polled
from facility.errors import DeviceError
from facility.records import Point, Quality, Reading
from tests.facility.memory import MemoryActuator

NOW = datetime(2023, 6, 1, tzinfo=UTC)


class Moody(MemoryActuator):
    """Answers as it is told: at once, never, with an error, or with an old row."""

    def __init__(self, name: str) -> None:
        super().__init__([Point(f"{name}/power_w", "power", "W", name)], {f"{name}/power_w": 1.0})
        self.mood = "well"
        self.polls = 0
        self.at = NOW

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        self.polls += 1
        if self.mood == "silent":
            await asyncio.Event().wait()
        if self.mood == "failing":
            raise DeviceError("broken", where=self.name)
        return [Reading(f"{self.name}/power_w", float(self.polls), "W", self.at, Quality.GOOD, self.name)]


def _collector(*devices: Moody, poll_s: float = 0.01) -> tuple[Collector, list[Reading]]:
    kept: list[Reading] = []

    async def sink(readings: list[Reading]) -> None:
        kept.extend(readings)

    return Collector([Polled(device, poll_s, 0.2) for device in devices], WallClock(), sink), kept


async def test_a_silent_device_does_not_delay_another() -> None:
    silent, well = Moody("silent"), Moody("well")
    silent.mood = "silent"
    collector, kept = _collector(silent, well)
    running = asyncio.create_task(collector.run())
    while collector.latest.get("silent/health_up_flag") is None:
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert well.polls > 3 * silent.polls
    assert collector.latest["silent/health_up_flag"].value == 0.0
    assert collector.latest["well/health_up_flag"].value == 1.0
    assert all(reading.point != "silent/power_w" for reading in kept)


async def test_a_failing_device_keeps_its_last_reading_which_ages() -> None:
    device = Moody("crah")
    collector, _ = _collector(device)
    (polled,) = collector._polled
    assert await collector.poll(polled)
    device.mood = "failing"
    assert not await collector.poll(polled)
    state = collector.snapshot(NOW + timedelta(minutes=7))["crah/power_w"]
    assert (state.value, state.age_s) == (1.0, 420.0)
    assert not state.is_usable(300.0)


async def test_the_same_row_twice_and_an_old_one_are_not_new() -> None:
    device = Moody("replayed")
    collector, kept = _collector(device)
    (polled,) = collector._polled
    for at in (NOW, NOW, NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)):
        device.at = at
        await collector.poll(polled)
    values = [reading.value for reading in kept if reading.point == "replayed/power_w"]
    assert values == [1.0, 4.0]


def test_failures_spread_polls_up_to_a_limit() -> None:
    assert Collector._spread(0) == 1.0
    assert all(4.0 <= Collector._spread(9) <= 8.0 for _ in range(50))
