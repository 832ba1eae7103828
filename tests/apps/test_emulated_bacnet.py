"""The emulated air handler over BACnet/IP: the same device that Modbus shows, with priorities and a fall-back."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apps.emulator.bacnet import start_bacnet
from apps.emulator.building import Building
from apps.emulator.registers import ProfileUnit, encode
from apps.emulator.sockets import listen_udp
from apps.emulator.world import read_world
from facility.clock import WallClock
from facility.devices.bacnet import BacnetDevice
from facility.profile import load_profile
from facility.records import Command, Quality
from facility.site import Bacnet, Device, load_site
from tests.peers.bacnet import Bac0, present_value, write

START, CRAH, INSTANCE = datetime(2024, 5, 1, tzinfo=UTC), "crah-1", 3001
SETPOINT, FAN, ENABLE, HEARTBEAT = (
    "supply_air_setpoint_c",
    "fan_speed_setpoint_pct",
    "remote_enable_flag",
    "heartbeat_count",
)


def in_a_loop(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Run an async test on an event loop of its own."""

    @functools.wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


@dataclass
class Served:
    """A building whose first air handler is on BACnet, and our client for it."""

    building: Building
    port: int
    client: BacnetDevice
    marks: list[None]

    async def set(self, name: str, value: float | None) -> None:
        """Write one point, or release it."""
        await self.client.write(Command(f"{CRAH}/{name}", value, "", "test"))

    async def value(self, name: str) -> float | None:
        """Read one point."""
        (reading,) = await self.client.read([f"{CRAH}/{name}"])
        return reading.value

    def wait(self, minutes: float) -> None:
        """Let the building's time pass."""
        while not self.building.advance(self.building.at + timedelta(minutes=minutes)):
            pass

    def in_force(self, name: str) -> float:
        """The setpoint that the device holds."""
        return self.building.remotes[CRAH].in_force(name)


@asynccontextmanager
async def crah(**settings: object) -> AsyncIterator[Served]:
    building = Building(load_site().hall, read_world(None), START, seed=1)
    building.advance(START + timedelta(minutes=1))
    listener, marks = listen_udp(0), list[None]()
    port = listener.getsockname()[1]
    server = await start_bacnet(
        listener, INSTANCE, building, CRAH, catch_up=lambda: None, mark=lambda: marks.append(None)
    )
    bacnet = Bacnet.model_validate({"instance": INSTANCE, **settings})
    about = Device(name=CRAH, protocol="bacnet", profile="emulated-crah-bacnet", port=port, bacnet=bacnet)
    client = BacnetDevice(about, load_profile(about.profile), WallClock())
    try:
        yield Served(building, port, client, marks)
    finally:
        await client.close()
        await server.shut()


@in_a_loop
async def test_it_reports_what_modbus_reports() -> None:
    async with crah() as served:
        readings = {reading.point.partition("/")[2]: reading for reading in await served.client.read()}
        modbus = ProfileUnit(load_profile("emulated-crah"), lambda: served.building.values(CRAH), lambda *_: None)
        words = modbus.words()
        assert not served.client.unit_errors
    assert {reading.quality for reading in readings.values()} == {Quality.GOOD}
    profile = load_profile("emulated-crah")
    assert set(readings) == {point.name for point in profile.point}
    for point in profile.point:
        value = readings[point.name].value
        assert value is not None
        address = point.address or 0
        assert encode(point, value) == tuple(words[address + place] for place in range(point.width)), point.name


@in_a_loop
async def test_commands_are_in_force_while_enabled_and_go_back_with_the_last_slot() -> None:
    async with crah() as served:
        await served.set(SETPOINT, 20.0)
        assert (await served.value(SETPOINT), served.in_force(SETPOINT)) == (20.0, 18.0)
        await served.set(ENABLE, 1.0)
        assert served.in_force(SETPOINT) == 20.0
        await served.set(FAN, 80.0)
        assert await served.client.left_over() == {f"{CRAH}/{SETPOINT}": 20.0, f"{CRAH}/{FAN}": 80.0}
        await served.set(SETPOINT, None)
        assert (served.in_force(SETPOINT), served.in_force(FAN)) == (18.0, 80.0)
        assert await served.value(ENABLE) == 1.0
        await served.client.release()
        assert (await served.value(ENABLE), served.in_force(FAN)) == (0.0, 100.0)
        assert len(served.marks) >= 6


@in_a_loop
async def test_silence_gives_the_device_back_and_empties_every_slot() -> None:
    async with crah() as served:
        await served.set("fallback_timeout_min", 2.0)
        await served.set(ENABLE, 1.0)
        await served.set(SETPOINT, 21.0)
        for count in range(3):
            served.wait(1.5)
            await served.set(HEARTBEAT, float(count + 1))
            assert served.in_force(SETPOINT) == 21.0
        served.wait(2.5)
        assert served.in_force(SETPOINT) == 18.0
        assert await served.value("remote_active_flag") == 0.0
        assert await served.client.left_over() == {}


@in_a_loop
async def test_slots_are_saved_with_the_building() -> None:
    async with crah() as served:
        await served.set(SETPOINT, 21.0)
        hall, saved = load_site().hall, served.building.to_dict()
    again = Building.resumed(hall, read_world(None), saved)
    assert again.remotes[CRAH].registers() == served.building.remotes[CRAH].registers()
    assert again.remotes[CRAH].written[f"{SETPOINT}@13"] == 21.0


@in_a_loop
async def test_what_comes_over_modbus_stands_at_the_lowest_priority() -> None:
    async with crah(priority=16) as served:
        served.building.write(CRAH, SETPOINT, 22.0)
        assert await served.value(SETPOINT) == 22.0
        assert await served.client.left_over() == {f"{CRAH}/{SETPOINT}": 22.0}


@in_a_loop
async def test_a_change_of_the_local_setpoint_is_pushed() -> None:
    async with crah(cov_lifetime_s=300, cov_poll_s=3600.0) as served:
        await served.client.read()
        served.building.write(CRAH, "local_supply_air_setpoint_c", 19.5)
        async with asyncio.timeout(20.0):
            seen: list[float | None] = []
            while 19.5 not in seen:
                await asyncio.sleep(0.05)
                seen = [each.value for each in await served.client.read() if each.point == f"{CRAH}/{SETPOINT}"]


@in_a_loop
async def test_bac0_sees_priorities_and_is_refused_what_is_out_of_range() -> None:
    async with crah() as served:
        with Bac0() as bac0:

            async def seen(*commands: str) -> list[object]:
                return [await asyncio.to_thread(bac0.ask, each) for each in commands]

            read = present_value(served.port, "analogOutput", 1)
            assert await seen(f"whois 127.0.0.1:{served.port}", read) == [[INSTANCE], 18.0]
            steps = [("22", 16, 22.0), ("20", 10, 20.0), ("null", 10, 22.0), ("null", 16, 18.0)]
            for value, priority, result in steps:
                answers = await seen(write(served.port, "analogOutput", 1, value, priority), read)
                assert answers[1] == result
            refused = await seen(
                write(served.port, "analogOutput", 1, "99", 16), write(served.port, "analogInput", 1, "20", 16)
            )
            assert await served.value(SETPOINT) == 18.0
            assert ["range" in str(refused[0]), "denied" in str(refused[1])] == [True, True], refused
