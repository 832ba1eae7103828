"""Everything that the controller sees of a cluster, mirrored: workloads, pods, nodes, policies and budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scheduler.cluster import names, node_budgets
from scheduler.cluster.api import Json, Kube, path_of
from scheduler.cluster.kinds import KINDS, Kind
from scheduler.cluster.watch import WATCH_S, Key, Mirror, slim
from scheduler.cluster.workload import PodIndex, Workload, read_pod

POLICIES = f"/apis/{names.GROUP}/{names.VERSION}/{names.ENERGY_POLICIES}"
UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"
_POD_KEYS = {"metadata": ("name", "namespace", "labels", "deletionTimestamp", "resourceVersion"), "spec": ("nodeName",)}


class ClusterView:
    """Mirrors of one cluster; a kind that the server does not know is empty."""

    def __init__(
        self, kube: Kube, notify: Callable[[], None], kinds: Iterable[Kind] = KINDS, watch_s: int = WATCH_S
    ) -> None:
        self.kinds = tuple(kinds)
        managed = {"labelSelector": f"{names.MANAGED}=true"}
        self._workloads = {kind: Mirror(kube, path_of(kind), notify, slim, watch_s, **managed) for kind in self.kinds}
        self._pods = Mirror(kube, "/api/v1/pods", notify, _trim_pod, watch_s, fieldSelector=UNFINISHED)
        self._nodes = Mirror(kube, "/api/v1/nodes", lambda: None, _trim_node, watch_s)
        self._policies = Mirror(kube, POLICIES, notify, slim, watch_s)
        self._budgets = Mirror(kube, node_budgets.BASE, lambda: None, slim, watch_s)
        self._known: dict[tuple[str, Key], Workload] = {}

    @property
    def mirrors(self) -> tuple[Mirror, ...]:
        """All of them."""
        return (*self._workloads.values(), self._pods, self._nodes, self._policies, self._budgets)

    def start(self) -> None:
        """Begin to watch."""
        for mirror in self.mirrors:
            mirror.start()

    def stop(self) -> None:
        """End the watches; does not wait."""
        for mirror in self.mirrors:
            mirror.stop()

    @property
    def age_s(self) -> float:
        """Of the oldest mirror; infinite until each was asked for once. What the server does not know has no age."""
        return max(mirror.age_s for mirror in self.mirrors if not mirror.is_absent)

    @property
    def problems(self) -> list[str]:
        """Why mirrors do not follow, in words."""
        return sorted({mirror.problem for mirror in self.mirrors if mirror.problem})

    @property
    def relists(self) -> int:
        """How often a version was too old to go on from."""
        return sum(mirror.relists for mirror in self.mirrors)

    def workloads(self) -> dict[str, Workload]:
        """Managed workloads by key; one that has not changed is the same object as before."""
        found: dict[str, Workload] = {}
        seen: dict[tuple[str, Key], Workload] = {}
        for kind, mirror in self._workloads.items():
            for place, obj in mirror.objects.items():
                workload = self._known.get((kind.plural, place))
                if workload is None or workload.obj is not obj:
                    workload = Workload(kind, obj)
                found[workload.key] = seen[kind.plural, place] = workload
        self._known = seen
        return found

    def pods(self) -> PodIndex:
        """Unfinished pods of the whole cluster."""
        return PodIndex(map(read_pod, self._pods.objects.values()), {kind.pod_label for kind in self.kinds})

    def nodes(self) -> list[Json]:
        """Node objects."""
        return list(self._nodes.objects.values())

    def policy(self, namespace: str, name: str | None) -> Mapping[str, Any] | None:
        """An EnergyPolicy object; None where there is none of that name."""
        return None if not name else self._policies.objects.get((namespace, name))

    def policies(self) -> dict[Key, Json]:
        """Every EnergyPolicy by namespace and name."""
        return self._policies.objects

    def budgets(self) -> dict[str, Json]:
        """NodePowerBudget objects by node."""
        return {name: obj for (_, name), obj in self._budgets.objects.items()}

    def put(self, workload: Workload) -> None:
        """Take in what a write returned, ahead of the watch."""
        self._workloads[workload.kind].put(workload.obj)


def _trim_pod(obj: Json) -> Json:
    """A pod without what is not looked at: a hall of thousands must fit into memory."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    trimmed: Json = {
        part: {key: obj[part][key] for key in keys if key in obj[part]} for part, keys in _POD_KEYS.items()
    }
    containers = [{"resources": one["resources"]} for one in spec.get("containers") or () if one.get("resources")]
    return {
        **trimmed,
        "spec": {**trimmed["spec"], "containers": containers},
        "status": {key: status[key] for key in ("phase", "startTime") if key in status},
    }


def _trim_node(obj: Json) -> Json:
    """A node's name, labels, room, and whether it takes pods."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    labels = {
        key: value for key, value in (metadata.get("labels") or {}).items() if key in (names.GPU_PRODUCT, names.PARKING)
    }
    gpus = (status.get("allocatable") or {}).get(names.GPU, "0")
    ready = [one for one in status.get("conditions") or () if one.get("type") == "Ready"]
    return {
        "metadata": {"name": metadata["name"], "resourceVersion": metadata["resourceVersion"], "labels": labels},
        "spec": {"unschedulable": bool(spec.get("unschedulable"))},
        "status": {"allocatable": {names.GPU: gpus}, "conditions": ready},
    }
