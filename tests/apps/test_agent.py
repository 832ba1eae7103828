"""The agent's parts without a cluster: budgets and their end, stalls, who holds what, energy of processors."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.agent.allocation import Allocation, Holder
from apps.agent.beside import Beside
from apps.agent.budget import REST, Leases, Pod, PodBudget, from_object, from_pods, strictest
from apps.agent.config import AgentConfig, Export
from apps.agent.cpu_energy import CpuEnergy
from apps.agent.limiter import journal_path
from apps.agent.stall_rule import StallRule, StallWatch
from apps.agent.wanted import wanted
from facility.devices.nvml import GpuIdentity
from facility.errors import DeviceError
from scheduler.cluster import names
from tests.peers.pod_resources import UUIDS, HeldPod, kubelet
from tests.peers.processes import free_port
from tests.shared import missing

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POD = Pod("team", "train-0", "0b7d6a6e-0000-4000-8000-000000000001", {})


def _object(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "node-1"}, "spec": {"expiresAt": "2026-06-01T00:10:00Z", **spec}}


# Budgets ------------------------------------------------------------------------------------------------------------


def test_a_node_names_pods_and_the_rest() -> None:
    entry = {"namespace": "team", "name": "train-0", "gpuCapWatts": 300, "stallClockMhz": 600}
    said = from_object(_object(gpuCapWatts=350, pods=[entry]), [POD])
    assert said.problems == ()
    found = strictest(said.budgets)
    assert found[REST].cap_w == 350.0
    assert (found["team/train-0"].cap_w, found["team/train-0"].stall_clock_mhz) == (300.0, 600.0)


def test_a_pod_of_another_uid_is_another_pod() -> None:
    entry = {"namespace": "team", "name": "train-0", "gpuCapWatts": 300, "uid": "another"}
    assert from_object(_object(pods=[entry]), [POD]).budgets == ()


def test_a_pods_own_annotations_lower_its_limits() -> None:
    pod = Pod("team", "train-0", POD.uid, {names.GPU_CAP_W: "250", names.SM_CLOCK_MHZ: "1200"})
    entry = {"namespace": "team", "name": "train-0", "gpuCapWatts": 300}
    (found,) = from_object(_object(pods=[entry]), [pod]).budgets
    assert (found.cap_w, found.clock_mhz) == (250.0, 1200.0)
    assert from_pods([pod]).budgets == ()  # without a deadline it is none by itself
    own = Pod("team", "x", "u", {names.BUDGET_EXPIRES_AT: "2026-06-01T00:10:00+00:00", names.GPU_CAP_W: "250"})
    assert from_pods([own]).budgets[0].cap_w == 250.0


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"expiresAt": "tomorrow"}, "spec.expiresAt is 'tomorrow'"),
        ({"expiresAt": "2026-06-01T00:10:00"}, "spec.expiresAt"),
        ({"gpuCapWatts": -1}, "spec.gpuCapWatts is -1"),
        ({"pods": [{"namespace": "team", "name": "x", "gpuCapWatts": "much"}]}, "spec.pods[0]"),
        ({"pods": [7]}, "spec.pods[0]"),
    ],
)
def test_what_cannot_be_read_limits_nothing_and_is_told(spec: dict[str, Any], said: str) -> None:
    found = from_object(_object(**spec), [POD])
    assert found.budgets == ()
    assert said in found.problems[0]


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_annotation_can_do_harm(deadline: str, cap: str) -> None:
    pod = Pod("team", "x", "u", {names.BUDGET_EXPIRES_AT: deadline, names.GPU_CAP_W: cap})
    said = from_pods([pod])
    assert len(said.budgets) + len(said.problems) == 1


@given(st.floats(-3600, 3600), st.floats(1, 3600), st.floats(-300, 300), st.lists(st.floats(0.1, 600), max_size=8))
def test_no_clock_makes_a_budget_hold_longer_than_it_was_given(
    left_s: float, given_s: float, skew_s: float, steps_s: list[float]
) -> None:
    """``skew_s``: our clock against the writer's; it may also be set between two looks."""
    expires = NOW + timedelta(seconds=left_s)
    budget = PodBudget("a/b", expires, 300.0, issued_at=expires - timedelta(seconds=given_s), source="x")
    leases, steady_s, was_in_force = Leases(900.0), 0.0, True
    for step_s in [0.0, *steps_s]:
        steady_s += step_s
        is_in_force = bool(leases.in_force([budget], NOW + timedelta(seconds=skew_s), steady_s))
        assert not (is_in_force and not was_in_force)  # what is over does not begin again
        assert not is_in_force or steady_s < min(given_s, 900.0, left_s - skew_s) + 1e-6
        was_in_force = is_in_force


