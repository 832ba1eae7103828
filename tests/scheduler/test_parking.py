"""The rules of parking, and what the API server's objects mean to them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes import client

from facility.errors import DataError
from scheduler.cluster.api import Kube, KubeError
from scheduler.cluster.parking import DAY, Memory, ParkingRules, Phase, is_wake_due, node_seen, why_not_park
from scheduler.cluster.parking_nodes import ParkingNodes, pod_seen

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
times = st.integers(0, 364 * 24 * 60).map(lambda minutes: NOW + timedelta(minutes=minutes))


@given(st.sampled_from(list(Phase)), st.none() | times, st.lists(times, max_size=3), st.text(max_size=10))
def test_what_is_noted_on_a_node_is_read_again(
    phase: Phase, since: datetime | None, parked_at: list[datetime], boot_id: str
) -> None:
    memory = Memory(phase, since, tuple(parked_at), boot_id)
    assert Memory.from_text(memory.to_text(), "node-1") == memory


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"phase": "away"}'])
def test_a_damaged_note_is_told_and_not_guessed(text: str) -> None:
    with pytest.raises(DataError, match="look whether the node is on"):
        Memory.from_text(text, "node-1")


def test_cycles_are_counted_for_a_day() -> None:
    memory = Memory().turned(Phase.SWITCHING_OFF, NOW).turned(Phase.UP, NOW + HOUR)
    assert memory.parked_at == (NOW,)
    assert memory.turned(Phase.SWITCHING_OFF, NOW + DAY).parked_at == (NOW + DAY,)


def _node(name: str, **metadata: Any) -> dict[str, Any]:
    labels = {"eco-orchestrator.io/parking": "allowed"}
    return {
        "metadata": {"name": name, "resourceVersion": "1", "labels": labels, **metadata},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"nvidia.com/gpu": "8"}},
    }


@given(st.floats(0, 48), st.floats(60, 7200), st.floats(60, 7200))
def test_what_may_be_parked_is_not_due_to_wake(needed_h: float, boot_s: float, parked_s: float) -> None:
    rules = ParkingRules(is_enabled=True, nodes=("a",), warm_floor=1, boot_s=boot_s, min_parked_s=parked_s)
    nodes = [node_seen(_node(name)) for name in ("a", "b")]
    needed_at = NOW + needed_h * HOUR
    if not why_not_park(nodes[0], nodes, (), needed_at, NOW, rules):
        assert not is_wake_due(needed_at, NOW, rules)
        assert not is_wake_due(needed_at, NOW + timedelta(seconds=parked_s - 1.0), rules)
    assert is_wake_due(needed_at, needed_at - timedelta(seconds=boot_s), rules)


def test_nodes_without_gpus_do_not_count_as_warm() -> None:
    rules = ParkingRules(is_enabled=True, nodes=("a",), warm_floor=1)
    plain = _node("b")
    plain["status"]["allocatable"] = {}
    nodes = [node_seen(_node("a")), node_seen(plain)]
    assert why_not_park(nodes[0], nodes, (), None, NOW, rules) == "only 0 other GPU nodes would be ready"


def _pod(**changes: Any) -> dict[str, Any]:
    metadata = {
        "namespace": "a",
        "name": "x",
        "uid": "u",
        "ownerReferences": [{"kind": "ReplicaSet", "controller": True}],
    }
    return {"metadata": metadata | changes.pop("metadata", {}), "spec": changes.pop("spec", {}), **changes}


@pytest.mark.parametrize(
    ("item", "stays"),
    [
        (_pod(), ""),
        (_pod(metadata={"ownerReferences": []}), "nobody would start it"),
        (
            _pod(
                metadata={
                    "ownerReferences": [],
                    "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"},
                }
            ),
            "",
        ),
        (_pod(metadata={"annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}}), "its owner says"),
        (_pod(spec={"volumes": [{"name": "v", "emptyDir": {}}]}), "emptyDir"),
        (_pod(spec={"volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]}), ""),
        (_pod(spec={"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}), "it has GPUs"),
        (_pod(spec={"initContainers": [{"resources": {"requests": {"nvidia.com/gpu": 1}}}]}), "it has GPUs"),
    ],
)
def test_which_pods_may_be_moved(item: dict[str, Any], stays: str) -> None:
    found = pod_seen(item)
    assert found is not None
    assert found.stays == stays if not stays else stays in found.stays


@pytest.mark.parametrize(
    "item",
    [
        _pod(status={"phase": "Succeeded"}),
        _pod(metadata={"ownerReferences": [{"kind": "DaemonSet", "controller": True}]}),
        _pod(metadata={"annotations": {"kubernetes.io/config.mirror": "x"}}),
    ],
)
def test_pods_that_live_for_their_node_or_have_ended_do_not_count(item: dict[str, Any]) -> None:
    assert pod_seen(item) is None


@pytest.fixture
def answering() -> Iterator[tuple[ThreadingHTTPServer, list[int]]]:
    """A server that answers every POST with the status at the front of a list: no API server at hand has budgets."""
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b"{}"
            self.send_response(statuses.pop(0))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server, statuses
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_disruption_budget_says_not_now_and_a_pod_that_is_gone_is_moved(
    answering: tuple[ThreadingHTTPServer, list[int]],
) -> None:
    server, statuses = answering
    settings = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
    settings.retries = False
    nodes, pod = ParkingNodes(Kube(client.ApiClient(settings))), pod_seen(_pod())
    assert pod is not None
    statuses += [201, 429, 404, 500]
    assert [nodes.evict(pod) for _ in range(3)] == [True, False, True]
    with pytest.raises(KubeError, match="HTTP 500"):
        nodes.evict(pod)
