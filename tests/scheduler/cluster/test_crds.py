"""The custom resources' own rules, as the real API server holds to them."""

from __future__ import annotations

import pytest

from scheduler.cluster.api import Json, Kube, KubeError

GROUP = "/apis/eco-orchestrator.io/v1alpha1"
POLICIES, BUDGETS = f"{GROUP}/namespaces/default/energypolicies", f"{GROUP}/nodepowerbudgets"


def make(kube: Kube, kind: str, path: str, spec: Json) -> None:
    body = {"apiVersion": "eco-orchestrator.io/v1alpha1", "kind": kind, "metadata": {"name": "probe"}, "spec": spec}
    kube.create(path, body, dryRun="All")


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ({"powerFloorWatts": 300, "powerCapWatts": 200}, "must not be above"),
        ({"maxDelay": "200h"}, "at most 168h"),
        ({"carbonBudgetKg": 0}, "positive"),
        ({"checkpoint": {"kind": "periodic"}}, "needs its interval"),
        ({"checkpoint": {"kind": "sigterm", "time": "0s"}}, "longer than nothing"),
        ({"checkpoint": {"kind": "magic"}}, "Unsupported value"),
        ({"maxDelay": "soon"}, "duration"),
        ({}, "minProperties|at least 1"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(kube: Kube, spec: Json, word: str) -> None:
    with pytest.raises(KubeError, match=word):
        make(kube, "EnergyPolicy", POLICIES, spec)


def test_good_policies_and_budgets_are_taken(kube: Kube) -> None:
    spec = {"maxDelay": "8h", "powerFloorWatts": 200, "powerCapWatts": 300, "carbonBudgetKg": 12.5, "maxPauses": 3}
    make(kube, "EnergyPolicy", POLICIES, {**spec, "checkpoint": {"kind": "periodic", "interval": "15m"}})
    pods = [{"namespace": "default", "name": "p", "gpuCapWatts": 250}]
    times = {"issuedAt": "2026-06-01T12:00:00Z", "expiresAt": "2026-06-01T12:30:00Z"}
    make(kube, "NodePowerBudget", BUDGETS, {**times, "pods": pods})


@pytest.mark.parametrize(
    ("issued", "expires", "word"),
    [
        ("2026-06-01T12:00:00Z", "2026-06-01T11:00:00Z", "after issuedAt"),
        ("2026-06-01T12:00:00Z", "2026-06-01T15:00:00Z", "two hours"),
    ],
)
def test_a_budget_ends_soon(kube: Kube, issued: str, expires: str, word: str) -> None:
    with pytest.raises(KubeError, match=word):
        make(kube, "NodePowerBudget", BUDGETS, {"issuedAt": issued, "expiresAt": expires})
