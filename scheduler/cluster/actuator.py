"""Jobs as points of an actuator: ``<job>/run_flag`` and ``<job>/gpu_cap_w``, over any cluster that can do both.

A flag of 1 starts or resumes the gang on the command's placement, 0 suspends it where it runs. Giving a point back
(None) takes a cap away, and starts a waiting job where there is room, as a cluster does without a controller.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime

from facility.errors import DeviceError, EcoError
from facility.records import (
    JOB_GPU_CAP_W,
    JOB_RUN_FLAG,
    Command,
    JobPhase,
    JobStatus,
    Point,
    Quality,
    Reading,
    Verdict,
    VerdictKind,
)
from scheduler.cluster.codec import ClusterState
from scheduler.cluster.emulated import EmulatedCluster
from scheduler.placement import Placement, place

POINT_KIND = "job"  # its state comes from the cluster, not from a sensor that can grow old


class JobActuator(ABC):
    """The Actuator port over a cluster; subclasses say how to look at it and how to act."""

    name = "cluster"

    def __init__(self, cap_range_w: tuple[float, float] | None) -> None:
        """``cap_range_w``: the power limits that the node type's GPUs take; None leaves the check to the cluster."""
        self._cap_min_w: float | None = None
        self._cap_max_w: float | None = None
        if cap_range_w is not None:
            self._cap_min_w, self._cap_max_w = cap_range_w

    @property
    @abstractmethod
    def last_state(self) -> ClusterState:
        """The cluster as last seen."""

    @abstractmethod
    async def look(self) -> ClusterState:
        """The cluster as it is now."""

    @abstractmethod
    async def run_job(self, job: str, placement: Placement) -> None:
        """Start or resume a job."""

    @abstractmethod
    async def suspend_job(self, job: str) -> None:
        """Suspend a running job."""

    @abstractmethod
    async def cap_job(self, job: str, cap_w: float | None) -> None:
        """Limit a job's GPUs, or take the limit away."""

    @property
    def points(self) -> Mapping[str, Point]:
        """Two points for every unfinished job."""
        return {point.name: point for status in self.last_state.jobs for point in self._points_of(status.job.name)}

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        """Flags and caps of unfinished jobs; a job that is gone yields a reading of bad quality."""
        state = await self.look()
        jobs = {status.job.name: status for status in state.jobs}
        wanted = list(self.points) if points is None else points
        return [self._reading(name, jobs, state.at) for name in wanted]

    def check(self, command: Command) -> Verdict:
        """Whether the cluster, as last seen, can take the command."""
        point = self.points.get(command.point)
        if point is None:
            return Verdict(
                command, VerdictKind.REJECTED, None, "unknown-point", f"no unfinished job has {command.point}"
            )
        if command.value is None or command.point.endswith(f"/{JOB_RUN_FLAG}"):
            return self._check_run(command)
        low, high = self._cap_min_w, self._cap_max_w
        if low is None or high is None:
            return Verdict(command, VerdictKind.ACCEPTED, command.value)
        value = min(max(command.value, low), high)
        kind = VerdictKind.ACCEPTED if value == command.value else VerdictKind.CLIPPED
        rule = "" if kind is VerdictKind.ACCEPTED else "range"
        return Verdict(command, kind, value, rule, "" if not rule else f"caps go from {low:g} to {high:g} W")

    async def write(self, command: Command) -> None:
        """Run, suspend or cap; raises DeviceError where the cluster refuses."""
        job, _, quantity = command.point.rpartition("/")
        try:
            if command.value is None:
                await self.release([command.point])
            elif quantity == JOB_GPU_CAP_W:
                is_free = self._cap_max_w is not None and command.value >= self._cap_max_w
                await self.cap_job(job, None if is_free else command.value)
            elif quantity == JOB_RUN_FLAG:
                await self._set_running(job, command.value >= 0.5, command.placement)
            else:
                raise DeviceError("no such point", where=command.point)
        except DeviceError:
            raise
        except EcoError as error:
            raise DeviceError(error.what, where=f"{self.name}: {command.point}", hint=error.hint) from error

    async def read_back(self, command: Command) -> Reading:
        """The value that the cluster now reports for the command's point."""
        return (await self.read([command.point]))[0]

    async def release(self, points: Sequence[str] | None = None) -> None:
        """Take caps away and start waiting jobs where there is room; jobs that are gone are passed over."""
        for name in points if points is not None else list(self.points):
            job, _, quantity = name.rpartition("/")
            state = await self.look()
            status = next((status for status in state.jobs if status.job.name == job), None)
            if status is None:
                continue
            if quantity == JOB_GPU_CAP_W and status.gpu_cap_w is not None:
                await self.cap_job(job, None)
            elif quantity == JOB_RUN_FLAG and status.phase is not JobPhase.RUNNING:
                placement = place(
                    status.job.gpus, {node.name: node.gpus_free for node in state.nodes if not node.parked}
                )
                if placement is not None:
                    await self.run_job(job, placement)

    @abstractmethod
    async def close(self) -> None:
        """Close connections; does not release."""

    async def _set_running(self, job: str, wanted: bool, placement: Placement) -> None:
        # As last seen: each write is read back, and that is a look.
        status = next((status for status in self.last_state.jobs if status.job.name == job), None)
        is_running = status is not None and status.phase is JobPhase.RUNNING
        if status is not None and is_running == wanted:
            return  # commands may be repeated
        if not wanted and status is not None:
            if status.phase is JobPhase.RUNNING:
                await self.suspend_job(job)
            return
        await self.run_job(job, placement)

    def _check_run(self, command: Command) -> Verdict:
        if command.value is not None and command.value not in (0.0, 1.0):
            return Verdict(command, VerdictKind.REJECTED, None, "range", "a run flag is 0 or 1")
        return Verdict(command, VerdictKind.ACCEPTED, command.value)

    def _points_of(self, job: str) -> tuple[Point, Point]:
        return (
            Point(f"{job}/{JOB_RUN_FLAG}", POINT_KIND, "1", job, "1 run, 0 hold", True, 0.0, 1.0),
            Point(
                f"{job}/{JOB_GPU_CAP_W}",
                POINT_KIND,
                "W",
                job,
                "limit of each GPU",
                True,
                self._cap_min_w,
                self._cap_max_w,
            ),
        )

    def _reading(self, name: str, jobs: Mapping[str, JobStatus], at: datetime) -> Reading:
        job, _, quantity = name.rpartition("/")
        status = jobs.get(job)
        if status is None:
            return Reading(name, None, "", at, Quality.BAD, self.name)
        if quantity == JOB_GPU_CAP_W:
            # A GPU always has a limit: without a cap it is the node type's maximum, where that is known.
            cap_w = self._cap_max_w if status.gpu_cap_w is None else status.gpu_cap_w
            return Reading(name, cap_w, "W", at, Quality.GOOD, self.name)
        return Reading(name, float(status.phase is JobPhase.RUNNING), "1", at, Quality.GOOD, self.name)


class ClusterActuator(JobActuator):
    """The emulated cluster in the same process."""

    def __init__(self, cluster: EmulatedCluster, cap_range_w: tuple[float, float] | None = None) -> None:
        """Acts on ``cluster``; ``cap_range_w`` is that of its node type."""
        super().__init__(cap_range_w)
        self.cluster = cluster

    @property
    def last_state(self) -> ClusterState:
        """The cluster as it is: nothing stands between."""
        return ClusterState(self.cluster.at, self.cluster.statuses(), self.cluster.nodes())

    async def look(self) -> ClusterState:
        """The cluster as it is now."""
        return self.last_state

    async def run_job(self, job: str, placement: Placement) -> None:
        """Start or resume a job."""
        self.cluster.start(job, placement)

    async def suspend_job(self, job: str) -> None:
        """Suspend a running job."""
        self.cluster.suspend(job)

    async def cap_job(self, job: str, cap_w: float | None) -> None:
        """Limit a job's GPUs, or take the limit away."""
        self.cluster.set_cap(job, cap_w)

    async def close(self) -> None:
        """There is no connection to close."""
