"""When a node may be parked and when it is to be woken: rules on what is known now, in words where they say no.

Off by default. A node has to be named twice: in the configuration, by who runs the building, and by a label on the
node, by who runs the cluster. A cordon that somebody else made is never touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from facility.errors import DataError
from scheduler.cluster import names

OWNER = "eco-parking"  # value of names.CORDONED_BY
STATE = f"{names.GROUP}/parking-state"  # annotation: Memory as JSON
ALLOWED = "allowed"  # value of the label names.PARKING
DAY = timedelta(days=1)


class Phase(StrEnum):
    """Where a node is on its way."""

    UP = "up"
    DRAINING = "draining"  # cordoned; its pods are being moved
    SWITCHING_OFF = "switching_off"
    PARKED = "parked"
    WAKING = "waking"  # switched on, not ready yet


@dataclass(frozen=True, slots=True)
class ParkingRules:
    """What an operator allows; times in seconds."""

    is_enabled: bool = False
    nodes: tuple[str, ...] = ()  # the allow-list
    min_parked_s: float = 3600.0  # shorter than this is not worth it
    min_up_s: float = 3600.0  # after waking, or after a failure
    warm_floor: int = 1  # GPU nodes that stay ready and schedulable
    cycles_per_day: int = 2  # of each node, in any 24 h
    boot_s: float = 600.0  # from the switch to a ready node
    margin_s: float = 300.0  # a node is ready so long before it is needed
    drain_s: float = 600.0  # then the drain is given up
    shutdown_s: float = 300.0  # then a node that was asked to shut down is taken for one that stays on
    veto_age_s: float = 5.0  # what was asked last before switching off is no older than this


@dataclass(frozen=True, slots=True)
class Memory:
    """What must survive a crash; it stands in an annotation of the node."""

    phase: Phase = Phase.UP
    since: datetime | None = None
    parked_at: tuple[datetime, ...] = ()  # of the last day: cycles
    boot_id: str = ""  # of the system that was shut down

    def to_text(self) -> str:
        """JSON."""
        return json.dumps(asdict(self), default=_iso, sort_keys=True)

    @classmethod
    def from_text(cls, text: str | None, where: str) -> Memory:
        """What ``to_text`` wrote; a node without it was never parked. Raises DataError."""
        if text is None:
            return cls()
        try:
            said = json.loads(text)
            since = None if said["since"] is None else _aware(said["since"])
            parked_at = tuple(_aware(at) for at in said["parked_at"])
            return cls(Phase(said["phase"]), since, parked_at, str(said["boot_id"]))
        except (ValueError, TypeError, KeyError) as error:
            hint = "look whether the node is on, then remove the annotation"
            raise DataError(f"annotation {STATE} cannot be read: {error!r}", where=where, hint=hint) from error

    def turned(self, phase: Phase, at: datetime, boot_id: str | None = None) -> Memory:
        """In another phase from ``at``; going to sleep counts as a cycle."""
        recent = tuple(one for one in self.parked_at if at - one < DAY)
        parked_at = (*recent, at) if phase is Phase.SWITCHING_OFF else recent
        return replace(
            self, phase=phase, since=at, parked_at=parked_at, boot_id=self.boot_id if boot_id is None else boot_id
        )


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node as the API server has it now."""

    name: str
    version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    is_schedulable: bool
    is_ready: bool
    boot_id: str
    gpus: int

    @property
    def is_ours(self) -> bool:
        """Whether the cordon is ours."""
        return not self.is_schedulable and self.annotations.get(names.CORDONED_BY) == OWNER

    @property
    def memory(self) -> Memory:
        """What we noted on it. Raises DataError."""
        return Memory.from_text(self.annotations.get(STATE), self.name)


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A pod that is on a node; ``stays`` says why it cannot be moved without harm, empty where it can."""

    namespace: str
    name: str
    uid: str
    stays: str = ""
    is_leaving: bool = False  # it is being deleted


def why_not_park(
    node: NodeSeen,
    nodes: Iterable[NodeSeen],
    pods: Sequence[PodSeen],
    needed_at: datetime | None,
    now: datetime,
    rules: ParkingRules,
) -> str:
    """Why ``node`` must stay on; empty where it may be parked. ``needed_at``: when the plan wants it, None: never."""
    if not rules.is_enabled:
        return "parking is switched off"
    if node.name not in rules.nodes or node.labels.get(names.PARKING) != ALLOWED:
        return f"it is not on the allow-list, or has no label {names.PARKING}={ALLOWED}"
    if not node.is_schedulable:
        return "somebody has cordoned it"
    if not node.is_ready:
        return "it is not ready"
    return (
        _too_often(node.memory, now, rules)
        or _too_few(node, nodes, rules)
        or _too_soon(needed_at, now, rules)
        or (next((f"{pod.namespace}/{pod.name}: {pod.stays}" for pod in pods if pod.stays), ""))
    )


def _too_often(memory: Memory, now: datetime, rules: ParkingRules) -> str:
    if memory.since is not None and (now - memory.since).total_seconds() < rules.min_up_s:
        return f"it is up since {memory.since.isoformat()} only"
    if sum(now - at < DAY for at in memory.parked_at) >= rules.cycles_per_day:
        return f"it was parked {rules.cycles_per_day} times in 24 h"
    return ""


def _too_few(node: NodeSeen, nodes: Iterable[NodeSeen], rules: ParkingRules) -> str:
    warm = [one for one in nodes if one.gpus and one.is_ready and one.is_schedulable and one.name != node.name]
    return "" if len(warm) >= rules.warm_floor else f"only {len(warm)} other GPU nodes would be ready"


def _too_soon(needed_at: datetime | None, now: datetime, rules: ParkingRules) -> str:
    if needed_at is None:
        return ""
    asleep_s = (needed_at - now).total_seconds() - rules.boot_s - rules.margin_s
    return "" if asleep_s >= rules.min_parked_s else f"it is needed at {needed_at.isoformat()}"


def is_wake_due(needed_at: datetime | None, now: datetime, rules: ParkingRules) -> bool:
    """Whether a parked node has to be switched on now: for the plan, or because parking was switched off."""
    if not rules.is_enabled:
        return True
    return needed_at is not None and (needed_at - now).total_seconds() <= rules.boot_s + rules.margin_s


def node_seen(item: Mapping[str, Any]) -> NodeSeen:
    """A node object of the API server."""
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    ready = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    return NodeSeen(
        metadata["name"],
        metadata["resourceVersion"],
        metadata.get("labels") or {},
        metadata.get("annotations") or {},
        not spec.get("unschedulable", False),
        ready.get("Ready") == "True",
        (status.get("nodeInfo") or {}).get("bootID", ""),
        int((status.get("allocatable") or {}).get(names.GPU, 0)),
    )


def _iso(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _aware(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return when
