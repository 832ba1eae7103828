"""The chart and the kustomize base: the same objects, valid for old and new servers, with no more rights than used."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from apps.agent.cluster import NodeView
from apps.cli import COMMANDS, app
from scheduler.cluster.api import Kube, KubeError, connect
from tests.apps.parking_lot import ParkingLot
from tests.peers.apiserver import ApiServer, api_server
from tests.peers.require import require_program
from tests.shared import missing

DEPLOY = Path(__file__).parents[2] / "apps" / "deploy"
NAMESPACE = "eco-system"
Object = dict[str, Any]
VARIANTS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "default": ({}, ()),
    "active": ({"controller": {"mode": "active"}, "agent": {"mode": "active"}}, ("active",)),
    "parking": ({"parking": {"enabled": True}}, ("parking",)),
    "webhook": ({"webhook": {"enabled": True}}, ("webhook",)),
}


def _module(name: str, how: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        missing(f"{name} is not installed: {how}")


@cache
def _chart(variant: str) -> tuple[Object, ...]:
    helm = _module("helm_python", "pip install helm-python-sdk")
    values, _ = VARIANTS[variant]
    with helm.Chart.load(str(DEPLOY)) as chart:
        texts = chart.render(values, name="eco", namespace=NAMESPACE).values()
    crds = [path.read_text(encoding="utf-8") for path in sorted((DEPLOY / "crds").glob("*.yaml"))]
    return tuple(_objects([*texts, *crds]))


def _kustomized(variant: str, folder: Path) -> tuple[Object, ...]:
    program = require_program("kubectl", "apt-get install kubernetes-client")
    parts = [f"components/{name}" for name in VARIANTS[variant][1]]
    made = folder / "deploy"  # kustomize takes no absolute paths
    made.symlink_to(DEPLOY)
    (folder / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["deploy"], "components": [f"deploy/{part}" for part in parts]})
    )
    done = subprocess.run([program, "kustomize", str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return tuple(_objects([done.stdout]))


def _objects(texts: Iterable[str]) -> Iterator[Object]:
    for text in texts:
        yield from (one for one in yaml.safe_load_all(text) if one)


def _sorted(one: Object) -> Object:
    """With mounts and volumes by name: a patch puts its own in front, and their order means nothing."""
    spec = one.get("spec", {}).get("template", {}).get("spec", {})
    for holder, key in [(spec, "volumes"), *((container, "volumeMounts") for container in spec.get("containers", ()))]:
        if key in holder:
            holder[key] = sorted(holder[key], key=lambda entry: str(entry["name"]))
    return one


def _key(one: Object) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]


def _pod_specs(objects: Iterable[Object]) -> dict[str, Object]:
    found = {}
    for one in objects:
        if one["kind"] in ("Deployment", "DaemonSet"):
            found[one["metadata"]["name"]] = one["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_chart_and_kustomize_give_the_same_objects(variant: str, tmp_path: Path) -> None:
    chart = {_key(one): one for one in _chart(variant)}
    base = {_key(one): one for one in _kustomized(variant, tmp_path)}
    assert sorted(chart) == sorted(base)
    for key, one in chart.items():
        assert _sorted(one) == _sorted(base[key]), key


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("version", ["1.30", "newest"])
def test_every_object_is_valid(variant: str, version: str) -> None:
    validator = _module("kubernetes_validate", "pip install kubernetes-validate")
    for one in _chart(variant):
        wanted = validator.latest_version() if version == "newest" else version
        validator.validate(one, wanted, strict=True)


def test_the_chart_has_no_lint() -> None:
    helm = _module("helm_python", "pip install helm-python-sdk")
    said = helm.lint(str(DEPLOY), strict=True, namespace=NAMESPACE)
    assert [one for one in said["messages"] if one["severity"] > 1] == []  # 1: a chart without an icon


def test_containers_have_the_least_that_they_need() -> None:
    specs = _pod_specs(_chart("active"))
    for name, spec in specs.items():
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["capabilities"]["drop"] == ["ALL"], name
            assert "privileged" not in security, name
        assert "hostNetwork" not in spec, name
        assert "hostPID" not in spec, name
    assert specs["eco-controller"]["securityContext"]["runAsNonRoot"] is True
    assert specs["eco-controller"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
    assert specs["eco-agent"]["containers"][0]["securityContext"]["capabilities"]["add"] == ["SYS_ADMIN"]
    shadow = _pod_specs(_chart("default"))["eco-agent"]["containers"][0]["securityContext"]["capabilities"]
    assert "add" not in shadow
    mounts = {one["mountPath"]: one.get("readOnly") for one in specs["eco-agent"]["containers"][0]["volumeMounts"]}
    assert mounts["/host/sys"] is True
    assert mounts["/var/lib/kubelet/pod-resources"] is True


def test_no_role_has_a_wildcard() -> None:
    roles = [one for one in _chart("parking") if one["kind"] in ("Role", "ClusterRole")]
    assert len(roles) == 4
    assert "*" not in {text for one in roles for rule in one["rules"] for part in rule.values() for text in part}


@pytest.mark.parametrize("name", ["eco-agent", "eco-controller"])
def test_every_option_of_a_manifest_is_one_of_the_command(name: str) -> None:
    ((command, *options),) = [one["args"] for one in _pod_specs(_chart("webhook"))[name]["containers"]]
    assert command in COMMANDS
    group: Any = typer.main.get_command(app)
    known = {text for one in group.get_command(None, command).params for text in one.opts}
    assert {option.partition("=")[0] for option in options} <= known


# Against the real API server ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("kube")) as server:
        server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield server


def _served(api: ApiServer, objects: Iterable[Object]) -> list[Object]:
    """Those of a kind that the server knows: that of the tests has no network policies."""
    known = api.kubectl("api-resources", "--no-headers", "-o", "wide")
    return [one for one in objects if f" {one['kind']} " in known]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_server_takes_them(api: ApiServer, variant: str) -> None:
    objects = _served(api, _chart(variant))
    assert {one["kind"] for one in objects} >= {"DaemonSet", "Deployment", "ClusterRole", "CustomResourceDefinition"}
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    api.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", said=text)


def _rules(name: str) -> list[Object]:
    (role,) = [one for one in _chart("parking") if _key(one) == ("ClusterRole", name)]
    return list(role["rules"])


def _grant(api: ApiServer, name: str, account: str, rules: list[Object]) -> str:
    """Bind the rules to the ServiceAccount; returns its user name."""
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name}}
    subjects = [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    api.apply(
        {**head, "kind": "ClusterRole", "rules": rules},
        {**head, "kind": "ClusterRoleBinding", "roleRef": reference, "subjects": subjects},
    )
    return f"system:serviceaccount:{NAMESPACE}:{account}"


def _without_one(rules: list[Object]) -> Iterator[list[Object]]:
    """The rules without each single grant: where they suffice, that one is never used."""
    for index, rule in enumerate(rules):
        for verb in rule["verbs"]:
            less = {**rule, "verbs": [one for one in rule["verbs"] if one != verb]}
            yield [*rules[:index], *([less] if less["verbs"] else []), *rules[index + 1 :]]


def test_the_agent_needs_every_right_that_it_has_and_no_other(api: ApiServer) -> None:
    budget = {"apiVersion": "eco-orchestrator.io/v1alpha1", "kind": "NodePowerBudget", "metadata": {"name": "node-9"}}
    api.apply({**budget, "spec": {"expiresAt": "2030-01-01T00:00:00Z"}})

    def use_all(user: str, turn: int) -> None:
        view = NodeView(Kube(connect(str(api.config_of(user))), 5.0), "node-9")
        view.pods()
        assert view.budget() is not None
        view.report({"restored": turn % 2 == 0})

    rules = _rules("eco-agent")
    use_all(_grant(api, "eco-agent", "eco-agent", rules), 0)
    for turn, rest in enumerate(_without_one(rules), start=1):
        user = _grant(api, "eco-agent", "eco-agent", rest)
        with pytest.raises(KubeError, match="HTTP 403"):
            use_all(user, turn)


def test_parking_needs_every_right_that_it_has_and_no_other(api: ApiServer, tmp_path: Path) -> None:
    lot = ParkingLot(api, tmp_path)

    def use_all(user: str) -> None:
        cluster = lot.parking({}, user=user).cluster
        lot.pod("web")
        (pod,) = cluster.pods("node-1")
        assert cluster.evict(pod)
        (first, _) = cluster.nodes()
        cluster.note(cluster.node(first.name), first.memory)

    rules = _rules("eco-parking")
    use_all(_grant(api, "eco-parking", "eco-controller", rules))
    for rest in _without_one(rules):
        user = _grant(api, "eco-parking", "eco-controller", rest)
        with pytest.raises(KubeError, match="HTTP 403"):
            use_all(user)


def test_the_controller_has_every_right_that_it_needs_to_lead_and_look(api: ApiServer, tmp_path: Path) -> None:
    objects = [one for one in _chart("default") if one["kind"] in ("ServiceAccount", "Role", "RoleBinding")]
    roles = [one for one in _chart("default") if one["kind"].startswith("ClusterRole") and "controller" in str(one)]
    api.apply(*objects, *roles)
    kubeconfig = api.config_of(f"system:serviceaccount:{NAMESPACE}:eco-controller")
    command = [sys.executable, "-m", "apps.cli", "controller", "--kubeconfig", str(kubeconfig), "--mode", "active"]
    command += ["--namespace", NAMESPACE, "--state", str(tmp_path), "--passes", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "403" not in done.stderr
    assert api.get("lease", "-n", NAMESPACE)["items"]
