"""The fault campaign: repeatable, clean, and its witness does see what it is there to see."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apps.faults.campaign import Campaign, Outcome
from apps.faults.device import RATE_S, FaultyDevice, air_handler
from apps.faults.kinds import WEIGHTS, Kind, draw
from facility.clock import ManualClock
from facility.errors import DeviceTimeout
from facility.records import Command

START = datetime(2023, 1, 1, tzinfo=UTC)
SUPPLY = "crah-1/supply_air_setpoint_c"


def _outcome(folder: Path, seed: int) -> Outcome:
    return asyncio.run(Campaign(folder, 0.5, seed, per_day=100.0).run(lambda _: None))


def test_half_a_day_of_faults_is_survived_and_is_the_same_twice(tmp_path: Path) -> None:
    first, again = (_outcome(tmp_path / name, 3) for name in ("first", "again"))
    assert first.is_clean, first.examples
    assert first.to_json() == again.to_json()
    assert first.faults == 50
    assert first.writes > 0
    assert first.hand_backs > 0


def test_all_kinds_are_drawn() -> None:
    faults = draw(START, 60.0, 30.0, 4, random.Random(1))
    assert len(faults) == 1800
    assert {fault.kind for fault in faults} == set(Kind) == set(WEIGHTS)
    assert all(fault.at < fault.until for fault in faults)


@pytest.fixture
def device() -> FaultyDevice:
    device = air_handler("crah-1", ["crah-1/rack_1_inlet_c"], 600.0, random.Random(1))
    device.clock = ManualClock(START)
    return device


def _write(device: FaultyDevice, value: float) -> None:
    asyncio.run(device.write(Command(SUPPLY, value, "degC", "test")))


def _advance(device: FaultyDevice, seconds: float) -> None:
    assert isinstance(device.clock, ManualClock)
    device.clock.advance(seconds)


def test_the_witness_sees_a_value_outside_its_range_and_a_step_too_far(device: FaultyDevice) -> None:
    asyncio.run(device.read())
    _write(device, 19.0)
    _write(device, 20.9)  # 2 K from the value before the first of both writes
    assert device.witness.violations != []
    device.witness.violations.clear()
    _advance(device, RATE_S)
    asyncio.run(device.read())
    _write(device, 28.0)
    assert any("outside its range" in line for line in device.witness.violations)


def test_the_witness_sees_a_write_on_what_it_did_not_deliver(device: FaultyDevice) -> None:
    _write(device, 19.0)
    asyncio.run(device.read())
    _advance(device, 700.0)
    _write(device, 19.0)
    assert len(device.witness.stale_writes) == 2


def test_a_dead_device_answers_nothing_and_falls_back(device: FaultyDevice) -> None:
    asyncio.run(device.write(Command("crah-1/remote_enable_flag", 1.0, "1", "test")))
    _write(device, 19.0)
    assert device.is_remote
    device.is_dead = True
    with pytest.raises(DeviceTimeout):
        asyncio.run(device.read())
    _advance(device, 301.0)
    assert not device.is_remote
