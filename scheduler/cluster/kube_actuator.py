"""Workloads of a Kubernetes cluster as an Actuator: run flags and caps; each write is the change prepared for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from facility.errors import DeviceError
from facility.records import (
    JOB_GPU_CAP_W,
    JOB_RUN_FLAG,
    Command,
    JobPhase,
    JobStatus,
    Point,
    Quality,
    Reading,
    State,
    Verdict,
    VerdictKind,
)
from scheduler.cluster import lifecycle, names
from scheduler.cluster.actuator import POINT_KIND
from scheduler.cluster.change import Change
from scheduler.cluster.workload import Workload
from scheduler.cluster.writer import Writer

LOWEST_W, HIGHEST_W = 1.0, 5000.0  # of any GPU; the agent of a node knows what its own take


class KubernetesActuator:
    """The Actuator port; only the guard calls ``write`` and ``release``."""

    name = "cluster"

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._points: dict[str, Point] = {}
        self._state = State(datetime.now(UTC))
        self._changes: Mapping[str, Change] = {}
        self._asked: dict[str, float] = {}
        self.after: dict[str, Workload] = {}  # by point: what the server answered to the last writes

    def prepare(self, state: State, changes: Mapping[str, Change]) -> None:
        """What the next commands mean, and what is known now."""
        self._state, self._changes, self.after, self._asked = state, changes, {}, {}
        jobs = {status.job.name for status in state.jobs} | {point.rpartition("/")[0] for point in changes}
        self._points = {point.name: point for job in jobs for point in _points_of(job)}

    @property
    def points(self) -> Mapping[str, Point]:
        """Two for every workload that was last prepared."""
        return self._points

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        """Flags and caps: as the server answered to the last write, else as last seen.

        A workload that is gone yields a reading of bad quality.
        """
        jobs = {status.job.name: status for status in self._state.jobs}
        return [self._reading(name, jobs.get(name.rpartition("/")[0])) for name in points or self._points]

    def _reading(self, name: str, status: JobStatus | None) -> Reading:
        is_cap = name.endswith(f"/{JOB_GPU_CAP_W}")
        after, value = self.after.get(name), None
        if after is not None:
            value = self._cap_after(name, after) if is_cap else float(not after.is_suspended)
        elif status is not None:
            value = status.gpu_cap_w if is_cap else float(status.phase is JobPhase.RUNNING)
        quality = Quality.GOOD if value is not None else Quality.BAD
        return Reading(name, value, "W" if is_cap else "1", self._state.at, quality, self.name)

    def _cap_after(self, name: str, after: Workload) -> float | None:
        """The cap that stands; without one it is what was asked, for that was the highest limit."""
        if names.GPU_CAP_W in after.annotations:
            return lifecycle.cap_said(after)[0]
        return self._asked.get(name)

    def check(self, command: Command) -> Verdict:
        """Whether a change was prepared for the command."""
        if command.value is not None and command.point not in self._changes:
            return Verdict(command, VerdictKind.REJECTED, None, "unplanned", "nothing was prepared for this command")
        if command.point.endswith(f"/{JOB_RUN_FLAG}") and command.value not in (0.0, 1.0, None):
            return Verdict(command, VerdictKind.REJECTED, None, "range", "a run flag is 0 or 1")
        return Verdict(command, VerdictKind.ACCEPTED, command.value)

    async def write(self, command: Command) -> None:
        """Send the prepared change; raises DeviceError where the server refuses, or somebody was faster."""
        if command.value is None:
            await self.release([command.point])
            return
        change = self._changes.get(command.point)
        if change is None:
            raise DeviceError("nothing was prepared for this command", where=command.point)
        self._asked[command.point] = command.value
        after = await asyncio.to_thread(self._writer.send, _held_to(change, command), self._state.at)
        if after is not None:
            self.after[command.point] = after

    async def read_back(self, command: Command) -> Reading:
        """What the server answered to the write: the object as it stands."""
        return (await self.read([command.point]))[0]

    async def release(self, points: Sequence[str] | None = None) -> None:
        """Give workloads back to plain Kubernetes: prepared as changes, like everything else."""
        for point in self._changes if points is None else points:
            change = self._changes.get(point)
            if change is not None:
                await asyncio.to_thread(self._writer.send, change, self._state.at)

    async def close(self) -> None:
        """Nothing is held open."""


def _held_to(change: Change, command: Command) -> Change:
    """The change with the value that the guard let through, where it clipped a cap."""
    if not command.point.endswith(f"/{JOB_GPU_CAP_W}") or change.ledger.cap_w in (None, command.value):
        return change
    annotations = {**change.annotations, names.GPU_CAP_W: f"{command.value:g}"}
    return replace(change, ledger=replace(change.ledger, cap_w=command.value), annotations=annotations)


def _points_of(job: str) -> tuple[Point, Point]:
    return (
        Point(f"{job}/{JOB_RUN_FLAG}", POINT_KIND, "1", job, "1 run, 0 hold", True, 0.0, 1.0),
        Point(f"{job}/{JOB_GPU_CAP_W}", POINT_KIND, "W", job, "limit of each GPU", True, LOWEST_W, HIGHEST_W),
    )