# Stalls -------------------------------------------------------------------------------------------------------------


def test_a_stall_begins_and_ends_after_a_while_and_not_while_gpus_are_busy() -> None:
    watch = StallWatch(StallRule(begin_after_s=2.0, end_after_s=2.0))

    def look(at_s: float, stall: float | None, busy: float | None) -> bool:
        watch.update({"a/b": stall}, {"a/b": busy}, at_s)
        return watch.stalled == {"a/b"}

    assert [look(at, 90.0, 5.0) for at in (0.0, 1.0, 2.0)] == [False, False, True]
    assert look(3.0, 25.0, 5.0)  # between the two thresholds it goes on
    assert [look(at, 1.0, 5.0) for at in (4.0, 5.0, 6.0)] == [True, True, False]
    assert not any(look(at, 90.0, 95.0) for at in (7.0, 9.0, 11.0))
    assert not look(20.0, 90.0, 5.0)
    assert look(22.0, 90.0, 5.0)
    assert not look(23.0, None, 5.0)  # a sign that is lost ends it


# Who holds what -----------------------------------------------------------------------------------------------------


def _allocation(folder: Path, *pods: HeldPod) -> Any:
    with kubelet(folder, *pods) as service:
        from apps.agent.pod_resources import PodResources

        found = PodResources(service.socket)
        try:
            return found.allocation()
        finally:
            found.close()


