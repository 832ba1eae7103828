from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from facility.clock import ManualClock, ScaledClock, WallClock

START = datetime(2023, 6, 1, tzinfo=UTC)


def test_a_scaled_clock_is_the_same_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ScaledClock(START, 1000.0, 60.0)
    monkeypatch.setattr(time, "time", lambda: 1010.0)
    assert first.now() == START + timedelta(seconds=600)
    assert ScaledClock(START, 1000.0, 60.0).now() == first.now()


def test_times_are_utc_whatever_was_given() -> None:
    noon = datetime(2023, 6, 1, 12, tzinfo=timezone(timedelta(hours=-7)))
    for now in (WallClock().now(), ScaledClock(noon, time.time(), 1.0).now(), ManualClock(noon).now()):
        assert now.utcoffset() == timedelta(0)
    with pytest.raises(ValueError, match="positive"):
        ScaledClock(START, 0.0, 0.0)


async def test_a_manual_clock_wakes_sleepers_when_they_are_due() -> None:
    clock, woken = ManualClock(START), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (30.0, 10.0, 20.0)]
    await asyncio.sleep(0)
    clock.advance(20.0)
    await asyncio.gather(*tasks[1:])
    assert woken == [10.0, 20.0]
    clock.advance(10.0)
    await tasks[0]
    assert woken == [10.0, 20.0, 30.0]
