"""What the agent knows after one round: for its exporter, its log and ``--once``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from apps.agent.allocation import Holder
from facility.devices.nvml import GpuIdentity


@dataclass(frozen=True, slots=True)
class GpuNow:
    """One GPU; ``values`` are its readings by quantity, None where the GPU does not tell."""

    name: str
    identity: GpuIdentity
    values: Mapping[str, float | None]
    holder: Holder | None = None
    refused: str = ""  # why it is not limited
    is_overridden: bool = False  # somebody else has set its limit

    @property
    def index(self) -> str:
        """Its number as NVML and DCGM count, from 0."""
        return str(int(self.name.rpartition("-")[2]) - 1)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One node at one moment."""

    node: str
    at: datetime
    mode: str
    gpus: tuple[GpuNow, ...] = ()
    budgets: Mapping[str, float] = field(default_factory=dict)  # by namespace/pod: seconds left
    stalled: frozenset[str] = frozenset()  # namespace/pod
    limited: Mapping[str, float | None] = field(
        default_factory=dict
    )  # by point that is held: its value before this round
    pod_uids: Mapping[str, str] = field(default_factory=dict)  # by namespace/pod
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "node": self.node,
            "at": self.at.isoformat(),
            "mode": self.mode,
            "gpus": [asdict(gpu) | {"values": dict(gpu.values)} for gpu in self.gpus],
            "budgets": dict(self.budgets),
            "stalled": sorted(self.stalled),
            "limited": dict(self.limited),
            "problems": list(self.problems),
        }
