"""How the agent of one node is set up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from apps.agent.cpu_energy import POWERCAP
from facility.records import Mode

SOCKET = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
STATE = Path("/var/lib/eco-agent")
METRICS_PORT = 9410


class Export(StrEnum):
    """Whether the names of another exporter are exported."""

    AUTO = "auto"  # while that exporter does not answer
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Options of ``eco agent``; times in wall seconds."""

    node: str
    mode: Mode = Mode.SHADOW
    state: Path = STATE
    kubelet_socket: Path = SOCKET
    kubeconfig: str = ""  # empty: the pod's own ServiceAccount
    cgroup_root: str = ""  # empty: where the system has it
    powercap_root: Path = POWERCAP
    poll_s: float = 1.0  # of GPUs, pods' GPUs and stalls
    budget_poll_s: float = 10.0  # of the API server
    max_hold_s: float = 1800.0  # no budget holds for longer than this without being renewed
    deadline_s: float = 5.0  # of one NVML call
    metrics_address: str = "127.0.0.1"
    metrics_port: int | None = METRICS_PORT  # 0: any free one; None: no exporter
    dcgm: Export = Export.AUTO
    kepler: Export = Export.AUTO
    beside_host: str = "127.0.0.1"  # where DCGM's and Kepler's own exporters of this node would listen
