"""The HTTP client against a server of the interface that stands on an emulated cluster, in memory."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import httpx
import pytest

from facility.errors import DataError, DeviceError, DeviceTimeout, EcoError
from facility.records import Command, Job, JobPhase
from scheduler.cluster.codec import (
    CapRequest,
    ClusterState,
    RunRequest,
    from_json,
    job_from_json,
    job_to_json,
    to_json,
)
from scheduler.cluster.emulated import EmulatedCluster
from scheduler.cluster.remote import RemoteCluster
from tests.scheduler.curves import START, job, linear

TOKEN = "token-of-the-test"


def serve(cluster: EmulatedCluster, request: httpx.Request) -> httpx.Response:
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return httpx.Response(401)
    parts = request.url.path.split("/")
    body = json.loads(request.content) if request.content and request.content != b"null" else {}
    try:
        if request.method == "GET":
            return httpx.Response(200, json=to_json(ClusterState(cluster.at, cluster.statuses(), cluster.nodes())))
        if parts[-1] == "jobs":
            cluster.submit(job_from_json(body))
        elif parts[-1] == "run":
            cluster.start(parts[-2], from_json(RunRequest, body).placement)
        elif parts[-1] == "suspend":
            cluster.suspend(parts[-2])
        else:
            cluster.set_cap(parts[-2], from_json(CapRequest, body).gpu_cap_w)
    except EcoError as error:
        return httpx.Response(409, text=str(error))
    return httpx.Response(200, json={})


def remote(cluster: EmulatedCluster, token: str = TOKEN) -> RemoteCluster:
    transport = httpx.MockTransport(lambda request: serve(cluster, request))
    return RemoteCluster("http://cluster", token, cap_range_w=(250.0, 400.0), transport=transport)


def test_a_job_is_handed_in_run_capped_and_suspended_over_http() -> None:
    asyncio.run(_drive())


async def _drive() -> None:
    cluster = EmulatedCluster({"node-1": 8, "node-2": 8}, (), START, linear)
    async with remote(cluster) as client:
        with pytest.raises(DeviceError, match="not been read"):
            _ = client.last_state
        assert client.points == {}
        await client.submit(job("a", gpus=12))
        jobs, nodes = await client.state()
        assert jobs == cluster.statuses()
        assert nodes == cluster.nodes()
        await client.write(Command("a/run_flag", 1.0, "1", "test", (("node-1", 8), ("node-2", 4))))
        assert cluster.statuses()[0].phase is JobPhase.RUNNING
        await client.write(Command("a/gpu_cap_w", 300.0, "W", "test"))
        assert [reading.value for reading in await client.read()] == [1.0, 300.0]
        await client.write(Command("a/gpu_cap_w", None, "W", "test"))
        await client.write(Command("a/run_flag", 0.0, "1", "test"))
        assert [reading.value for reading in await client.read()] == [0.0, 400.0]
        with pytest.raises(DeviceError, match="409"):
            await client.write(Command("a/run_flag", 1.0, "1", "test", (("node-1", 9), ("node-2", 3))))


def test_a_wrong_token_and_a_silent_server_are_errors_that_say_so() -> None:
    asyncio.run(_refused())


async def _refused() -> None:
    cluster = EmulatedCluster({"node-1": 8}, (), START, linear)
    with pytest.raises(DeviceError, match="401"):
        await remote(cluster, "another").state()

    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("late", request=request)

    with pytest.raises(DeviceTimeout, match="GET /v1/cluster"):
        await RemoteCluster("http://cluster", TOKEN, transport=httpx.MockTransport(silent)).state()


def test_records_survive_json_and_strangers_are_refused() -> None:
    made: Job = replace(job("a", gpus=3), workload="resnet50")
    assert job_from_json(json.loads(json.dumps(job_to_json(made)))) == made
    with pytest.raises(DataError, match="key 'gpus'"):
        job_from_json({**job_to_json(made), "gpus": "many"})
