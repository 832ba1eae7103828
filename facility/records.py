"""The vocabulary: what is measured, known, decided and allowed.

Points are named ``equipment/quantity_unit`` (``crah-1/supply_air_c``, ``node-3/gpu-5/power_w``, ``job-17/run_flag``).
Times are UTC and aware. Energy meters count up; rates are positive into the consumer. Missing is ``None``, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Commandable quantities of a job and a node; the equipment is the job's or the node's name.
JOB_RUN_FLAG = "run_flag"  # 1 run, 0 hold (suspend where it runs)
JOB_GPU_CAP_W = "gpu_cap_w"  # power limit of each GPU of the job


class Quality(StrEnum):
    """How far a reading can be trusted."""

    GOOD = "good"
    BAD = "bad"
    UNCERTAIN = "uncertain"


class Mode(StrEnum):
    """What the loop may do; SHADOW is the default."""

    OFF = "off"
    SHADOW = "shadow"
    ADVISORY = "advisory"
    ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class Point:
    """One quantity of one piece of equipment, and what may be written to it."""

    name: str
    kind: str  # temperature, power, energy, flag, ...
    unit: str
    equipment: str
    description: str = ""
    writable: bool = False
    min: float | None = None
    max: float | None = None
    max_step: float | None = None  # largest change one write may make, in the point's unit
    rollover: float | None = None  # a counter: where it begins again at 0, in the point's unit
    max_rate_per_s: float | None = None  # a counter: the fastest that it can rise, in the point's unit per second
    may_be_unset: bool = False  # a limit: that it has no value says that none is in force

    def __post_init__(self) -> None:
        if "/" not in self.name:
            raise ValueError(f"point name {self.name!r} is not equipment/quantity_unit")


@dataclass(frozen=True, slots=True)
class Reading:
    """One measurement; ``value`` is None where the device said that it has none."""

    point: str
    value: float | None
    unit: str
    measured_at: datetime
    quality: Quality
    source: str  # the device that said so


@dataclass(frozen=True, slots=True)
class PointState:
    """The newest reading of a point, with its age when the state was built."""

    value: float | None
    unit: str
    measured_at: datetime
    age_s: float
    quality: Quality

    def is_usable(self, max_age_s: float) -> bool:
        """Whether the value is there, good and no older than ``max_age_s``."""
        return self.value is not None and self.quality is Quality.GOOD and self.age_s <= max_age_s


class WorkClass(StrEnum):
    """What limits a job's speed, and so its response to a power cap."""

    COMPUTE_BOUND = "compute_bound"
    MEMORY_BOUND = "memory_bound"


class JobPhase(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUSPENDED = "suspended"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Job:
    """A gang of GPUs wanted for a time. ``work_s`` is the run time of the whole gang at full power."""

    name: str
    submitted_at: datetime
    gpus: int
    work_s: float
    deadline: datetime  # soft: a job that misses it is late, not killed
    flexible: bool  # whether it may be deferred and suspended
    work_class: WorkClass
    workload: str = ""  # e.g. resnet50, bert-large
    suspend_cost_s: float = 0.0  # work lost and redone at each suspend-resume


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job as the cluster sees it now."""

    job: Job
    phase: JobPhase
    remaining_s: float  # work left, at full power
    started_at: datetime | None = None
    finished_at: datetime | None = None
    changed_at: datetime | None = None  # last change of phase
    placement: tuple[tuple[str, int], ...] = ()  # (node, GPUs)
    gpu_cap_w: float | None = None  # None: no cap below the node type's maximum
    suspensions: int = 0


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node's GPUs, for placing gangs."""

    name: str
    gpus_total: int
    gpus_free: int
    parked: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """All that is known at ``at``: every point with its age, every unfinished job, every node."""

    at: datetime
    points: Mapping[str, PointState] = field(default_factory=dict)
    jobs: tuple[JobStatus, ...] = ()
    nodes: tuple[NodeStatus, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """A regular grid as known at ``issued_at``; element i holds over [start + i step, start + (i+1) step)."""

    quantity: str  # carbon_intensity_g_kwh, price_usd_mwh, drybulb_c, wetbulb_c
    unit: str
    issued_at: datetime
    start: datetime
    step_s: float
    value: FloatArray
    low: FloatArray | None
    high: FloatArray | None
    source: str
    synthetic: bool = False


Forecasts = Mapping[str, Forecast]


@dataclass(frozen=True, slots=True)
class Plan:
    """When a job is meant to run: windows of [start, end), and the cap in them."""

    job: str
    windows: tuple[tuple[datetime, datetime], ...]
    gpu_cap_w: float | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """One value wanted at one point; ``value`` None gives the point back to its local control."""

    point: str
    value: float | None
    unit: str
    reason: str
    placement: tuple[tuple[str, int], ...] = ()  # (node, GPUs), with a job's run flag only


class JobOutcome(StrEnum):
    """The three things that can be decided about a job."""

    PASS_THROUGH = "pass_through"  # noqa: S105 - no password
    THROTTLE = "throttle"
    DEFER = "defer"


@dataclass(frozen=True, slots=True)
class JobDecision:
    """What was decided about one job, and why, in words."""

    job: str
    outcome: JobOutcome
    reason: str


@dataclass(frozen=True, slots=True)
class Effect:
    """A predicted effect with its band."""

    quantity: str
    unit: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy wants at one tick, and why."""

    at: datetime
    policy: str
    policy_version: str
    model_version: str
    commands: tuple[Command, ...]
    reason: str
    jobs: tuple[JobDecision, ...] = ()
    plans: tuple[Plan, ...] = ()
    effects: tuple[Effect, ...] = ()


class VerdictKind(StrEnum):
    """What the guard says of a command."""

    ACCEPTED = "accepted"
    CLIPPED = "clipped"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The guard's word on one command; ``value`` is what may be written, ``rule`` the rule that clipped or rejected."""

    command: Command
    kind: VerdictKind
    value: float | None
    rule: str = ""
    detail: str = ""


class Actuator(Protocol):
    """The one port to devices and clusters alike; only the guard calls ``write`` and ``release``."""

    name: str

    @property
    def points(self) -> Mapping[str, Point]:
        """Every point that this actuator serves, by name."""
        ...

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        """Read some or all points; a point without a value yields a reading of bad quality, never a zero."""
        ...

    def check(self, command: Command) -> Verdict:
        """What the actuator itself accepts, before anything is sent."""
        ...

    async def write(self, command: Command) -> None:
        """Send one command; raises DeviceError where it was refused."""
        ...

    async def read_back(self, command: Command) -> Reading:
        """The value that the actuator now reports for the command's point."""
        ...

    async def release(self, points: Sequence[str] | None = None) -> None:
        """Give some or all points back to local control."""
        ...

    async def close(self) -> None:
        """Close connections; does not release."""
        ...
