"""Every kind by its own suspend path, on the real API server with minimal CRDs of their true names."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler.cluster import names
from scheduler.cluster.api import Json, Kube, path_of
from scheduler.cluster.kinds import BY_NAME, JOB, KINDS, POD, dig
from scheduler.cluster.workload import Workload
from tests.peers.kube import CRD_PATH, ApiServer, foreign_crd, wait_served
from tests.peers.kube_cluster import Truth, asks, training_job
from tests.peers.kube_rig import Rig, make_rig

HOUR = 3600.0
POD_SPEC = {"containers": [{"name": "c", "image": "train:1", "resources": {"limits": {"nvidia.com/gpu": "2"}}}]}
TEMPLATE = {"spec": POD_SPEC}
# What each kind looks like with eight GPUs, and the status of one that has ended.
SPECS: dict[str, tuple[Json, Json]] = {
    "JobSet": (
        {
            "replicatedJobs": [
                {"name": "w", "replicas": 2, "template": {"spec": {"parallelism": 2, "template": TEMPLATE}}}
            ]
        },
        {"conditions": [{"type": "Completed", "status": "True"}]},
    ),
    "TrainJob": (
        {"trainer": {"numNodes": 4, "image": "t", "resourcesPerNode": {"limits": {"nvidia.com/gpu": 2}}}},
        {"conditions": [{"type": "Complete", "status": "True"}]},
    ),
    "RayJob": (
        {
            "rayClusterSpec": {
                "headGroupSpec": {"template": TEMPLATE},
                "workerGroupSpecs": [{"replicas": 3, "template": TEMPLATE}],
            }
        },
        {"jobDeploymentStatus": "Complete"},
    ),
    "PyTorchJob": (
        {
            "pytorchReplicaSpecs": {
                "Master": {"replicas": 1, "template": TEMPLATE},
                "Worker": {"replicas": 3, "template": TEMPLATE},
            }
        },
        {"conditions": [{"type": "Succeeded", "status": "True"}]},
    ),
    "MPIJob": (
        {"mpiReplicaSpecs": {"Launcher": {"template": {"spec": {}}}, "Worker": {"replicas": 4, "template": TEMPLATE}}},
        {"conditions": [{"type": "Succeeded", "status": "True"}]},
    ),
}


@pytest.fixture(scope="module")
def foreign(server: ApiServer) -> Iterator[None]:
    kube = server.client()
    made = []
    for kind in KINDS:
        if kind.kind in SPECS:
            body = foreign_crd(kind.group, kind.version, kind.kind, kind.plural)
            kube.create(CRD_PATH, body)
            made.append(body)
    for body in made:
        wait_served(kube, body)
    yield
    for body in made:
        kube.delete(f"{CRD_PATH}/{body['metadata']['name']}")  # type: ignore[index]


@pytest.fixture
def calm(kube: Kube, tmp_path: Path, foreign: None) -> Iterator[Rig]:
    yield from make_rig(kube, tmp_path, profiling=False)


def manifest(kind_name: str, spec: Json, **said: str) -> Json:
    kind = BY_NAME[kind_name]
    metadata = {"name": "train", "labels": {names.MANAGED: "true"}, "annotations": asks(**said)}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": copy.deepcopy(spec)}


@pytest.mark.parametrize("kind_name", sorted(SPECS))
def test_each_kind_is_held_and_let_go_by_its_own_path(calm: Rig, kind_name: str) -> None:
    kind, (spec, ended) = BY_NAME[kind_name], SPECS[kind_name]
    body = manifest(kind_name, spec, estimated_duration="3h", max_delay="20h")
    assert Workload(kind, body).gpus == 8
    path = path_of(kind, "default", "train")
    calm.kube.create(path_of(kind, "default"), body)
    try:
        held = passes(calm, path, lambda obj: names.LEDGER in (obj["metadata"].get("annotations") or {}))
        assert dig(held, kind.suspend) is True
        assert dig(held, ("spec", "template")) is None  # nothing but suspend was added
        calm.sim.now = calm.sim.now.replace(hour=8)
        running = passes(calm, path, lambda obj: dig(obj, kind.suspend) is False)
        assert names.SUSPENDED_BY not in running["metadata"]["annotations"]
        calm.kube.patch(f"{path}/status", {"status": ended}, "application/merge-patch+json")
        done = passes(calm, path, lambda obj: names.RECEIPT in obj["metadata"]["annotations"])
        assert json.loads(done["metadata"]["annotations"][names.RECEIPT])["job"]["kind"] == kind_name
    finally:
        calm.kube.delete(path)


def passes(rig: Rig, path: str, is_there: Any) -> Json:
    """Look until it is so: the mirrors of other kinds are not waited for."""
    import time

    for _ in range(200):
        rig.look()
        obj = rig.kube.get(path)
        if is_there(obj):
            return obj
        time.sleep(0.02)
    raise AssertionError(json.dumps(rig.kube.get(path)["metadata"], indent=1))


def test_a_bare_pod_waits_at_its_gate(calm: Rig) -> None:
    spec = {**POD_SPEC, "schedulingGates": [{"name": "other/gate"}, {"name": names.GATE}]}
    body = manifest("Pod", spec, estimated_duration="5h", max_delay="18h")
    calm.kube.create(path_of(POD, "default"), body)
    path = path_of(POD, "default", "train")
    held = passes(calm, path, lambda obj: names.LEDGER in (obj["metadata"].get("annotations") or {}))
    assert [one["name"] for one in held["spec"]["schedulingGates"]] == ["other/gate", names.GATE]
    calm.sim.now = calm.sim.now.replace(hour=8)
    free = passes(calm, path, lambda obj: len(obj["spec"]["schedulingGates"]) == 1)
    assert free["spec"]["schedulingGates"] == [{"name": "other/gate"}]


def test_kueue_keeps_what_it_owns(calm: Rig) -> None:
    body = training_job("train", asks(estimated_duration="1h", max_delay="20h"), suspend=True)
    body["metadata"]["labels"][names.KUEUE_QUEUE] = "team-a"
    calm.sim.submit(body, Truth(HOUR))
    calm.advance(HOUR / 2)
    assert calm.job("train")["spec"]["suspend"] is True  # Kueue's own
    assert calm.events("train")[0][1].startswith("Kueue decides when it runs")
    calm.kube.patch(path_of(JOB, "default", "train"), [{"op": "add", "path": "/spec/suspend", "value": False}])
    calm.advance(2 * HOUR)
    assert calm.job("train")["spec"]["suspend"] is False
    assert calm.note("train", names.RECEIPT)


def test_jobs_that_a_workload_made_are_its_own_business(calm: Rig) -> None:
    body = training_job("train", asks(estimated_duration="1h", max_delay="20h"))
    owner = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "name": "s", "uid": "u", "controller": True}
    body["metadata"]["ownerReferences"] = [owner]
    calm.sim.submit(body, Truth(HOUR))
    calm.advance(HOUR / 4)
    assert names.LEDGER not in calm.job("train")["metadata"]["annotations"]


def test_what_a_user_suspended_waits_for_the_user(calm: Rig) -> None:
    calm.sim.submit(training_job("train", asks(estimated_duration="1h", max_delay="8h"), suspend=True), Truth(HOUR))
    calm.advance(HOUR / 4)
    job = calm.job("train")
    assert job["spec"]["suspend"] is True
    assert names.LEDGER not in job["metadata"]["annotations"]
