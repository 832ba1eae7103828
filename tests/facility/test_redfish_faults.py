"""Redfish when things go wrong: credentials, certificates, sessions, slow and busy services."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from apps.emulator.redfish import SESSIONS, Service
from apps.emulator.redfish_tls import certificate_in
from facility.errors import ConfigError, DeviceError, DeviceTimeout
from facility.records import Command
from facility.site.site import Http
from tests.peers import redfish as peers
from tests.peers.processes import free_port
from tests.peers.redfish import connected, device_at, emulated_node, served, values

ONE_POINT = """
[profile]
name = "one"
protocol = "redfish"
source = "made for this test"
[[point]]
name = "power_w"
kind = "power"
unit = "W"
resource = "/redfish/v1/Chassis/HGX_Chassis_0/Sensors/HGX_Chassis_0_TotalGPU_Power_0"
pointer = "/Reading"
"""
POINTS = 28  # of the emulated node: 2 GPUs, 4 supplies, board and host
LIMIT = Command("node-1/gpu_power_limit_w", 1500.0, "W", "test")


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PASSWORD", peers.PASSWORD)
    monkeypatch.setenv("TEST_WRONG", "not-the-password")
    monkeypatch.setenv("TEST_TOKEN", "issued-elsewhere")


def plain(**changes: object) -> Http:
    return Http.model_validate({"scheme": "http", "user": peers.USER, "password": "env:TEST_PASSWORD", **changes})


# Credentials and sessions ---------------------------------------------------------------------------------------------


async def test_one_session_is_opened_used_and_closed() -> None:
    service = emulated_node()
    async with connected(service, "redfish-hgx") as device:
        await device.read()
        await device.read()
        assert len(service.sessions) == 1
    assert service.sessions == {}
    assert service.requests.count(("POST", SESSIONS)) == 1


async def test_a_session_that_has_ended_is_renewed_once() -> None:
    service = emulated_node()
    async with connected(service, "redfish-hgx") as device:
        before = await device.read()
        service.end_sessions()
        assert values(await device.read()) == values(before)
    assert service.requests.count(("POST", SESSIONS)) == 2


async def test_a_wrong_password_is_named_and_not_tried_again_at_once() -> None:
    service = emulated_node()
    async with served(service) as port, device_at(port, "redfish-hgx", plain(password="env:TEST_WRONG")) as device:
        for _ in range(3):
            with pytest.raises(DeviceError, match=r"wrong credential.*wrong user or password"):
                await device.read()
    assert service.requests.count(("POST", SESSIONS)) == 1  # services lock accounts after a few tries


async def test_no_credential_is_not_enough() -> None:
    async with (
        served(emulated_node()) as port,
        device_at(port, "redfish-hgx", Http(scheme="http")) as device,
    ):
        with pytest.raises(DeviceError, match="wrong credential"):
            await device.read()


async def test_basic_authentication_where_there_are_no_sessions() -> None:
    service = emulated_node()
    service.moods.has_sessions = False
    async with connected(service, "redfish-hgx") as device:
        assert values(await device.read())["gpu_power_w"] == pytest.approx(790.0)
        await device.write(LIMIT)


async def test_basic_authentication_where_no_session_is_left() -> None:
    service = emulated_node()
    service.sessions.update({str(number): f"of somebody else {number}" for number in range(16)})
    async with connected(service, "redfish-hgx") as device:
        await device.read()
    assert len(service.sessions) == 16


async def test_a_bearer_token() -> None:
    service = Service(emulated_node().tree, peers.USER, peers.PASSWORD, token="issued-elsewhere")
    token = Http(scheme="http", token="env:TEST_TOKEN")
    async with served(service) as port, device_at(port, "redfish-hgx", token) as device:
        await device.read()
    async with (
        served(service) as port,
        device_at(port, "redfish-hgx", Http(scheme="http", token="env:TEST_WRONG")) as device,
    ):
        with pytest.raises(DeviceError, match="check the token"):
            await device.read()


async def test_a_secret_or_ca_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for http, said in (
        (plain(password="env:NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE"),
        (plain(scheme="https", ca_file=str(tmp_path / "absent.pem")), "absent.pem"),
    ):
        with pytest.raises(ConfigError, match=said):
            async with device_at(1, "redfish-hgx", http):
                pass


# Connections ----------------------------------------------------------------------------------------------------------


async def test_a_certificate_is_verified_against_the_named_file(tmp_path: Path) -> None:
    tls = certificate_in(tmp_path)
    async with served(emulated_node(), tls) as port:
        async with device_at(port, "redfish-hgx", plain(scheme="https")) as device:
            with pytest.raises(DeviceError, match=r"bad certificate: self.signed.*ca_file"):
                await device.read()
        for trusting in (plain(scheme="https", ca_file=str(tls.cert)), plain(scheme="https", verify=False)):
            async with device_at(port, "redfish-hgx", trusting) as device:
                assert len(await device.read()) == POINTS
        async with device_at(port, "redfish-hgx", plain()) as device:
            with pytest.raises(DeviceError, match="connection failed"):
                await device.read()


async def test_tls_to_a_port_that_speaks_none() -> None:
    async with (
        served(emulated_node()) as port,
        device_at(port, "redfish-hgx", plain(scheme="https", verify=False)) as device,
    ):
        with pytest.raises(DeviceError, match="does the port speak TLS"):
            await device.read()


async def test_a_closed_port_refuses() -> None:
    async with device_at(free_port(), "redfish-hgx") as device:
        with pytest.raises(DeviceError, match="connection refused"):
            await device.read()


async def test_another_service_is_not_taken_for_redfish() -> None:
    service = emulated_node()
    service.moods.broken = {"/redfish/v1": b"<html>a printer</html>"}
    async with connected(service, "redfish-hgx") as device:
        with pytest.raises(DeviceError, match="not a Redfish service"):
            await device.read()


async def test_it_comes_back_after_the_service_was_killed(tmp_path: Path) -> None:
    port, tls = free_port(), certificate_in(tmp_path)
    async with device_at(port, "redfish-hgx", plain(scheme="https", ca_file=str(tls.cert))) as device:
        for _ in range(2):
            with peers.process(tmp_path, port):
                assert len(await device.read()) == POINTS
            with pytest.raises(DeviceError):
                await device.read()


# Slow and busy --------------------------------------------------------------------------------------------------------


async def test_a_slow_service_times_out_and_is_usable_afterwards(tmp_path: Path) -> None:
    one_point = tmp_path / "one.toml"
    one_point.write_text(ONE_POINT)
    service = emulated_node()
    async with connected(service, one_point, deadline_s=1.5) as device:
        await device.read()
        service.moods.delay_s = 30.0
        with pytest.raises(DeviceTimeout, match=r"no answer within 1\.5 s"):
            await device.read()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):  # as the collector does
                await device.read()
        service.moods.delay_s = 0.0
        assert values(await device.read()) == {"power_w": 790.0}


async def test_discovery_that_is_cut_short_goes_on_where_it_was() -> None:
    service = emulated_node()
    service.moods.delay_s = 0.3
    async with connected(service, "redfish-hgx", deadline_s=1.0) as device:
        failures = 0
        while True:
            try:
                await device.read()
                break
            except DeviceTimeout:
                failures += 1
            service.moods.delay_s = 0.3 if failures < 2 else 0.0
    paths = [path for method, path in service.requests if method == "GET" and path.endswith("/Sensors")]
    assert failures >= 2
    assert len(paths) - len(set(paths)) <= 4 * failures  # only what was on its way is asked for again


async def test_a_busy_service_is_waited_for_within_the_deadline() -> None:
    service = emulated_node()
    async with connected(service, "redfish-hgx") as device:
        await device.read()
        service.moods.busy = 2
        service.moods.retry_after = "0"
        assert len(await device.read()) == POINTS
        service.moods.busy = 1
        service.moods.retry_after = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
        assert len(await device.read()) == POINTS


async def test_a_service_that_wants_more_time_than_there_is_gets_it() -> None:
    service = emulated_node()
    async with connected(service, "redfish-hgx") as device:
        await device.read()
        service.moods.busy, service.moods.retry_after = 1, "120"
        with pytest.raises(DeviceError, match="busy"):
            await device.read(["node-1/gpu_power_w"])
        asked = len(service.requests)
        with pytest.raises(DeviceError, match="left alone"):
            await device.read(["node-1/gpu_power_w"])
        assert len(service.requests) == asked


async def test_one_broken_resource_costs_its_own_points() -> None:
    service = emulated_node()
    async with connected(service, "redfish-hgx") as device:
        everything = values(await device.read())
        service.moods.failing = frozenset({"/redfish/v1/Chassis/HGX_GPU_1/EnvironmentMetrics"})
        service.moods.broken = {"/redfish/v1/Chassis/HGX_GPU_2/EnvironmentMetrics": b"\xff{{{"}
        found = values(await device.read())
        assert {name for name, value in found.items() if value is None} == {"gpu-1/power_w", "gpu-2/power_w"}
        assert found.keys() == everything.keys()
        with pytest.raises(DeviceError, match=r"500.*internal service error"):
            await device.read(["node-1/gpu-1/power_w"])
