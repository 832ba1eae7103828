"""What the controller serves: health, metrics, and the optional admission webhook.

The webhook closes the race between a job's creation and its first sight: it adds ``suspend: true`` (a bare pod gets a
scheduling gate) to labelled objects that the controller would hold anyway. It only adds, and answers "allowed" whatever
happens; its registration says ``failurePolicy: Ignore``. Jobs that are not to be held are let go at first sight.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response

from scheduler.cluster import names
from scheduler.cluster.api import Json, pointer
from scheduler.cluster.change import OWNER
from scheduler.cluster.kinds import KINDS, dig
from scheduler.cluster.workload import Workload

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
HELD_BY_WEBHOOK = "held at creation: planned at first sight"


def make_app(health: Callable[[], Mapping[str, Any]], metrics: Callable[[], Mapping[str, float]]) -> FastAPI:
    """The application; ``health`` has ``ok``, ``metrics`` are by name."""
    app = FastAPI(title="eco controller", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> Response:
        said = health()
        code = 200 if said.get("ok") else 503
        return Response(json.dumps(said, default=str), code, media_type="application/json")

    @app.get("/metrics")
    async def metrics_text() -> Response:
        lines = [f"# TYPE {name} gauge\n{name} {value:g}\n" for name, value in sorted(metrics().items())]
        return Response("".join(lines), media_type=PROMETHEUS)

    @app.post("/admit")
    async def admit(request: Request) -> Response:
        try:
            review = json.loads(await request.body())
        except ValueError:
            return Response("not an AdmissionReview", 400)
        return Response(json.dumps(answer(review)), media_type="application/json")

    return app


def answer(review: Any) -> Json:
    """The AdmissionReview with its response: allowed always, with a patch where the object is ours to hold."""
    request = dig(review, ("request",)) or {}
    response: Json = {"uid": str(dig(request, ("uid",)) or ""), "allowed": True}
    operations = hold(request) if dig(request, ("operation",)) == "CREATE" else []
    if operations:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def hold(request: Mapping[str, Any]) -> list[Json]:
    """The JSON patch that holds a new object; empty where it is not labelled, not known, or held by others."""
    said, obj = dig(request, ("kind",)) or {}, dig(request, ("object",))
    kind = next(
        (
            one
            for one in KINDS
            if (one.kind, one.group, one.version) == tuple(said.get(k) for k in ("kind", "group", "version"))
        ),
        None,
    )
    if kind is None or not isinstance(obj, Mapping) or not isinstance(obj.get("metadata"), Mapping):
        return []
    workload = Workload(kind, dict(obj))
    if workload.labels.get(names.MANAGED) != "true" or workload.foreign_owner or workload.is_suspended:
        return []
    if kind.is_pod:
        return _gate(obj) if not obj["metadata"].get("ownerReferences") else []
    operations: list[Json] = []
    for depth in range(1, len(kind.suspend)):
        if dig(obj, kind.suspend[:depth]) is None:
            operations.append({"op": "add", "path": pointer(*kind.suspend[:depth]), "value": {}})
    operations.append({"op": "add", "path": pointer(*kind.suspend), "value": True})
    if not workload.annotations:
        operations.append({"op": "add", "path": "/metadata/annotations", "value": {}})
    for name, value in ((names.SUSPENDED_BY, OWNER), (names.REASON, HELD_BY_WEBHOOK)):
        operations.append({"op": "add", "path": pointer("metadata", "annotations", name), "value": value})
    return operations


def _gate(obj: Mapping[str, Any]) -> list[Json]:
    gate = {"name": names.GATE}
    if dig(obj, ("spec", "schedulingGates")):
        return [{"op": "add", "path": "/spec/schedulingGates/-", "value": gate}]
    return [{"op": "add", "path": "/spec/schedulingGates", "value": [gate]}]
