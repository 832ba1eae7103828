"""`eco controller` as real processes on wall time: killed, and served badly by the real API server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apps.commands.job import prepare
from scheduler.cluster import names
from scheduler.cluster.api import Kube, KubeError, path_of
from scheduler.cluster.kinds import JOB
from tests.peers.kube import ApiServer, api_server
from tests.peers.kube_cluster import SimCluster, Truth, asks, training_job

NAMESPACE = "eco-system"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{names.LEASE}"
CONFIG = """
[cluster]
pass_s = 0.3
settle_s = 1.0
tick_s = 2.0
profiling = false
"""
PATIENCE_S = 60.0
WORK_S = 12.0  # of a job: longer than nobody leads


class Controllers:
    """Controller processes of one cluster."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self._server, self._folder = server, folder
        (folder / "controller.toml").write_text(CONFIG)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *more: str) -> None:
        command = [sys.executable, "-m", "apps.cli", "controller", "--config", str(self._folder / "controller.toml")]
        command += ["--kubeconfig", self._server.kubeconfig, "--namespace", NAMESPACE, "--lease-s", "1.5"]
        command += ["--mode", "active", "--state", str(self._folder / name), *more]
        environment = {**os.environ, "POD_NAME": name, "OMP_NUM_THREADS": "1"}
        with (self._folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait(30)

    def leader(self, kube: Kube) -> str:
        with contextlib.suppress(KubeError):
            holder = str(kube.get(LEASE)["spec"].get("holderIdentity") or "")
            return next((name for name in self.running if holder.startswith(f"{name}-")), "")
        return ""


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ApiServer]:
    with api_server(tmp_path / "kube") as server:
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        server.client().create("/api/v1/namespaces", space)
        yield server


def until(ready: Callable[[], bool], sim: SimCluster, what: str) -> None:
    """Let the cluster live until it is so."""
    end = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(KubeError):
            sim.step(datetime.now(UTC))
            if ready():
                return
        assert time.monotonic() < end, what
        time.sleep(0.1)


def test_kills_of_everything_lose_no_job(own_server: ApiServer, tmp_path: Path) -> None:
    kube = own_server.client()
    sim = SimCluster(kube, datetime.now(UTC), nodes=4)
    both = Controllers(own_server, tmp_path)
    count = 0

    def submit(jobs: int) -> None:
        nonlocal count
        for _ in range(jobs):
            said = asks(estimated_duration="10m", max_delay="3h", checkpoint="sigterm")
            body = training_job(f"job-{count:02d}", said, gpus=2)
            if count % 2:  # as `eco job submit` does
                prepare(body, JOB, {})
            sim.submit(body, Truth(WORK_S))
            count += 1

    def receipts() -> int:
        return sum(names.RECEIPT in one["metadata"]["annotations"] for one in kube.items(path_of(JOB))[0])

    try:
        both.start("one")
        both.start("two")
        until(lambda: both.leader(kube) != "", sim, "nobody leads")
        submit(4)
        first = both.leader(kube)
        both.kill(first)  # in the middle of its writes
        until(lambda: both.leader(kube) not in ("", first), sim, "the standby does not take over")
        submit(4)
        until(lambda: receipts() >= 4, sim, "jobs of the first leader are lost")
        both.start("three")
        submit(4)
        own_server.kill("apiserver")
        own_server.start()
        submit(4)
        own_server.kill("etcd")
        own_server.start()
        both.kill(next(name for name in both.running if name != "three"))
        submit(4)
        until(lambda: receipts() == count, sim, f"of {count} jobs some got no receipt")
        jobs = kube.items(path_of(JOB))[0]
        assert not any(one["spec"].get("suspend") for one in jobs)
        for one in jobs:
            receipt = json.loads(one["metadata"]["annotations"][names.RECEIPT])
            assert all(entry["reason"] for entry in receipt["decisions"])
    finally:
        both.stop()


def test_only_the_leader_writes_and_resigns_at_its_end(own_server: ApiServer, tmp_path: Path) -> None:
    kube = own_server.client()
    sim = SimCluster(kube, datetime.now(UTC), nodes=1)
    both = Controllers(own_server, tmp_path)
    try:
        both.start("one", "--passes", "1", "--json")
        process = both.running["one"]
        assert process.wait(40) == 0
        assert kube.get(LEASE)["spec"]["holderIdentity"] == ""
        until(lambda: True, sim, "")
        both.running.clear()
        said = json.loads((tmp_path / "one.log").read_text().split("\n{", 1)[1].join(("{", "")))
        assert said["health"]["ok"] is True
    finally:
        both.stop()
