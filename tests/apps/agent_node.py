"""A GPU node for the agent's tests: NVML's stub with a memory, a kubelet, cgroups, and the agent as its own process."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.apps.running import wait_for
from tests.peers.apiserver import ApiServer
from tests.peers.pod_resources import UUIDS, HeldPod, Kubelet, kubelet
from tests.peers.processes import free_port
from tests.peers.require import require_program

SOURCE = Path(__file__).parents[1] / "peers" / "nvml_stub.c"
SETTINGS = struct.Struct("4I")  # struct settings of the stub: two limits in mW, two clocks in MHz
ACCOUNT = "system:serviceaccount:eco-system:eco-agent"
TRAIN = HeldPod("team", "train-0", [UUIDS[0]])
Samples = dict[str, list[tuple[dict[str, str], float]]]


def build_stub(folder: Path) -> Path:
    """Compile the stub into ``folder``."""
    compiler = require_program("cc", "apt-get install gcc libc6-dev")
    command = [compiler, "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1"), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@dataclass
class GpuNode:
    """One node with two GPUs. ``folder`` has a short path: a unix socket lies in it."""

    name: str
    folder: Path
    library: Path
    kubelet: Kubelet
    api: ApiServer
    metrics_port: int = 0

    # The GPUs ------------------------------------------------------------------------------------------------------

    @property
    def settings(self) -> tuple[int, int, int, int]:
        """What the driver holds: two limits in mW, two locked clocks in MHz (0: not locked)."""
        found: tuple[int, int, int, int] = SETTINGS.unpack(self._driver.read_bytes())
        return found

    def set_by_hand(self, *settings: int) -> None:
        """As nvidia-smi would, from another process."""
        with self._driver.open("r+b" if self._driver.exists() else "wb") as file:
            file.write(SETTINGS.pack(*settings))

    @property
    def _driver(self) -> Path:
        return self.folder / "driver"

    def wait_for(self, *settings: int) -> None:
        """Until the driver holds ``settings``."""
        wait_for(lambda: self.settings == settings, f"{settings}, the driver has {self.settings}", 20.0)

    # The cluster ---------------------------------------------------------------------------------------------------

    def pod(self, held: HeldPod, **annotations: str) -> str:
        """Create the pod, bound to this node; returns its UID."""
        metadata = {"name": held.name, "namespace": held.namespace, "annotations": annotations}
        spec = {"nodeName": self.name, "containers": [{"name": held.container, "image": "i"}]}
        self.api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        uid: str = self.api.get("pod", held.name, "-n", held.namespace)["metadata"]["uid"]
        return uid

    def allow(self, for_s: float, **spec: Any) -> None:
        """Write the node's budget, as the controller does."""
        now = datetime.now(UTC)
        times = {"issuedAt": now.isoformat(), "expiresAt": (now + timedelta(seconds=for_s)).isoformat()}
        body = {"apiVersion": "eco-orchestrator.io/v1alpha1", "kind": "NodePowerBudget"}
        self.api.apply({**body, "metadata": {"name": self.name}, "spec": {**times, **spec}})

    def condition(self) -> dict[str, Any]:
        """The agent's word in the budget's status; empty before the first."""
        conditions = self.api.get("npb", self.name).get("status", {}).get("conditions", [])
        return dict(conditions[0]) if conditions else {}

    # The agent -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def agent(self, *options: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """The agent in ACTIVE, from its first round on; told to stop at the end, where it still runs."""
        self.metrics_port = free_port()
        command = [sys.executable, "-m", "apps.cli", "agent", "--node", self.name, "--mode", "active"]
        command += ["--state", str(self.folder / "state"), "--kubelet-socket", str(self.kubelet.socket)]
        command += ["--kubeconfig", str(self.api.config_of(ACCOUNT))]
        command += ["--poll-s", "0.2", "--budget-poll-s", "0.3", "--metrics-port", str(self.metrics_port)]
        command += ["--cgroup-root", str(self.folder), "--dcgm", "on", "--kepler", "on", *options]
        known = {"LD_LIBRARY_PATH": str(self.library), "STUB_STATE": str(self._driver)}
        log = self.folder / "agent.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **known, **environment}
            )
        try:
            wait_for(lambda: process.poll() is not None or self.metrics(), "the agent's metrics", 30.0)
            assert process.poll() is None, log.read_text()
            yield process
        except BaseException:
            print(log.read_text()[-5000:])
            raise
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            assert process.wait(30) in (0, -signal.SIGKILL), log.read_text()[-3000:]

    def metrics(self) -> Samples:
        """Labels and value of each sample, by name; empty while there was no round."""
        answer = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5.0)
        rows: Samples = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                rows.setdefault(sample.name, []).append((sample.labels, sample.value))
        return rows if "DCGM_FI_DEV_POWER_USAGE" in rows else {}


@contextlib.contextmanager
def gpu_node(name: str, library: Path, api: ApiServer, *pods: HeldPod) -> Iterator[GpuNode]:
    """A node of its own, on the API server too; ``pods`` hold GPUs and exist."""
    with tempfile.TemporaryDirectory(prefix="eco") as folder, kubelet(Path(folder), *pods) as made:
        node = GpuNode(name, Path(folder), library, made, api)
        (node.folder / "kubepods").mkdir()
        api.apply(
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}},
            *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": pod.namespace}} for pod in pods),
        )
        yield node
