"""What the agent asks the API server: its own node's budget, and the pods of its own node. It writes a status only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from apps.agent.budget import Pod
from scheduler.cluster import names
from scheduler.cluster.api import MERGE_PATCH, Kube, NotFound

PODS = "/api/v1/pods"
CACHED = "0"  # resourceVersion: any version will do, so that a thousand agents ask the server's cache, not its store


class NodeView:
    """The API server as the agent of ``node`` sees it; blocking calls with a deadline, all raise DeviceError."""

    def __init__(self, kube: Kube, node: str) -> None:
        self._kube, self._node = kube, node
        self._budget = f"/apis/{names.GROUP}/{names.VERSION}/{names.NODE_POWER_BUDGETS}/{quote(node, safe='')}"
        self._said: Mapping[str, Any] = {}

    def pods(self) -> list[Pod]:
        """Pods of this node."""
        found, _ = self._kube.items(PODS, fieldSelector=f"spec.nodeName={self._node}", resourceVersion=CACHED)
        return [_pod(item["metadata"]) for item in found]

    def budget(self) -> dict[str, Any] | None:
        """The node's NodePowerBudget; None where there is none, or the cluster does not know such objects."""
        try:
            return self._kube.get(self._budget, resourceVersion=CACHED)
        except NotFound:
            return None

    def report(self, status: Mapping[str, Any]) -> None:
        """Write the budget's status, where it is another than the last one."""
        if status == self._said:
            return
        body = {"status": dict(status)}
        self._kube.patch(f"{self._budget}/status", body, MERGE_PATCH, fieldManager=names.AGENT_FIELD_MANAGER)
        self._said = status


def _pod(metadata: Mapping[str, Any]) -> Pod:
    return Pod(metadata["namespace"], metadata["name"], metadata["uid"], metadata.get("annotations") or {})
