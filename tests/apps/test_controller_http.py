"""AdmissionReviews posted to the webhook, and what it serves beside."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from apps.controller_http import make_app
from scheduler.cluster import names
from scheduler.cluster.kinds import BY_NAME, KINDS
from tests.peers.kube_cluster import asks, training_job

MANAGED = {names.MANAGED: "true"}


class Client:
    """Calls of the application, without a socket."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str) -> httpx.Response:
        return asyncio.run(self._send("GET", path))

    def post(self, path: str, **body: Any) -> httpx.Response:
        return asyncio.run(self._send("POST", path, **body))

    async def _send(self, method: str, path: str, **body: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://controller") as client:
            return await client.request(method, path, **body)


@pytest.fixture
def webhook() -> Client:
    return Client(make_app(lambda: {"ok": False, "why": "a test"}, lambda: {"eco_controller_is_leader": 1.0}))


def review(obj: Any, kind_name: str = "Job", operation: str = "CREATE") -> dict[str, Any]:
    kind = BY_NAME[kind_name]
    said = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    request = {"uid": "u-1", "operation": operation, "kind": said, "object": obj}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def patch_of(webhook: Client, body: Any) -> Any:
    answer = webhook.post("/admit", json=body)
    assert answer.status_code == 200
    response = answer.json()["response"]
    assert response["allowed"] is True
    assert response["uid"] == "u-1"
    return json.loads(base64.b64decode(response["patch"])) if "patch" in response else None


def test_a_labelled_job_is_held_at_creation(webhook: Client) -> None:
    operations = patch_of(webhook, review(training_job("train", asks(max_delay="8h"))))
    assert {"op": "add", "path": "/spec/suspend", "value": True} in operations
    assert any(one["path"].endswith("suspended-by") for one in operations)


@pytest.mark.parametrize("kind_name", [kind.kind for kind in KINDS if not kind.is_pod])
def test_each_kind_at_its_own_path(webhook: Client, kind_name: str) -> None:
    obj = {"metadata": {"name": "x", "labels": MANAGED}, "spec": {}}
    operations = patch_of(webhook, review(obj, kind_name))
    wanted = "/" + "/".join(BY_NAME[kind_name].suspend)
    assert {"op": "add", "path": wanted, "value": True} in operations


def test_a_bare_pod_gets_the_gate_and_a_jobs_pod_does_not(webhook: Client) -> None:
    obj: dict[str, Any] = {"metadata": {"name": "x", "labels": MANAGED}, "spec": {"schedulingGates": [{"name": "a/b"}]}}
    (operation,) = patch_of(webhook, review(obj, "Pod"))
    assert operation == {"op": "add", "path": "/spec/schedulingGates/-", "value": {"name": names.GATE}}
    obj["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "controller": True}]
    assert patch_of(webhook, review(obj, "Pod")) is None


@pytest.mark.parametrize(
    "body",
    [
        review({"metadata": {"name": "x"}, "spec": {}}),
        review({"metadata": {"name": "x", "labels": {**MANAGED, names.KUEUE_QUEUE: "q"}}, "spec": {}}),
        review({"metadata": {"name": "x", "labels": MANAGED}, "spec": {"suspend": True}}),
        review({"metadata": {"name": "x", "labels": MANAGED}, "spec": {}}, operation="UPDATE"),
        review(None),
        {**review({}), "request": {"uid": "u-1", "operation": "CREATE", "kind": {"kind": "Nothing"}}},
    ],
)
def test_everything_else_is_allowed_as_it_is(webhook: Client, body: Any) -> None:
    assert patch_of(webhook, body) is None


def test_what_is_no_review_is_refused(webhook: Client) -> None:
    assert webhook.post("/admit", content=b"{").status_code == 400
    assert webhook.post("/admit", json=[1]).json()["response"]["allowed"] is True


def test_health_and_metrics(webhook: Client) -> None:
    assert webhook.get("/healthz").status_code == 503
    assert "eco_controller_is_leader 1" in webhook.get("/metrics").text
