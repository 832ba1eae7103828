"""Cordon, drain and look, on the API server; blocking calls, all raise KubeError.

Nothing here is answered from a cache, neither the server's nor one of our own: a list without a resourceVersion is read
from the store (quorum). Every patch is refused where the node has changed since it was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from scheduler.cluster import names
from scheduler.cluster.api import Kube, KubeError, NotFound, pointer, tested
from scheduler.cluster.parking import OWNER, STATE, Memory, NodeSeen, PodSeen, node_seen

NODES, PODS = "/api/v1/nodes", "/api/v1/pods"
MIRROR = "kubernetes.io/config.mirror"  # annotation of a static pod: it lives and dies with its kubelet
SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict"  # annotation that autoscalers and their users know
BUDGET_SAYS_NO = 429  # a PodDisruptionBudget
DONE = ("Succeeded", "Failed")
FOR_ITS_NODE = ("DaemonSet", "Node")
REPLACED = ("ReplicaSet", "StatefulSet", "ReplicationController")  # their controllers make another pod elsewhere


class ParkingNodes:
    """The nodes of one cluster."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    def nodes(self) -> list[NodeSeen]:
        """Every node, from the store."""
        return [node_seen(item) for item in self._kube.items(NODES)[0]]

    def node(self, name: str) -> NodeSeen:
        """One node, from the store."""
        return node_seen(self._kube.get(_path(name)))

    def pods(self, node: str) -> list[PodSeen]:
        """Pods that run on a node and would be lost with it, from the store; those that live for the node are none."""
        found, _ = self._kube.items(PODS, fieldSelector=f"spec.nodeName={node}")
        return [seen for item in found if (seen := pod_seen(item)) is not None]

    def cordon(self, node: NodeSeen, memory: Memory, reason: str) -> NodeSeen:
        """Make it unschedulable in our name."""
        marks = {names.CORDONED_BY: OWNER, names.REASON: reason, STATE: memory.to_text()}
        return self._patch(node, [{"op": "add", "path": "/spec/unschedulable", "value": True}], marks)

    def uncordon(self, node: NodeSeen, memory: Memory, reason: str) -> NodeSeen:
        """Make it schedulable, where the cordon is ours; else only note what became of it."""
        change: list[dict[str, Any]] = []
        if node.is_ours:
            change.append({"op": "add", "path": "/spec/unschedulable", "value": False})
        if names.CORDONED_BY in node.annotations:
            path = pointer("metadata", "annotations", names.CORDONED_BY)
            change.append({"op": "remove", "path": path})
        return self._patch(node, change, {names.REASON: reason, STATE: memory.to_text()})

    def note(self, node: NodeSeen, memory: Memory) -> NodeSeen:
        """Keep what must survive a crash."""
        return self._patch(node, [], {STATE: memory.to_text()})

    def evict(self, pod: PodSeen) -> bool:
        """Ask for a pod's eviction; False where a disruption budget says not now."""
        where = f"/api/v1/namespaces/{quote(pod.namespace, safe='')}/pods/{quote(pod.name, safe='')}/eviction"
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": {"preconditions": {"uid": pod.uid}},
        }
        try:
            self._kube.create(where, body)
        except NotFound:
            return True
        except KubeError as error:
            if error.status == BUDGET_SAYS_NO:
                return False
            raise
        return True

    def _patch(self, node: NodeSeen, change: list[dict[str, Any]], marks: Mapping[str, str]) -> NodeSeen:
        if not node.annotations:
            change = [{"op": "add", "path": "/metadata/annotations", "value": {}}, *change]
        change += [
            {"op": "add", "path": pointer("metadata", "annotations", key), "value": text} for key, text in marks.items()
        ]
        return node_seen(self._kube.patch(_path(node.name), tested(node.version, change)))


def pod_seen(item: Mapping[str, Any]) -> PodSeen | None:
    """A pod that counts; None for one that has ended, or that lives for its node alone."""
    metadata, spec = item["metadata"], item.get("spec") or {}
    annotations = metadata.get("annotations") or {}
    owner = next((one.get("kind", "") for one in metadata.get("ownerReferences") or () if one.get("controller")), "")
    is_over = (item.get("status") or {}).get("phase") in DONE
    if is_over or owner in FOR_ITS_NODE or MIRROR in annotations:
        return None
    return PodSeen(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        _why_it_stays(spec, owner, annotations),
        metadata.get("deletionTimestamp") is not None,
    )


def _why_it_stays(spec: Mapping[str, Any], owner: str, annotations: Mapping[str, str]) -> str:
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    asked = [(one.get("resources") or {}).get(part) or {} for one in containers for part in ("limits", "requests")]
    if any(names.GPU in resources for resources in asked):
        return "it has GPUs: work is never ended to park a node"
    if annotations.get(SAFE) == "true":
        return ""
    if annotations.get(SAFE) == "false":
        return f"its owner says {SAFE}=false"
    if owner not in REPLACED:
        return "nobody would start it elsewhere"
    if any("emptyDir" in volume and "medium" not in (volume["emptyDir"] or {}) for volume in spec.get("volumes") or ()):
        return "its local data (emptyDir) would be lost"
    return ""


def _path(node: str) -> str:
    return f"{NODES}/{quote(node, safe='')}"