@pytest.mark.parametrize(
    ("pods", "why"),
    [
        ([HeldPod("a", "x", [f"{UUIDS[0]}::0"])], "time slices"),
        ([HeldPod("a", "x", [UUIDS[0]]), HeldPod("a", "y", [UUIDS[0]])], "both hold it"),
        ([HeldPod("a", "x", ["MIG-7"], "nvidia.com/mig-1g.10gb")], "an instance"),
        ([HeldPod("a", "x", ["nvidia0"])], "no UUID"),
    ],
)
def test_shared_gpus_are_told_apart(pods: list[HeldPod], why: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = _allocation(tmp_path_factory.mktemp("k"), *pods)
    assert found.holders == {}
    (said,) = found.refused.values()
    assert why in said


def test_other_devices_are_nobodys_gpus(tmp_path_factory: pytest.TempPathFactory) -> None:
    nic = HeldPod("a", "x", ["mlx5_0"], "rdma/hca")
    found = _allocation(tmp_path_factory.mktemp("k"), nic, HeldPod("a", "y", [UUIDS[1]]))
    assert {uuid: one.where for uuid, one in found.holders.items()} == {UUIDS[1]: "a/y"}
    assert found.refused == {}


def test_a_kubelet_that_is_not_there_is_an_error_that_helps(tmp_path: Path) -> None:
    try:
        from apps.agent.pod_resources import PodResources
    except Exception:
        missing("grpcio is not installed: pip install grpcio")
    with pytest.raises(DeviceError, match="mount /var/lib/kubelet/pod-resources"):
        PodResources(tmp_path / "none.sock").allocation()
    (tmp_path / "dead.sock").touch()
    with pytest.raises(DeviceError, match="gRPC UNAVAILABLE"):
        PodResources(tmp_path / "dead.sock").allocation()


@given(
    st.lists(st.sampled_from(["a/x", "a/y", ""]), min_size=2, max_size=2),
    st.lists(st.booleans(), min_size=2, max_size=2),
    st.dictionaries(st.sampled_from(["a/x", "a/y", REST]), st.floats(100, 700)),
    st.sets(st.sampled_from(UUIDS)),
)
def test_only_gpus_that_one_pod_holds_are_limited(
    holders: list[str], mig: list[bool], caps: dict[str, float], shared: set[str]
) -> None:
    gpus = {
        f"n/gpu-{i + 1}": GpuIdentity(uuid, "m", is_mig)
        for i, (uuid, is_mig) in enumerate(zip(UUIDS, mig, strict=True))
    }
    held = {
        uuid: Holder(*where.split("/"), "c")
        for uuid, where in zip(UUIDS, holders, strict=True)
        if where and uuid not in shared
    }
    budgets = {where: PodBudget(where, NOW, cap_w) for where, cap_w in caps.items()}
    found = wanted(gpus, Allocation(held, dict.fromkeys(shared, "shared")), budgets, frozenset())
    for name, gpu in gpus.items():
        is_free = gpu.is_mig or gpu.uuid in shared
        assert (name in found.refused) == is_free
        expected = None if is_free else caps.get(held[gpu.uuid].where if gpu.uuid in held else REST, caps.get(REST))
        command = found.commands.get(f"{name}/power_limit_w")
        assert (None if command is None else command.value) == expected


# The rest -----------------------------------------------------------------------------------------------------------


def test_limits_of_an_earlier_boot_are_over(tmp_path: Path) -> None:
    boot = tmp_path / "boot_id"
    boot.write_text("one\n")
    first = journal_path(tmp_path / "state", boot)
    first.write_text("{}")
    assert journal_path(tmp_path / "state", boot) == first
    assert first.exists()
    boot.write_text("two\n")
    assert journal_path(tmp_path / "state", boot) != first
    assert not first.exists()


def _kernel(root: Path, energy_uj: int, pod_us: int, ticks: tuple[int, int]) -> None:
    zone, pod = root / "powercap" / "intel-rapl:0", root / "cgroup" / "kubepods" / f"pod{POD.uid}"
    zone.mkdir(parents=True, exist_ok=True)
    pod.mkdir(parents=True, exist_ok=True)
    (zone / "name").write_text("package-0\n")
    (zone / "energy_uj").write_text(f"{energy_uj}\n")
    (zone / "max_energy_range_uj").write_text("100000000\n")
    (pod / "cpu.stat").write_text(f"usage_usec {pod_us}\nuser_usec 0\n")
    (root / "stat").write_text(f"cpu {ticks[0]} 0 0 {ticks[1]} 0 0 0 0 0 0\n")


def test_processors_energy_goes_to_pods_by_their_time_and_its_counter_begins_again(tmp_path: Path) -> None:
    cpu = CpuEnergy(tmp_path / "cgroup", tmp_path / "powercap", tmp_path / "stat")
    _kernel(tmp_path, 90_000_001, 0, (0, 0))
    assert cpu.look().zones == {}
    _kernel(tmp_path, 10_000_000, 500_000, (100, 100))  # half of the time busy, half of that for the pod
    found = cpu.look()
    assert list(found.zones.values()) == [pytest.approx(20.0)]
    assert found.pods[POD.uid, "package-0"] == pytest.approx(20.0 * 0.5 * 0.5)


def test_an_exporter_that_is_there_is_not_doubled() -> None:
    from prometheus_client import CollectorRegistry, Gauge, start_http_server

    registry = CollectorRegistry()
    Gauge("DCGM_FI_DEV_POWER_USAGE", "", registry=registry).set(1.0)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        beside = Beside(AgentConfig("n"), server.server_port, free_port())
        assert (beside.dcgm, beside.kepler) == (False, False)
        asyncio.run(beside.look())
        assert (beside.dcgm, beside.kepler) == (False, True)
        forced = Beside(AgentConfig("n", dcgm=Export.ON, kepler=Export.OFF), server.server_port, free_port())
        asyncio.run(forced.look())
        assert (forced.dcgm, forced.kepler) == (True, False)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
