"""Whatever was measured, and however badly: what is given out is the meter's figure to the millijoule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facility.errors import DataError
from scheduler.cluster.pod_energy import (
    GpuUse,
    Heading,
    NodeReadings,
    NodeState,
    Reconciled,
    apportion,
    by_job,
    mj_of_wh,
    reconcile,
    wh_of_mj,
)

energies = st.integers(0, 10**12)
maybe = st.none() | energies
pods = st.sampled_from(["a/x", "a/y", "b/z"])
gpus = st.builds(GpuUse, st.just("GPU-1"), st.none() | pods, energies)


@st.composite
def nodes(draw: st.DrawFn) -> list[NodeReadings]:
    return [
        NodeReadings(
            f"node-{number}",
            draw(maybe),
            draw(st.sampled_from(list(NodeState))),
            tuple(draw(st.lists(gpus, max_size=4))),
            draw(st.dictionaries(pods, energies)),
            draw(maybe),
            draw(st.dictionaries(pods, energies)),
        )
        for number in range(draw(st.integers(1, 4)))
    ]


def _given_out(found: Reconciled) -> int:
    return sum(found.pods.values()) + sum(found.unallocated.values())


@given(maybe, nodes())
def test_pods_and_unallocated_are_the_meter(meter_mj: int | None, found: list[NodeReadings]) -> None:
    try:
        done = reconcile("pdu-1", meter_mj, found)
    except DataError:
        assert meter_mj is None
        return
    if meter_mj is not None:
        assert done.meter_mj == meter_mj
    assert _given_out(done) == done.meter_mj
    assert all(energy >= 0 for energy in (*done.pods.values(), *done.unallocated.values()))
    assert sum(node.energy_mj for node in done.nodes) + done.unallocated.get(Heading.FEED, 0) == done.meter_mj


@given(maybe, nodes(), st.dictionaries(pods, st.sampled_from(["job-1", "job-2"])))
def test_jobs_and_unallocated_are_the_meter(
    meter_mj: int | None, found: list[NodeReadings], job_of: dict[str, str]
) -> None:
    try:
        done = reconcile("pdu-1", meter_mj, found)
    except DataError:
        return
    split = by_job([done, done], job_of)
    assert sum(split.jobs.values()) + sum(split.unallocated.values()) == 2 * done.meter_mj
    assert set(split.jobs) == {job_of[pod] for pod in done.pods if pod in job_of}


@given(st.lists(energies, min_size=1, max_size=6), energies)
def test_shares_are_exact_and_each_within_one_of_its_proportion(weights: list[int], total: int) -> None:
    if sum(weights) == 0:
        assert apportion(0, weights) == weights
        with pytest.raises(ValueError, match="nobody"):
            apportion(total + 1, weights)
        return
    shares = apportion(total, weights)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share * sum(weights) - total * weight) < sum(weights)


def test_a_busy_node_by_the_rule() -> None:
    node = NodeReadings(
        "node-1",
        1000,
        gpus=(GpuUse("GPU-1", "a/x", 400), GpuUse("GPU-2", None, 60)),
        pod_cpu_mj={"a/x": 100, "kube-system/dns": 5},
        node_cpu_mj=200,
        pod_gpu_mj={"a/x": 300},
    )
    done = reconcile("pdu-1", 1050, [node])  # 5 %: a matter of calibration
    assert done.pods == {"a/x": 500, "kube-system/dns": 5}
    assert done.unallocated == {Heading.IDLE: 60, Heading.HOST: 485}
    assert done.scale == pytest.approx(1.05)
    assert done.residual_mj == 50
    assert done.nodes[0].kepler_gpu_share == 0.75
    assert by_job([done], {"a/x": "job"}).unallocated[Heading.NO_JOB] == 5


def test_what_the_feed_has_beyond_calibration_is_the_feeds_own() -> None:
    done = reconcile("pdu-1", 1500, [NodeReadings("node-1", 1000, gpus=(GpuUse("GPU-1", "a/x", 900),))])
    assert done.unallocated == {Heading.HOST: 150, Heading.FEED: 450}
    assert done.pods == {"a/x": 900}


def test_components_that_claim_more_than_the_meter_are_scaled_down() -> None:
    node = NodeReadings("node-1", 1200, gpus=(GpuUse("GPU-1", "a/x", 900), GpuUse("GPU-2", "a/y", 300)))
    done = reconcile("pdu-1", 600, [node])
    assert done.pods == {"a/x": 450, "a/y": 150}
    assert done.scale == 0.5
    assert done.residual_mj == -600
    assert done.nodes[0].component_scale == 0.5


def test_parked_and_booting_nodes_are_named() -> None:
    parked = NodeReadings("node-1", 100, NodeState.PARKED)
    boot = NodeReadings("node-2", 300, NodeState.BOOT, gpus=(GpuUse("GPU-1", None, 200),))
    done = reconcile("pdu-1", None, [parked, boot])
    assert done.unallocated == {Heading.PARKED: 100, Heading.BOOT: 300}
    assert done.scale is None


def test_keplers_gpu_figure_stands_in_where_there_is_no_dcgm() -> None:
    done = reconcile("pdu-1", None, [NodeReadings("node-1", 500, pod_gpu_mj={"a/x": 200})])
    assert done.pods == {"a/x": 200}


def test_keplers_pods_claim_no_more_than_its_node() -> None:
    node = NodeReadings("node-1", 1000, pod_cpu_mj={"a/x": 300, "a/y": 100}, node_cpu_mj=200)
    assert reconcile("pdu-1", None, [node]).pods == {"a/x": 150, "a/y": 50}


def test_a_node_without_a_meter_counts_with_its_parts_and_is_named() -> None:
    bare = NodeReadings("node-2", None, gpus=(GpuUse("GPU-1", "a/x", 70),), node_cpu_mj=30)
    done = reconcile("pdu-1", 300, [NodeReadings("node-1", 100), bare])
    assert done.without_meter == ("node-2",)
    assert done.pods == {"a/x": 70}
    assert done.unallocated[Heading.FEED] == 90


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="neither"):
        reconcile("pdu-1", None, [NodeReadings("node-1")])
    with pytest.raises(DataError, match="negative"):
        reconcile("pdu-1", -1, [])
    with pytest.raises(DataError, match="negative"):
        reconcile("pdu-1", 1, [NodeReadings("node-1", -1)])
    with pytest.raises(DataError, match="twice"):
        reconcile("pdu-1", 1, [NodeReadings("node-1", 1)] * 2)


def test_units() -> None:
    assert mj_of_wh(1.0) == 3_600_000
    assert wh_of_mj(1_800_000) == 0.5
