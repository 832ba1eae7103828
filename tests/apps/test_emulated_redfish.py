"""The strict Redfish server itself, asked with a bare HTTP client; and the BMCs of the emulated building."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from apps.emulator.building import Building
from apps.emulator.redfish import SESSIONS, Service, serving
from apps.emulator.redfish_building import node_services
from apps.emulator.redfish_node import TOTAL_LIMIT, NodeSettings
from apps.emulator.redfish_tls import certificate_in
from apps.emulator.redfish_tree import load_capture
from apps.emulator.world import read_world
from facility.errors import DataError
from facility.site import load_site
from facility.site.site import Http
from tests.peers.redfish import EIGHT_GPUS, PASSWORD, USER, device_at, emulated_node, in_a_loop, served, values

BOARD = "/redfish/v1/Chassis/HGX_Chassis_0/EnvironmentMetrics"
GPU = "/redfish/v1/Chassis/HGX_GPU_1/EnvironmentMetrics"
START = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PASSWORD", PASSWORD)


@asynccontextmanager
async def client_of(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        served(service) as port,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", auth=(USER, PASSWORD), timeout=10.0, trust_env=False
        ) as client,
    ):
        yield client


def message(answer: httpx.Response) -> str:
    (info,) = answer.json()["error"]["@Message.ExtendedInfo"]
    return str(info["MessageId"]).rpartition(".")[2]


async def patch(client: httpx.AsyncClient, path: str, body: Any) -> httpx.Response:
    version = (await client.get(path)).headers["ETag"]
    return await client.patch(path, json=body, headers={"If-Match": version})


@in_a_loop
async def test_only_the_root_is_open() -> None:
    async with client_of(emulated_node(EIGHT_GPUS)) as client:
        client.auth = None  # type: ignore[assignment]  # httpx takes it so
        assert (await client.get("/redfish")).json() == {"v1": "/redfish/v1/"}
        assert (await client.get("/redfish/v1/")).json()["RedfishVersion"]
        assert (await client.get("/redfish/v1/Chassis")).status_code == 401
        for scheme in ("Basic bm8=", "Basic !", "Bearer x", "Digest y"):
            answer = await client.get("/redfish/v1/Chassis", headers={"Authorization": scheme})
            assert (answer.status_code, message(answer)) == (401, "NoValidSession")


@in_a_loop
async def test_a_session_serves_until_it_is_deleted() -> None:
    async with client_of(emulated_node(EIGHT_GPUS)) as client:
        client.auth = None  # type: ignore[assignment]
        wrong = await client.post(SESSIONS, json={"UserName": USER, "Password": "guess"})
        assert wrong.status_code == 401
        assert (await client.post(SESSIONS, json={"UserName": USER})).status_code == 400
        made = await client.post(SESSIONS, json={"UserName": USER, "Password": PASSWORD})
        token = {"X-Auth-Token": made.headers["X-Auth-Token"]}
        assert (await client.get(SESSIONS, headers=token)).json()["Members@odata.count"] == 1
        assert (await client.delete(made.headers["Location"], headers=token)).status_code == 204
        assert (await client.get(SESSIONS, headers=token)).status_code == 401


@in_a_loop
async def test_what_is_not_there_or_not_allowed() -> None:
    async with client_of(emulated_node(EIGHT_GPUS)) as client:
        assert (await client.get("/redfish/v1/Chassis/Nobody")).status_code == 404
        assert (await client.get("/redfish/v1/Chassis?$expand=.")).status_code == 501
        collection = await client.patch("/redfish/v1/Chassis", json={"Name": "mine"})
        assert (collection.status_code, collection.headers["Allow"]) == (405, "GET, HEAD")
        assert (await client.delete(TOTAL_LIMIT)).status_code == 405
        assert (await client.post(TOTAL_LIMIT, json={})).status_code == 405


@in_a_loop
async def test_a_write_needs_the_version_that_was_read() -> None:
    async with client_of(emulated_node(EIGHT_GPUS)) as client:
        first = await client.get(TOTAL_LIMIT)
        body = {"SetPoint": 4000}
        assert (await client.patch(TOTAL_LIMIT, json=body)).status_code == 428
        match = {"If-Match": first.headers["ETag"]}
        done = await client.patch(TOTAL_LIMIT, json=body, headers=match)
        assert (done.status_code, done.json()["SetPoint"]) == (200, 4000)
        assert done.headers["ETag"] != first.headers["ETag"]
        stale = await client.patch(TOTAL_LIMIT, json={"SetPoint": 5000}, headers=match)
        assert (stale.status_code, message(stale)) == (412, "PreconditionFailed")
        same = await client.get(TOTAL_LIMIT, headers={"If-None-Match": done.headers["ETag"]})
        assert same.status_code == 304


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"SetPoint": 100}, "PropertyValueOutOfRange"),
        ({"SetPoint": 90000}, "PropertyValueOutOfRange"),
        ({"SetPoint": "4000"}, "PropertyValueTypeError"),
        ({"SetPoint": True}, "PropertyValueTypeError"),
        ({"SetPoint": None}, "PropertyValueTypeError"),
        ({"ControlMode": "Sometimes"}, "PropertyValueNotInList"),
        ({"Setpoint": 4000}, "PropertyUnknown"),
        ({"AllowableMax": 90000}, "PropertyNotWritable"),
        ({"Sensor": {"Reading": 1}}, "PropertyNotWritable"),
        ({}, "MalformedJSON"),
        ([1], "MalformedJSON"),
    ],
)
@in_a_loop
async def test_a_wrong_write_is_told_and_nothing_of_it_done(body: Any, said: str) -> None:
    async with client_of(emulated_node(EIGHT_GPUS)) as client:
        answer = await patch(client, TOTAL_LIMIT, body)
        assert (answer.status_code, message(answer)) == (400, said)
        both = await patch(client, TOTAL_LIMIT, {"SetPoint": 4000, **(body if isinstance(body, dict) else {"x": 1})})
        assert both.status_code == (200 if body == {} else 400)
        after = (await client.get(TOTAL_LIMIT)).json()
        assert after["SetPoint"] == (4000 if body == {} else 8000)


@in_a_loop
async def test_a_limit_shows_wherever_it_is_linked_and_bites() -> None:
    async with client_of(emulated_node(EIGHT_GPUS)) as client:
        before = (await client.get(GPU)).json()["PowerWatts"]["Reading"]
        version = (await client.get(BOARD)).headers["ETag"]
        assert (await patch(client, BOARD, {"PowerLimitWatts": {"SetPoint": 2190}})).status_code == 200
        assert (await client.get(TOTAL_LIMIT)).json()["SetPoint"] == 2190
        assert (await client.get(BOARD)).headers["ETag"] != version
        gpu = (await client.get(GPU)).json()["PowerWatts"]["Reading"]
        node = (await client.get("/redfish/v1/Chassis/Chassis_0/EnvironmentMetrics")).json()["PowerWatts"]["Reading"]
        assert (before, gpu) == (700.0, pytest.approx(350.0))  # 6 x 700 W + 2 x 90 W, halved
        assert node == pytest.approx(6200.0 - 2190.0)
        metrics = "/redfish/v1/Systems/HGX_Baseboard_0/Processors/GPU_1/EnvironmentMetrics"
        assert (await patch(client, metrics, {"PowerLimitWatts": {"SetPoint": 200}})).status_code == 200
        assert (await client.get(GPU)).json()["PowerWatts"]["Reading"] < 200.0
        cleared = await client.post(f"{BOARD}/Actions/Oem/NvidiaEnvironmentMetrics.ClearOOBSetPoint", json={})
        assert cleared.status_code == 204
        assert (await client.get(TOTAL_LIMIT)).json()["SetPoint"] == 8000


@in_a_loop
async def test_readings_make_no_new_version() -> None:
    node = emulated_node(EIGHT_GPUS)
    async with client_of(node) as client:
        before = await client.get(BOARD)
        node.tree.resources[TOTAL_LIMIT]["Sensor"]["Reading"] = 1.0
        assert (await client.get(BOARD)).headers["ETag"] == before.headers["ETag"]


@in_a_loop
async def test_a_reset_takes_what_it_offers() -> None:
    async with client_of(emulated_node(EIGHT_GPUS)) as client:
        target = "/redfish/v1/Systems/System_0/Actions/ComputerSystem.Reset"
        for body in ({"ResetType": "Explode"}, {}, {"ResetType": "On", "Loud": True}):
            assert (await client.post(target, json=body)).status_code == 400
        assert (await client.post(target, json={"ResetType": "ForceOff"})).status_code == 204
        assert (await client.get("/redfish/v1/Systems/System_0")).json()["PowerState"] == "Off"


def test_a_certificate_is_kept_and_its_key_is_private(tmp_path: Path) -> None:
    first = certificate_in(tmp_path)
    text = first.cert.read_bytes()
    assert certificate_in(tmp_path).cert.read_bytes() == text
    assert first.key.stat().st_mode & 0o077 == 0
    first.cert.write_text("torn")
    assert certificate_in(tmp_path).cert.read_bytes() != b"torn"


def test_a_folder_without_resources_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no Redfish resources"):
        load_capture(tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match=r"a\.json"):
        load_capture(tmp_path)


@in_a_loop
async def test_every_node_of_the_building_has_a_bmc(tmp_path: Path) -> None:
    hall = load_site(None).hall
    building = Building(hall, read_world(None, []), START, seed=1)
    building.advance(START + timedelta(minutes=10))
    told: list[tuple[str, NodeSettings]] = []
    services = node_services(building, USER, PASSWORD, lambda: None, lambda *said: told.append(said))
    tls = certificate_in(tmp_path)
    http = Http(user=USER, password="env:TEST_PASSWORD", ca_file=str(tls.cert))
    async with serving(services, tls=tls) as ports:
        assert set(ports) == set(hall.node_names)
        assert len(set(ports.values())) == len(hall.node_names)
        async with device_at(ports["node-2"], "redfish-hgx", http) as device:
            found = values(await device.read())
            await device.reset("ForceOff", "System_0")
            assert values(await device.read())["gpu-1/power_w"] == 0.0
    outlet_w = building.truth()["pdu-1/outlet-2/power_w"]
    assert found["host-0/power_w"] == pytest.approx(outlet_w, rel=0.01)
    assert found["gpu-8/power_w"] == pytest.approx(building.plant.truth.gpu_idle_w)
    assert found["host-0/inlet_c"] == pytest.approx(building.plant.air.racks[0].inlet_c, abs=0.01)
    assert [(name, settings.is_on) for name, settings in told] == [("node-2", False)]
