"""The agent on one node: real NVML binding, real gRPC, real API server; what it holds and what it gives back."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps.agent_node import TRAIN, GpuNode, build_stub, gpu_node
from tests.apps.running import wait_for
from tests.peers.apiserver import ApiServer, api_server
from tests.peers.pod_resources import UUIDS, HeldPod

RBAC = Path(__file__).parents[2] / "apps" / "deploy" / "base" / "agent-rbac.yaml"
FREE = (400_000, 400_000, 0, 0)  # as the driver comes


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_stub(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("kube")) as server:
        server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "eco-system"}})
        server.kubectl("apply", "-f", str(RBAC))  # the agents of these tests have these rights alone
        yield server


@pytest.fixture
def node(request: pytest.FixtureRequest, library: Path, api: ApiServer) -> Iterator[GpuNode]:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    with gpu_node(name, library, api, TRAIN) as made:
        made.pod(TRAIN)
        yield made
    api.kubectl("delete", "pod", "--all", "-n", TRAIN.namespace, "--force", "--grace-period=0")


def _entry(**limits: float) -> dict[str, object]:
    return {"namespace": TRAIN.namespace, "name": TRAIN.name, **limits}


def _kill(agent: subprocess.Popen[bytes]) -> None:
    agent.send_signal(signal.SIGKILL)
    agent.wait(10)


def test_caps_hold_for_the_pods_gpus_alone_until_the_budget_ends(node: GpuNode) -> None:
    node.set_by_hand(350_000, 400_000, 0, 0)  # an operator's own limit stood there before
    node.allow(5.0, planId="p-1", pods=[_entry(gpuCapWatts=300, smClockMhz=1200)])
    with node.agent():
        node.wait_for(300_000, 400_000, 1200, 0)
        wait_for(lambda: node.condition().get("reason") == "Limited", "the condition")
        status = node.api.get("npb", node.name)["status"]
        assert status["planId"] == "p-1"
        assert status["restored"] is False
        assert {gpu["uuid"]: gpu.get("pod") for gpu in status["gpus"]} == {UUIDS[0]: "train-0", UUIDS[1]: None}
        assert [count for _, count in node.metrics()["eco_agent_problems"]] == [0.0]
        node.wait_for(350_000, 400_000, 0, 0)  # nobody renewed it


def test_an_orderly_end_and_the_end_of_the_pod_give_back(node: GpuNode) -> None:
    node.allow(600.0, pods=[_entry(gpuCapWatts=300)], gpuCapWatts=350)
    with node.agent():
        node.wait_for(300_000, 350_000, 0, 0)
        node.kubelet.pods.clear()  # its GPU is now one of the rest
        node.wait_for(350_000, 350_000, 0, 0)
    assert node.settings == FREE


def test_what_a_killed_agent_held_is_given_back_or_goes_on(node: GpuNode) -> None:
    node.allow(600.0, pods=[_entry(gpuCapWatts=300)])
    with node.agent() as agent:
        node.wait_for(300_000, 400_000, 0, 0)
        _kill(agent)
    assert node.settings[0] == 300_000
    with node.agent() as agent:  # the budget is still good
        wait_for(lambda: node.metrics().get("eco_agent_limit"), "the limit in the metrics")
        assert node.settings[0] == 300_000
        _kill(agent)
    with node.agent("--mode", "shadow"):  # nothing is decided there
        node.wait_for(*FREE)


def test_shared_gpus_and_instances_are_refused_and_told(node: GpuNode) -> None:
    other = HeldPod("team", "notebook", [f"{UUIDS[1]}::2"], "nvidia.com/gpu.shared")
    node.kubelet.pods.append(other)
    both = [_entry(gpuCapWatts=300), {"namespace": "team", "name": "notebook", "gpuCapWatts": 250}]
    node.allow(600.0, pods=both, gpuCapWatts=250)
    with node.agent(STUB_MIG="1"):
        said = wait_for(lambda: node.condition().get("message"), "the condition")
        assert "gpu-1: it is in MIG mode" in said
        assert "gpu-2: it is shared in time slices" in said
        assert node.settings == FREE
        refused = {labels["UUID"] for labels, _ in node.metrics()["eco_agent_gpu_refused"]}
        assert refused == set(UUIDS)


def test_a_limit_set_by_hand_stays(node: GpuNode) -> None:
    node.allow(600.0, pods=[_entry(gpuCapWatts=300)])
    with node.agent():
        node.wait_for(300_000, 400_000, 0, 0)
        node.set_by_hand(320_000, 400_000, 0, 0)
        wait_for(lambda: node.condition().get("reason") == "Overridden", "the condition")
        assert node.settings[0] == 320_000
    assert node.settings[0] == 320_000


def test_gpu_power_carries_the_pods_names(node: GpuNode) -> None:
    with node.agent():
        rows = node.metrics()
    power = {
        labels["UUID"]: (labels["namespace"], labels["pod"], watts) for labels, watts in rows["DCGM_FI_DEV_POWER_USAGE"]
    }
    assert power == {UUIDS[0]: ("team", "train-0", 250.5), UUIDS[1]: ("", "", 350.5)}
    assert [value for _, value in rows["DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"]] == [7_200_000.0] * 2
    assert [watts for _, watts in rows["kepler_node_gpu_watts"]] == [601.0]
    ((labels, watts),) = rows["kepler_pod_gpu_watts"]
    assert (labels["pod_namespace"], labels["pod_name"], watts) == ("team", "train-0", 250.5)


def test_a_pod_that_waits_for_data_is_clocked_down_and_up_again(node: GpuNode) -> None:
    uid = node.api.get("pod", TRAIN.name, "-n", "team")["metadata"]["uid"]
    pressure = node.folder / "kubepods" / f"pod{uid}" / "io.pressure"
    pressure.parent.mkdir()
    total_us = 0

    def wait_some() -> None:  # as the kernel counts; the test's pace makes it near 100 % of the time
        nonlocal total_us
        total_us += 1_000_000
        pressure.write_text(f"some avg10=0.00 avg60=0.00 avg300=0.00 total={total_us}\n")

    wait_some()
    node.allow(600.0, pods=[_entry(gpuCapWatts=400, stallClockMhz=600)])
    with node.agent(STUB_UTIL="5"):

        def is_lowered() -> bool:
            wait_some()
            return node.settings[2] == 600

        wait_for(is_lowered, "lowered clocks", 20.0)
        node.wait_for(400_000, 400_000, 0, 0)  # the pressure stands still: it has its data


def test_a_server_that_hangs_keeps_nothing_beyond_the_budget(node: GpuNode) -> None:
    node.allow(600.0, pods=[_entry(gpuCapWatts=300)])
    with node.agent("--max-hold-s", "4"):
        node.wait_for(300_000, 400_000, 0, 0)
        with node.api.hanging():
            node.wait_for(*FREE)
