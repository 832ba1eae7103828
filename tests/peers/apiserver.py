"""The real Kubernetes API server as a person with kubectl has it, and as one that hangs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers import kube
from tests.peers.require import require_program


@dataclass(frozen=True)
class ApiServer:
    """A running server; ``kubeconfig`` is the administrator's."""

    server: kube.ApiServer

    @property
    def kubeconfig(self) -> Path:
        """Its file."""
        return Path(self.server.kubeconfig)

    def config_of(self, user: str) -> Path:
        """A kubeconfig of another user, who is held to the server's roles: its name is its token."""
        path = self.server.folder / f"kubeconfig-{re.sub('[^a-z0-9]+', '-', user)}"
        path.write_text(self.kubeconfig.read_text().replace("token: admin", f"token: '{user}'"))
        return path

    def kubectl(self, *arguments: str, said: str | None = None) -> str:
        """What kubectl prints; ``said`` is its standard input."""
        program = require_program("kubectl", "apt-get install kubernetes-client")
        command = [program, "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or change some objects."""
        self.kubectl("apply", "-f", "-", said=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def get(self, *arguments: str) -> Any:
        """An object or a list, as JSON."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """The server accepts connections and does not answer."""
        pids = dict(line.split() for line in (self.server.folder / "pids").read_text().splitlines())
        os.kill(int(pids["apiserver"]), signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(int(pids["apiserver"]), signal.SIGCONT)


@contextlib.contextmanager
def api_server(folder: Path) -> Iterator[ApiServer]:
    """A server with the product's CRDs; skips where it, etcd or kubectl is not there."""
    with kube.api_server(folder) as server:
        yield ApiServer(server)
