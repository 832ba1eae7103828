"""A cluster behind the small HTTP interface that the emulator serves (see docs/scheduling.md), as an actuator."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from facility.errors import DeviceError, DeviceTimeout
from facility.records import Job, JobStatus, NodeStatus, Point
from scheduler.cluster.actuator import JobActuator
from scheduler.cluster.codec import CapRequest, ClusterState, RunRequest, from_json, to_json
from scheduler.placement import Placement


class RemoteCluster(JobActuator):
    """Client of ``GET /v1/cluster`` and ``POST /v1/jobs...``; every request carries the bearer token."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        cap_range_w: tuple[float, float] | None = None,
        timeout_s: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """``url`` is the server's base; ``transport`` is for tests."""
        super().__init__(cap_range_w)
        self._client = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=timeout_s, transport=transport
        )
        self._last: ClusterState | None = None

    async def __aenter__(self) -> RemoteCluster:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def points(self) -> Mapping[str, Point]:
        """Two points for every unfinished job as last seen; none before the first look."""
        return {} if self._last is None else super().points

    @property
    def last_state(self) -> ClusterState:
        """The cluster as last seen; raises DeviceError before the first look."""
        if self._last is None:
            raise DeviceError("the cluster has not been read yet", where=self.name, hint="await state() first")
        return self._last

    async def look(self) -> ClusterState:
        """Ask the server for jobs and nodes."""
        self._last = from_json(ClusterState, await self._request("GET", "/v1/cluster"))
        return self._last

    async def state(self) -> tuple[tuple[JobStatus, ...], tuple[NodeStatus, ...]]:
        """Unfinished jobs and nodes, now."""
        seen = await self.look()
        return seen.jobs, seen.nodes

    async def submit(self, job: Job) -> None:
        """Hand a job in; raises DeviceError where the cluster refuses it."""
        await self._request("POST", "/v1/jobs", to_json(job))

    async def run_job(self, job: str, placement: Placement) -> None:
        """Start or resume a job."""
        await self._request("POST", f"/v1/jobs/{quote(job, safe='')}/run", to_json(RunRequest(placement)))

    async def suspend_job(self, job: str) -> None:
        """Suspend a running job."""
        await self._request("POST", f"/v1/jobs/{quote(job, safe='')}/suspend")

    async def cap_job(self, job: str, cap_w: float | None) -> None:
        """Limit a job's GPUs, or take the limit away."""
        await self._request("POST", f"/v1/jobs/{quote(job, safe='')}/cap", to_json(CapRequest(cap_w)))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _request(self, method: str, path: str, body: Any = None) -> Any:
        where = f"{self.name}: {method} {path}"
        try:
            answer = await self._client.request(method, path, json=body)
        except httpx.TimeoutException as error:
            raise DeviceTimeout("no answer in time", where=where) from error
        except httpx.HTTPError as error:
            raise DeviceError(f"cannot reach the cluster: {error}", where=where, hint="is it running?") from error
        if answer.is_error:
            raise DeviceError(f"HTTP {answer.status_code}: {answer.text[:300]}", where=where)
        return answer.json() if answer.content else None
