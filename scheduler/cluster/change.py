"""One change of one object, as one JSON patch: what is set, the ledger that tells of it, and the Events to tell.

The patch tests resourceVersion and the old value of what it sets: nobody's change is overwritten.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from scheduler.cluster import names
from scheduler.cluster.api import Json, pointer, tested
from scheduler.cluster.kinds import PlaceBy, dig
from scheduler.cluster.ledger import Ledger, ledger_text
from scheduler.cluster.workload import Workload

OWNER = "eco-orchestrator"  # the value of suspended-by
AFFINITY_WEIGHT = 100
MOST_MESSAGE = 1000  # characters of an Event's message; the API takes 1,024


@dataclass(frozen=True, slots=True)
class Notice:
    """An Event to be told on the object."""

    reason: str
    message: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in the form of metav1.Condition."""

    type: str
    is_true: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of one workload; None leaves as it is."""

    workload: Workload
    ledger: Ledger
    suspend: bool | None = None
    annotations: Mapping[str, str | None] = field(default_factory=dict)  # None takes one away
    nodes: tuple[str, ...] = ()  # that its pods shall prefer
    notices: tuple[Notice, ...] = ()
    conditions: tuple[Condition, ...] = ()

    @property
    def is_turn(self) -> bool:
        """Whether it starts or stops something: that is for the guard to pass."""
        return self.suspend is not None and self.suspend != self.workload.is_suspended

    def saying(self, notice: Notice, *, once: bool = False) -> Change:
        """With an Event; ``once`` leaves it out where the ledger knows that it was said."""
        if not once:
            return replace(self, notices=(*self.notices, notice))
        if notice.reason in self.ledger.said:
            return self
        ledger = replace(self.ledger, said=(*self.ledger.said, notice.reason))
        return replace(self, notices=(*self.notices, notice), ledger=ledger)


def patch_of(change: Change, at: datetime) -> list[Json]:
    """The JSON patch of a change against the object as its workload holds it."""
    workload, operations = change.workload, []
    if not workload.annotations:
        operations.append({"op": "add", "path": "/metadata/annotations", "value": {}})
    if change.is_turn:
        operations += _turn(change)
    for name, value in _annotations(change, at).items():
        path = pointer("metadata", "annotations", name)
        if value is not None:
            operations.append({"op": "add", "path": path, "value": value})
        elif name in workload.annotations:
            operations.append({"op": "remove", "path": path})
    return tested(workload.version, operations)


def _annotations(change: Change, at: datetime) -> dict[str, str | None]:
    said: dict[str, str | None] = {**change.annotations, names.LEDGER: ledger_text(change.ledger)}
    if change.is_turn:
        said[names.SUSPENDED_BY] = OWNER if change.suspend else None
    if change.conditions:
        said[names.CONDITIONS] = json.dumps(merged(change.workload.annotations, change.conditions, at))
    return said


def _turn(change: Change) -> list[Json]:
    """Suspend or resume, after testing that it is not so yet; a pod's gate is taken away."""
    workload = change.workload
    if workload.kind.is_pod:
        gates = dig(workload.obj, ("spec", "schedulingGates")) or []
        index = next(i for i, gate in enumerate(gates) if gate.get("name") == names.GATE)
        where = pointer("spec", "schedulingGates", index)
        return [
            {"op": "test", "path": f"{where}/name", "value": names.GATE},
            {"op": "remove", "path": where if len(gates) > 1 else pointer("spec", "schedulingGates")},
        ]
    *parents, _ = path = workload.kind.suspend
    operations: list[Json] = []
    for depth in range(1, len(parents) + 1):
        if dig(workload.obj, tuple(parents[:depth])) is None:
            operations.append({"op": "add", "path": pointer(*parents[:depth]), "value": {}})
    if dig(workload.obj, path) is not None:
        operations.append({"op": "test", "path": pointer(*path), "value": workload.is_suspended})
    operations.append({"op": "add", "path": pointer(*path), "value": change.suspend})
    if change.nodes and workload.kind.place_by is PlaceBy.AFFINITY and not workload.has_started:
        value = preferring(dig(workload.obj, ("spec", "template", "spec", "affinity")), change.nodes)
        operations.append({"op": "add", "path": "/spec/template/spec/affinity", "value": value})
    return operations


def preferring(affinity: Mapping[str, Any] | None, nodes: tuple[str, ...]) -> Json:
    """The affinity with ``nodes`` preferred, in the place of nodes that were preferred by us before.

    A preference, not a requirement: the template of a Job that has started may not change any more, and a node that is
    gone must not keep it from going on elsewhere.
    """
    found = copy.deepcopy(dict(affinity or {}))
    node = found.setdefault("nodeAffinity", {})
    term = {"matchExpressions": [{"key": names.HOSTNAME, "operator": "In", "values": sorted(nodes)}]}
    key = "preferredDuringSchedulingIgnoredDuringExecution"
    others = [one for one in node.get(key) or () if not _is_ours(one)]
    node[key] = [*others, {"weight": AFFINITY_WEIGHT, "preference": term}]
    return found


def _is_ours(term: Mapping[str, Any]) -> bool:
    expressions = dig(term, ("preference", "matchExpressions")) or ()
    return term.get("weight") == AFFINITY_WEIGHT and [one.get("key") for one in expressions] == [names.HOSTNAME]


def merged(annotations: Mapping[str, str], news: tuple[Condition, ...], at: datetime) -> list[Json]:
    """The kept conditions with ``news`` in their place; the time moves only where the status does."""
    try:
        known = {one["type"]: one for one in json.loads(annotations.get(names.CONDITIONS, "[]"))}
    except (ValueError, TypeError, KeyError):
        known = {}
    for one in news:
        status = "True" if one.is_true else "False"
        before = known.get(one.type) or {}
        since = before.get("lastTransitionTime") if before.get("status") == status else None
        known[one.type] = {
            "type": one.type,
            "status": status,
            "reason": one.reason,
            "message": one.message[:MOST_MESSAGE],
            "lastTransitionTime": since or stamp(at),
        }
    return list(known.values())


def stamp(at: datetime) -> str:
    """A time as the API server writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
