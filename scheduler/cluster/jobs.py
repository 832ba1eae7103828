"""One job's life on the emulated cluster: how far it is, where it runs, what it draws."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from facility.records import Job, JobPhase, JobStatus
from scheduler.placement import Placement


class PowerCurve(Protocol):
    """How a kind of work answers to a power cap in W; infinity is no cap below the GPU's maximum."""

    def speed(self, cap_w: float, /) -> float:
        """Speed relative to full power."""
        ...

    def power_w(self, cap_w: float, /) -> float:
        """Mean power of one busy GPU in W."""
        ...


@dataclass(slots=True)
class JobRun:
    """A submitted job: what JobStatus reports, and what it has used."""

    job: Job
    phase: JobPhase = JobPhase.QUEUED
    remaining_s: float = 0.0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    changed_at: datetime | None = None
    placement: Placement = ()
    gpu_cap_w: float | None = None
    node_limit_w: float | None = None  # of each GPU, by the lowest limit that a BMC of its nodes holds
    suspensions: int = 0
    running_s: float = 0.0  # wall time on GPUs
    energy_j: float = 0.0  # of its busy GPUs, at the GPU

    @classmethod
    def submitted(cls, job: Job) -> JobRun:
        """A job that has just come in."""
        return cls(job, remaining_s=job.work_s, changed_at=job.submitted_at)

    def status(self) -> JobStatus:
        """The record that policies see."""
        return JobStatus(
            job=self.job,
            phase=self.phase,
            remaining_s=self.remaining_s,
            started_at=self.started_at,
            finished_at=self.finished_at,
            changed_at=self.changed_at,
            placement=self.placement,
            gpu_cap_w=self.gpu_cap_w,
            suspensions=self.suspensions,
        )

    def start(self, at: datetime, placement: Placement) -> None:
        """Run on ``placement`` from ``at``; a gang that ran before goes on where it was suspended."""
        self.phase, self.changed_at, self.placement = JobPhase.RUNNING, at, placement
        self.started_at = self.started_at or at

    def suspend(self, at: datetime) -> None:
        """Give the GPUs back; the work since the last checkpoint is lost and will be redone."""
        self.phase, self.changed_at, self.placement = JobPhase.SUSPENDED, at, ()
        self.remaining_s += self.job.suspend_cost_s
        self.suspensions += 1

    def advance(self, now: datetime, dt_s: float, curve: PowerCurve) -> tuple[float, float]:
        """Work for ``dt_s`` from ``now`` or until done; returns seconds worked and mean power of one busy GPU in W."""
        speed, power_w = curve.speed(self.limit_w), curve.power_w(self.limit_w)
        worked_s = min(dt_s, self.remaining_s / speed)
        self.remaining_s = max(0.0, self.remaining_s - worked_s * speed)
        self.running_s += worked_s
        self.energy_j += worked_s * power_w * self.job.gpus
        if self.remaining_s <= 1e-6:  # a microsecond is the resolution of datetime
            self._finish(now + timedelta(seconds=worked_s))
        return worked_s, power_w

    @property
    def limit_w(self) -> float:
        """The lower of the cap and the nodes' limit of each GPU in W, infinity where there is neither."""
        return min((limit for limit in (self.gpu_cap_w, self.node_limit_w) if limit is not None), default=math.inf)

    def _finish(self, at: datetime) -> None:
        self.phase, self.remaining_s, self.placement = JobPhase.DONE, 0.0, ()
        self.finished_at = self.changed_at = at
