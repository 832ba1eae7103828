"""NodePowerBudget objects: which pods of a node are held to which cap, until when; renewed as long as needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from scheduler.cluster import names
from scheduler.cluster.api import Json, Kube, NotFound
from scheduler.cluster.change import stamp
from scheduler.cluster.fleet import Record
from scheduler.cluster.workload import moment
from scheduler.cluster.writer import Writer

BASE = f"/apis/{names.GROUP}/{names.VERSION}/{names.NODE_POWER_BUDGETS}"
RENEW_SHARE = 0.5  # of its life that a budget has left when it is renewed


def wanted_budgets(records: Iterable[Record]) -> dict[str, list[Json]]:
    """By node: the pods that are held to a cap."""
    found: dict[str, list[Json]] = {}
    for record in records:
        cap_w = record.ledger.cap_w
        if cap_w is None:
            continue
        for pod in record.pods:
            if pod.holds_gpus and pod.gpus and not pod.is_ending:
                entry = {
                    "namespace": pod.namespace,
                    "name": pod.name,
                    "job": record.workload.name,
                    "gpuCapWatts": cap_w,
                }
                found.setdefault(pod.node, []).append(entry)
    return {node: sorted(pods, key=lambda one: (one["namespace"], one["name"])) for node, pods in found.items()}


def due_budgets(
    wanted: Mapping[str, list[Json]], known: Mapping[str, Mapping[str, Any]], now: datetime, life_s: float, plan_id: str
) -> list[Json]:
    """The objects to apply: new ones, changed ones, and those that have less than half of their life left.

    A node that no longer has a capped pod gets an empty budget once, so that its agent lets go at once.
    """
    due = []
    for node in sorted({*wanted, *known}):
        pods = wanted.get(node, [])
        spec = (known.get(node) or {}).get("spec") or {}
        ends = moment(spec.get("expiresAt"))
        is_same = _essence(spec.get("pods") or []) == _essence(pods)
        is_fresh = ends is not None and (ends - now).total_seconds() > RENEW_SHARE * life_s
        if (is_same and (is_fresh or not pods)) or (not pods and not spec.get("pods")):
            continue
        due.append(
            {
                "apiVersion": f"{names.GROUP}/{names.VERSION}",
                "kind": "NodePowerBudget",
                "metadata": {"name": node},
                "spec": {
                    "planId": plan_id,
                    "issuedAt": stamp(now),
                    "expiresAt": stamp(now + timedelta(seconds=life_s)),
                    "pods": pods,
                },
            }
        )
    return due


def apply_budget(writer: Writer, body: Json) -> None:
    """Server-side apply, never by force; raises KubeError. A cluster without the CRD has no such objects."""

    def call(kube: Kube) -> Json:
        try:
            return kube.apply(f"{BASE}/{body['metadata']['name']}", body)
        except NotFound:
            return {}

    writer.raw(call)


def _essence(pods: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, float]]:
    return sorted((one["namespace"], one["name"], float(one["gpuCapWatts"])) for one in pods if "gpuCapWatts" in one)
