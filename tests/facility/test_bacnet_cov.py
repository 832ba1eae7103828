"""BACnet changes of value: pushed by the device, with polling as what remains."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from facility.records import Quality, Reading
from tests.facility.ahu import by_name, device_at, values, write_profile
from tests.peers.bacnet import Ask, asking_bac0, bacnet_device, write


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with asking_bac0() as answers:
        yield answers


async def test_pushed_changes_are_read_between_polls(tmp_path: Path, ask: Ask) -> None:
    path = write_profile(tmp_path, only=("setpoint_c", "broken_c"))
    with bacnet_device(tmp_path) as (port, process):
        async with device_at(port, path, cov_lifetime_s=300, cov_poll_s=3600.0) as ahu:
            assert values(await ahu.read())["setpoint_c"] == 24.0
            await ask(*(write(port, "analogOutput", 1, value, 16) for value in ("17.5", "19.5")))
            changes: list[Reading] = []
            async with asyncio.timeout(20.0):
                while not changes or changes[-1].value != 19.5:
                    await asyncio.sleep(0.01)  # a read without a poll waits for nothing
                    changes += [each for each in await ahu.read() if each.point == "ahu-1/setpoint_c"]
            assert 17.5 in [each.value for each in changes]
            assert all(each.quality is Quality.GOOD for each in changes)
            process.send_signal(signal.SIGKILL)
            process.wait()
            quiet = by_name(await ahu.read())  # nothing is asked of the device until the next poll is due
            assert (quiet["setpoint_c"].value, quiet["broken_c"].quality) == (19.5, Quality.BAD)
            assert quiet["setpoint_c"].measured_at == changes[-1].measured_at


async def test_a_subscription_is_renewed_before_it_ends(tmp_path: Path) -> None:
    path = write_profile(tmp_path, only=("setpoint_c",))
    with bacnet_device(tmp_path) as (port, _):
        log = tmp_path / f"bacnet-{port}.log"
        async with device_at(port, path, cov_lifetime_s=1, cov_poll_s=3600.0) as ahu, asyncio.timeout(20.0):
            while log.read_text().count("SUBSCRIBED") < 3:
                assert values(await ahu.read()) == {"setpoint_c": 24.0}
                await asyncio.sleep(0.05)


async def test_a_device_without_subscriptions_is_polled(tmp_path: Path, ask: Ask) -> None:
    path = write_profile(tmp_path, only=("plain_count",))
    with bacnet_device(tmp_path, "no-cov") as (port, _):
        async with device_at(port, path, cov_lifetime_s=300, cov_poll_s=3600.0) as ahu:
            assert values(await ahu.read()) == {"plain_count": 5.0}
            await ask(write(port, "analogValue", 1, "6.5", 16))
            assert values(await ahu.read()) == {"plain_count": 6.5}
