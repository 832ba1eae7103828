"""GPU nodes that can be parked, for tests: the real API server, our own BMC clients, and a kubelet by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apps.parking import Parking
from facility.clock import ManualClock
from facility.devices.chassis import Bmc
from facility.records import Mode
from scheduler.cluster.api import Kube, connect
from scheduler.cluster.parking import STATE, Memory, ParkingRules, Phase
from scheduler.cluster.parking_nodes import ParkingNodes
from tests.peers.apiserver import ApiServer

START = datetime(2026, 6, 1, tzinfo=UTC)
RULES = ParkingRules(is_enabled=True, nodes=("node-1", "node-2"), warm_floor=1)
HOUR = timedelta(hours=1)


class ParkingLot:
    """Two GPU nodes of an API server; node-1 has a BMC."""

    def __init__(self, api: ApiServer, folder: Path, rules: ParkingRules = RULES) -> None:
        self.api, self.folder, self.rules, self.clock = api, folder, rules, ManualClock(START)
        for name in ("node-1", "node-2"):
            api.kubectl("delete", "node", name, "--ignore-not-found")
            labels = {"eco-orchestrator.io/parking": "allowed"}
            api.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
            self.boots(name, "boot-1")
        api.kubectl("delete", "pods", "--all", "-n", "default", "--force", "--grace-period=0")

    def parking(self, bmcs: Mapping[str, Bmc], mode: Mode = Mode.ACTIVE, user: str = "") -> Parking:
        """A fresh one, as after a restart; ``user`` is held to the server's roles."""
        kubeconfig = self.api.config_of(user) if user else self.api.kubeconfig
        cluster = ParkingNodes(Kube(connect(str(kubeconfig)), 3.0))
        return Parking(cluster, bmcs, self.rules, self.clock, self.folder / "parking.json", mode, follow_s=2.0)

    def boots(self, name: str, boot_id: str, ready: str = "True") -> None:
        """The node's kubelet says so."""
        status = {
            "nodeInfo": {"bootID": boot_id},
            "conditions": [{"type": "Ready", "status": ready}],
            "allocatable": {"nvidia.com/gpu": "8"},
        }
        self.api.kubectl(
            "patch", "node", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
        )

    def pod(self, name: str, owner: str = "ReplicaSet", node: str = "node-1", gpus: int = 0, **labels: str) -> None:
        """A running pod."""
        references = [{"apiVersion": "apps/v1", "kind": owner, "name": "o", "uid": "1", "controller": True}]
        metadata: dict[str, Any] = {"name": name, "namespace": "default", "labels": labels}
        metadata |= {"ownerReferences": references} if owner else {}
        resources = {"limits": {"nvidia.com/gpu": str(gpus)}} if gpus else {}
        containers = [{"name": "c", "image": "i", "resources": resources}]
        spec = {"nodeName": node, "containers": containers, "terminationGracePeriodSeconds": 0}
        self.api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        status = json.dumps({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}})
        self.api.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "-p", status)

    def node(self, name: str = "node-1") -> dict[str, Any]:
        """The node object."""
        found: dict[str, Any] = self.api.get("node", name)
        return found

    def phase(self, name: str = "node-1") -> Phase:
        """Where our note says that it is."""
        return Memory.from_text(self.node(name)["metadata"].get("annotations", {}).get(STATE), name).phase

    def is_cordoned(self, name: str = "node-1") -> bool:
        """Whether nothing is scheduled there."""
        return bool(self.node(name)["spec"].get("unschedulable", False))

    def needed_in(self, hours: float) -> dict[str, datetime | None]:
        """A plan that does without node-1 for so long."""
        return {"node-1": self.clock.now() + hours * HOUR}
