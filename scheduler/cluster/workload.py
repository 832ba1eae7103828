"""A workload of any kind as the controller sees it: object, wishes, ledger, pods."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from scheduler.cluster import names
from scheduler.cluster.api import Json, path_of
from scheduler.cluster.kinds import BY_NAME, Kind, dig, gpus_of, templates
from scheduler.cluster.ledger import Kept, read_ledger

OLDEST = timedelta(days=366)  # a creation time further back, or ahead, is that of another clock


@dataclass(frozen=True, slots=True)
class Pod:
    """What matters of a pod."""

    namespace: str
    name: str
    node: str
    phase: str
    gpus: int
    is_ending: bool
    started_at: datetime | None
    labels: Mapping[str, str]

    @property
    def holds_gpus(self) -> bool:
        """Whether it has GPUs of its node."""
        return bool(self.node) and self.phase not in ("Succeeded", "Failed")


@dataclass(frozen=True)
class Workload:
    """One object with all that is read from it, each part at first need."""

    kind: Kind
    obj: Json

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.obj["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.obj["metadata"]["name"])

    @cached_property
    def key(self) -> str:
        """``namespace/name`` of a Job; other kinds also carry their plural, for two kinds may share a name."""
        parts = (
            (self.namespace, self.name) if self.kind.kind == "Job" else (self.namespace, self.kind.plural, self.name)
        )
        return "/".join(parts)

    @cached_property
    def path(self) -> str:
        """URL path of the object."""
        return path_of(self.kind, self.namespace, self.name)

    @property
    def version(self) -> str:
        """resourceVersion."""
        return str(self.obj["metadata"]["resourceVersion"])

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.obj["metadata"].get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        """Its annotations."""
        return self.obj["metadata"].get("annotations") or {}

    @cached_property
    def kept(self) -> Kept:
        """What the controller remembers of it."""
        return read_ledger(self.annotations)

    @property
    def is_suspended(self) -> bool:
        """Whether it is held: by suspend, or a bare pod by our gate."""
        if self.kind.is_pod:
            return any(gate.get("name") == names.GATE for gate in dig(self.obj, ("spec", "schedulingGates")) or ())
        return bool(dig(self.obj, self.kind.suspend))

    @property
    def is_ours_to_resume(self) -> bool:
        """Whether suspend was set by this product, or for it by who submitted the job."""
        return self.kind.is_pod or names.SUSPENDED_BY in self.annotations

    @property
    def outcome(self) -> str:
        """``succeeded``, ``failed``, or empty while it has not ended."""
        if self.kind.phase:
            said = {str(dig(self.obj, self.kind.phase))}
        else:
            conditions = dig(self.obj, ("status", "conditions")) or ()
            said = {str(one.get("type")) for one in conditions if one.get("status") == "True"}
        if said & set(self.kind.succeeded):
            return "succeeded"
        return "failed" if said & set(self.kind.failed) else ""

    @property
    def has_started(self) -> bool:
        """Whether it ever ran: then the template of a Job may not change any more."""
        ledger = self.kept.ledger
        return dig(self.obj, ("status", "startTime")) is not None or (
            ledger is not None and ledger.started_at is not None
        )

    @cached_property
    def gangs(self) -> list[tuple[dict[str, Any], int]]:
        """Pod specs with their counts."""
        return templates(self.obj, self.kind)

    @cached_property
    def gpus(self) -> int:
        """GPUs of the whole gang."""
        return sum(gpus_of(spec) * count for spec, count in self.gangs)

    @property
    def grace_s(self) -> float | None:
        """The shortest terminationGracePeriodSeconds that its pods name."""
        said = [spec.get("terminationGracePeriodSeconds") for spec, _ in self.gangs]
        return min((float(one) for one in said if one is not None), default=None)

    @cached_property
    def recipe(self) -> str:
        """Digest of images, commands, arguments and GPUs: jobs with the same one do the same work."""
        parts = [
            [[c.get("image"), c.get("command"), c.get("args")] for c in spec.get("containers") or ()]
            + [gpus_of(spec), count]
            for spec, count in self.gangs
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def gpu_product(self) -> str:
        """The GPU type that its pods select; empty where they take any."""
        return next(
            (
                str(found)
                for spec, _ in self.gangs
                if (found := (spec.get("nodeSelector") or {}).get(names.GPU_PRODUCT))
            ),
            "",
        )

    @property
    def foreign_owner(self) -> str:
        """Who else decides when it runs: Kueue, or the workload that made it; empty where nobody does."""
        if names.KUEUE_QUEUE in self.labels:
            return "Kueue"
        owners = self.obj["metadata"].get("ownerReferences") or ()
        made_by = [one for one in owners if one.get("controller") and one.get("kind") in BY_NAME]
        return f"{made_by[0]['kind']} {made_by[0]['name']}" if made_by else ""

    def created_at(self, now: datetime) -> datetime:
        """When it was submitted; ``now`` where its creation time cannot be of the same clock."""
        created = moment(self.obj["metadata"].get("creationTimestamp"))
        return created if created is not None and timedelta(0) <= now - created < OLDEST else now

    def belongs(self, pod: Pod) -> bool:
        """Whether a pod is one of its own."""
        if self.kind.is_pod:
            return pod.namespace == self.namespace and pod.name == self.name
        return pod.namespace == self.namespace and pod.labels.get(self.kind.pod_label) == self.pod_label_value

    @property
    def pod_label_value(self) -> str:
        """What its pods carry in the kind's label."""
        return str(dig(self.obj, self.kind.pod_label_value) or "")


def read_pod(obj: Mapping[str, Any]) -> Pod:
    """A pod from its object."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    return Pod(
        str(metadata.get("namespace", "")),
        str(metadata["name"]),
        str(spec.get("nodeName") or ""),
        str(status.get("phase") or "Pending"),
        gpus_of(spec),
        "deletionTimestamp" in metadata,
        moment(status.get("startTime")),
        metadata.get("labels") or {},
    )


class PodIndex:
    """Pods by the labels that tell whose they are."""

    def __init__(self, pods: Iterable[Pod], labels: Iterable[str]) -> None:
        self.pods = tuple(pods)
        wanted = tuple({label for label in labels if label})
        self._by_label: dict[tuple[str, str, str], list[Pod]] = {}
        self._by_name: dict[tuple[str, str], Pod] = {}
        for pod in self.pods:
            self._by_name[pod.namespace, pod.name] = pod
            for label in wanted:
                if label in pod.labels:
                    self._by_label.setdefault((pod.namespace, label, pod.labels[label]), []).append(pod)

    def of(self, workload: Workload) -> tuple[Pod, ...]:
        """The pods of a workload."""
        if workload.kind.is_pod:
            pod = self._by_name.get((workload.namespace, workload.name))
            return () if pod is None else (pod,)
        value = workload.pod_label_value
        return tuple(self._by_label.get((workload.namespace, workload.kind.pod_label, value), ())) if value else ()


def moment(text: Any) -> datetime | None:
    """A time of the API server, or None."""
    try:
        when = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return when if when is not None and when.tzinfo is not None else None
