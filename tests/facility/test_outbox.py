"""The queue before the store: a slow sink, one that fails, and what is lost at the end is counted."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

import pytest

from facility import outbox
from facility.errors import StoreError
from facility.outbox import Outbox
from facility.records import Quality, Reading

START = datetime(2023, 6, 1, tzinfo=UTC)


def readings(*values: float) -> list[Reading]:
    return [Reading("a/x_c", value, "degC", START, Quality.GOOD, "a") for value in values]


class Sink:
    """Takes readings while it is not broken."""

    def __init__(self) -> None:
        self.batches: list[list[float | None]] = []
        self.is_broken = False

    async def __call__(self, batch: list[Reading]) -> None:
        if self.is_broken:
            raise StoreError("disk full")
        self.batches.append([reading.value for reading in batch])


async def test_what_came_meanwhile_goes_in_one_batch_in_order() -> None:
    sink = Sink()
    box = Outbox(sink)
    box.offer(readings(1.0, 2.0))
    box.offer([])
    box.offer(readings(3.0))
    assert await box.flush()
    assert await box.flush()
    assert sink.batches == [[1.0, 2.0, 3.0]]


async def test_a_full_queue_drops_the_oldest_and_counts_them(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()
    box = Outbox(sink, capacity=3)
    for value in range(6):
        box.offer(readings(float(value)))
    assert (box.dropped, box.queued) == (3, 3)
    await box.flush()
    assert sink.batches == [[3.0, 4.0, 5.0]]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]  # once, not for each


async def test_a_sink_that_fails_gets_the_same_readings_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sink = Sink()
    box = Outbox(sink, capacity=3)
    sink.is_broken = True
    box.offer(readings(1.0, 2.0))
    assert not await box.flush()
    box.offer(readings(3.0))
    assert not await box.flush()
    assert box.queued == 3
    sink.is_broken = False
    assert await box.flush()
    assert sink.batches == [[1.0, 2.0, 3.0]]
    assert len(caplog.records) == 2  # it fails; it is well again


async def test_what_comes_while_a_batch_fails_is_not_lost_for_the_older_ones() -> None:
    box: Outbox

    async def sink(_: list[Reading]) -> None:
        box.offer(readings(8.0, 9.0))
        raise StoreError("busy")

    box = Outbox(sink, capacity=3)
    box.offer(readings(1.0, 2.0, 3.0))
    assert not await box.flush()
    assert (box.queued, box.dropped) == (3, 2)


async def test_a_sink_that_hangs_holds_up_nobody_and_the_end_counts_what_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "LAST_S", 0.05)

    async def sink(_: list[Reading]) -> None:
        await asyncio.Event().wait()

    box = Outbox(sink)
    box.offer(readings(1.0, 2.0))
    running = asyncio.create_task(box.run())
    await asyncio.sleep(outbox.GATHER_S + 0.05)
    box.offer(readings(3.0))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await box.close()
    assert (box.queued, box.dropped) == (0, 3)
