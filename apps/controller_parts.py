"""What a controller is made of, and what one of its passes carries along."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from apps.controller_settle import Bookkeeper
from facility.guard import Guard
from facility.records import Forecasts, NodeStatus
from scheduler.cluster.api import Kube
from scheduler.cluster.fleet import Record
from scheduler.cluster.kube_actuator import KubernetesActuator
from scheduler.cluster.metering import Meter, Outlook
from scheduler.cluster.plan import Planner
from scheduler.cluster.profiler import Profiles
from scheduler.cluster.settings import ClusterSettings, GpuType
from scheduler.cluster.view import ClusterView
from scheduler.cluster.workload import PodIndex
from scheduler.cluster.writer import Writer


@dataclass(slots=True)
class Report:
    """What one pass saw and did."""

    at: datetime
    workloads: int = 0
    commands: int = 0
    changes: int = 0
    planned: bool = False
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Parts:
    """What a controller is made of."""

    kube: Kube
    view: ClusterView
    writer: Writer
    actuator: KubernetesActuator
    guard: Guard
    planner: Planner
    profiles: Profiles
    books: Bookkeeper
    meter: Meter
    outlook: Outlook
    settings: ClusterSettings


@dataclass(slots=True)
class Pass:
    """One pass while it goes on."""

    now: datetime
    report: Report
    pods: PodIndex
    nodes: tuple[NodeStatus, ...]
    forecasts: Forecasts
    product: str
    measured: set[str] = field(default_factory=set)  # recipes that are being profiled: one profile serves all
    plan_soon: bool = False  # something has happened that a plan should know of
    records: dict[str, Record] = field(default_factory=dict)
    gpus: dict[str, GpuType | None] = field(default_factory=dict)
