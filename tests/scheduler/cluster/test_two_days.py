"""Fifty jobs over two simulated days: receipts for all, and energy that adds up to the meters."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import numpy as np

from facility.records import WorkClass
from scheduler.cluster import names
from scheduler.cluster.api import path_of
from scheduler.cluster.kinds import JOB
from tests.peers.kube_cluster import Truth, asks, training_job
from tests.peers.kube_rig import START, Rig

HOUR = 3600.0
JOBS = 50
CONTRACT = {"checkpoint": "sigterm", "checkpoint_time": "20s", "restart_time": "2m"}


def drawn(index: int, rng: np.random.Generator) -> tuple[float, dict[str, Any], Truth]:
    """When a job comes, its manifest and what it really is: estimates are off by up to a fifth."""
    hours = float(rng.choice([0.5, 1.0, 2.0, 4.0, 6.0]))
    kind = (WorkClass.COMPUTE_BOUND, WorkClass.MEMORY_BOUND)[index % 2]
    gpus = int(rng.choice([1, 2, 4, 8]))
    said = asks(estimated_duration=f"{hours:g}h", total_steps="1000")
    if index % 10:
        said |= asks(max_delay=f"{int(rng.integers(6, 20))}h")
    if index % 5:
        said |= asks(**CONTRACT)
    body = training_job(f"job-{index:02d}", said, gpus=gpus, image=f"image-{index % 6}")
    truth = Truth(hours * HOUR * float(rng.uniform(0.8, 1.2)), kind, restart_s=120.0, steps=1000.0)
    return float(rng.uniform(0.0, 40.0)) * HOUR, body, truth


def test_fifty_jobs_end_with_receipts_that_add_up(rig: Rig) -> None:
    rng = np.random.default_rng(7)
    coming = sorted((drawn(index, rng) for index in range(JOBS)), key=lambda one: one[0])
    for hour in range(48):
        while coming and coming[0][0] <= (hour + 1) * HOUR:
            _, body, truth = coming.pop(0)
            rig.sim.submit(body, truth)
        rig.advance(HOUR, 3600.0)
        if hour == 20:
            rig.restart()  # what it knew is gone: all stands in the cluster
    rig.advance(24 * HOUR, 3600.0)
    jobs = rig.kube.items(path_of(JOB))[0]
    receipts = [json.loads(one["metadata"]["annotations"][names.RECEIPT]) for one in jobs]
    assert len(receipts) == JOBS
    assert all(truth.ended_at is not None for truth in rig.sim.truths.values())
    told_wh = sum(one["energy"]["it_wh"] for one in receipts)
    meters = rig.sim.meters
    assert abs(told_wh + meters.unallocated_wh - meters.total_wh) < 0.02 * (meters.total_wh - meters.unallocated_wh)
    for receipt in receipts:
        decisions = receipt["decisions"]
        assert all(one["reason"] for one in decisions)
        assert sum(one["what"] == "suspended" for one in decisions) == receipt["job"]["pauses"]
        assert [one["at"] for one in decisions] == sorted(one["at"] for one in decisions)
    late = [one["job"]["name"] for one in receipts if one["job"]["late_s"]]
    chargeable = [name for name in late if not excused(rig, name)]
    assert chargeable == []
    saved = [one["saving"]["shift_g"] for one in receipts if one["saving"]]
    assert sum(saved) > 0.0
    assert sum(one["job"]["pauses"] for one in receipts) > 5


def excused(rig: Rig, name: str) -> bool:
    """A miss is not the controller's where the work took longer than its owner said."""
    truth = rig.sim.truths["default", name]
    receipt = json.loads(rig.note(name, names.RECEIPT) or "{}")
    said_s = float(rig.note(name, names.DURATION)[:-1]) * HOUR  # type: ignore[index]
    deadline = datetime.fromisoformat(receipt["job"]["deadline"])
    assert truth.ended_at is not None
    assert deadline > START
    return truth.work_s > said_s
