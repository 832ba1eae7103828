"""`eco job` against the real API server, and what it refuses before asking it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from typer.testing import CliRunner

from apps.commands.job import app, prepare, read_manifest
from facility.errors import ConfigError
from scheduler.cluster import names
from scheduler.cluster.api import path_of
from scheduler.cluster.kinds import BY_NAME, JOB
from tests.peers.kube import ApiServer, api_server
from tests.peers.kube_cluster import Truth, asks, training_job
from tests.peers.kube_rig import NAMESPACE, Rig, make_rig

HOUR = 3600.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("kube")) as started:
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        started.client().create("/api/v1/namespaces", space)
        yield started


@pytest.fixture
def rig(server: ApiServer, tmp_path: Path) -> Iterator[Rig]:
    yield from make_rig(server.client(), tmp_path, profiling=False)


def run(server: ApiServer, *arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--kubeconfig", server.kubeconfig, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_submit_status_receipt(server: ApiServer, rig: Rig, tmp_path: Path) -> None:
    body = training_job("train", asks(estimated_duration="3h"))
    del body["metadata"]["labels"]
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(body))
    said = run(server, "submit", str(file), "--max-delay", "18h", "--dry-run")
    assert said["dry_run"] is True
    assert rig.kube.items(path_of(JOB))[0] == []
    run(server, "submit", str(file), "--max-delay", "18h")
    rig.sim.truths["default", "train"] = Truth(3 * HOUR)
    job = rig.job("train")
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"][names.MANAGED] == "true"
    assert run(server, "status", "train")["phase"] == "not seen by the controller yet"
    with pytest.raises(ConfigError, match="no receipt yet"):
        run(server, "receipt", "train")
    rig.advance(HOUR)
    said = run(server, "status", "train")
    assert said["phase"] == "held"
    assert said["planned_start"] is not None
    assert said["decisions"][0]["what"] == "held"
    assert rig.sim.truths["default", "train"].runs == 0  # no race: it never started before it was planned
    rig.advance(16 * HOUR)
    receipt = run(server, "receipt", "train")
    assert receipt["job"]["outcome"] == "succeeded"
    assert "kWh" in run(server, "status", "train")["receipt"]
    text = CliRunner().invoke(app, ["receipt", "train", "--kubeconfig", server.kubeconfig]).output
    assert "kg CO2e" in text


def test_what_is_not_there_is_told(server: ApiServer) -> None:
    with pytest.raises(ConfigError, match="no Job of that name"):
        run(server, "status", "nobody")
    with pytest.raises(ConfigError, match="no kind"):
        run(server, "status", "nobody", "--kind", "CronJob")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("kind: [", "cannot be read"),
        ("", "0 objects"),
        ("a: 1\n---\nb: 2\n", "2 objects"),
        ("kind: CronJob\napiVersion: batch/v1\n", "not a kind that can be held"),
        ("kind: Job\napiVersion: batch/v1\n", r"no metadata\.name"),
    ],
)
def test_a_manifest_that_cannot_be_used(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=word):
        read_manifest(file)


def test_bad_input_is_refused_before_anything_is_created(server: ApiServer, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(training_job("train", asks(estimated_duration="soon"))))
    with pytest.raises(ConfigError, match="write for example 90s"):
        run(server, "submit", str(file))


@pytest.mark.parametrize("kind_name", sorted(BY_NAME))
def test_each_kind_is_held_by_its_own_path(kind_name: str) -> None:
    kind = BY_NAME[kind_name]
    body: dict[str, Any] = {"metadata": {"name": "x"}}
    prepare(body, kind, {names.MAX_DELAY: "8h"})
    if kind.is_pod:
        assert body["spec"]["schedulingGates"] == [{"name": names.GATE}]
        return
    holder: Any = body
    for key in kind.suspend:
        holder = holder[key]
    assert holder is True
    assert names.SUSPENDED_BY in body["metadata"]["annotations"]
