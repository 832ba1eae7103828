"""Writing over Redfish: versions, tasks, services that say yes and do nothing, and resets."""

from __future__ import annotations

import pytest

from apps.emulator.redfish import SESSIONS, Service
from apps.emulator.redfish_node import TOTAL_LIMIT
from apps.emulator.redfish_tree import Json, Tree
from facility.errors import DeviceError, DeviceTimeout, ReadBackError
from facility.records import Command
from tests.peers import redfish as peers
from tests.peers.redfish import connected, emulated_node, values

LIMIT = Command("node-1/gpu_power_limit_w", 1500.0, "W", "test")


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PASSWORD", peers.PASSWORD)


class ContestedTree(Tree):
    """Somebody else changes the limit's resource after each of the first looks at it."""

    def __init__(self, tree: Tree, times: int) -> None:
        super().__init__(tree.resources)
        self.times = times

    def get(self, path: str) -> Json:
        body = super().get(path)
        if path != TOTAL_LIMIT or not self.times:
            return body
        self.times -= 1
        before = dict(body)
        body["Description"] = f"changed by another, {self.times} to come"
        return before


async def test_a_setting_that_somebody_else_changed_is_looked_at_again() -> None:
    service = Service(ContestedTree(emulated_node().tree, times=1), peers.USER, peers.PASSWORD)
    async with connected(service, "redfish-hgx") as device:
        await device.write(LIMIT)
    writes = [path for method, path in service.requests if method == "PATCH"]
    assert writes == [TOTAL_LIMIT, TOTAL_LIMIT]


async def test_a_setting_that_changes_all_the_time_is_not_fought_over() -> None:
    service = Service(ContestedTree(emulated_node().tree, times=99), peers.USER, peers.PASSWORD)
    async with connected(service, "redfish-hgx") as device:
        with pytest.raises(DeviceError, match=r"412.*ETag"):
            await device.write(LIMIT)


async def test_a_service_that_wants_a_version_and_tells_none() -> None:
    service = emulated_node()
    service.moods.tells_versions = False
    async with connected(service, "redfish-hgx") as device:
        await device.write(LIMIT)
        assert (await device.read_back(LIMIT)).value == 1500.0


async def test_a_write_that_becomes_a_task_is_followed_to_its_end() -> None:
    service = emulated_node()
    service.moods.task_polls, service.moods.retry_after = 3, "0"
    async with connected(service, "redfish-hgx") as device:
        await device.write(LIMIT)
        assert (await device.read_back(LIMIT)).value == 1500.0
        service.moods.tasks_fail = True
        with pytest.raises(DeviceError, match="task ended as Exception"):
            await device.write(Command(LIMIT.point, 1600.0, "W", "test"))
        service.moods.task_polls = 10_000
    async with connected(service, "redfish-hgx", deadline_s=1.0) as device:
        with pytest.raises(DeviceTimeout):
            await device.write(Command(LIMIT.point, 1700.0, "W", "test"))


async def test_a_service_that_says_yes_and_does_nothing_is_found_out() -> None:
    service = emulated_node()
    service.moods.is_deaf = True
    async with connected(service, "redfish-hgx", deadline_s=1.0) as device:
        with pytest.raises(ReadBackError, match="wrote 1500, the device reports 2000"):
            await device.write(LIMIT)


async def test_a_node_is_switched_off_and_on() -> None:
    async with connected(emulated_node(), "redfish-hgx") as device:
        assert values(await device.read())["system-0/power_on_flag"] == 1.0
        await device.reset("GracefulShutdown", "System_0")
        found = values(await device.read())
        assert found["system-0/power_on_flag"] == 0.0
        assert found["host-0/power_w"] == 40.0
        await device.reset("On", "System_0")
        assert values(await device.read())["system-0/power_on_flag"] == 1.0


async def test_a_reset_is_looked_up_before_it_is_sent() -> None:
    service = emulated_node()
    async with connected(service, "redfish-hgx") as device:
        for kind, system, said in (
            ("Nmi", "System_0", "one of: On"),
            ("On", "", "HGX_Baseboard_0"),
            ("On", "HGX_Baseboard_0", "offers no reset"),
        ):
            with pytest.raises(DeviceError, match=said):
                await device.reset(kind, system)
    assert not [path for method, path in service.requests if method == "POST" and path != SESSIONS]
