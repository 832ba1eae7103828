"""What fails, and that no job is lost or held for ever: on simulated time, against the real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scheduler.cluster import names
from scheduler.cluster.api import Kube, connect, path_of
from scheduler.cluster.kinds import JOB
from scheduler.cluster.plan import start
from tests.peers.kube import ApiServer
from tests.peers.kube_cluster import Truth, asks, training_job
from tests.peers.kube_proxy import FaultyKube
from tests.peers.kube_rig import START, Rig, carbon, make_rig
from twin.signals.series import Series

HOUR = 3600.0
CONTRACT = {"checkpoint": "sigterm", "checkpoint_time": "20s", "restart_time": "60s"}
ASK = {"estimated_duration": "3h", "max_delay": "20h"}


@pytest.fixture
def faulty(server: ApiServer) -> FaultyKube:
    return FaultyKube(connect(server.kubeconfig))


@pytest.fixture
def shaky(faulty: FaultyKube, tmp_path: Path) -> Iterator[Rig]:
    yield from make_rig(faulty, tmp_path, profiling=False)


def test_a_controller_that_is_killed_at_every_pass(kube: Kube, tmp_path: Path) -> None:
    for rig in make_rig(kube, tmp_path):
        rig.sim.submit(training_job("train", asks(**ASK, **CONTRACT)), Truth(3 * HOUR, restart_s=60.0))
        for _ in range(28):
            rig.advance(HOUR / 2)
            rig.restart()
        rig.advance(HOUR)
        receipt = json.loads(rig.note("train", names.RECEIPT) or "")
        meters = rig.sim.meters
        assert receipt["energy"]["it_wh"] == pytest.approx(meters.total_wh - meters.unallocated_wh, rel=0.02)
        assert receipt["job"]["pauses"] == sum(one["what"] == "suspended" for one in receipt["decisions"])


def test_a_storm_of_conflicts_delays_and_loses_nothing(shaky: Rig, faulty: FaultyKube) -> None:
    for index in range(4):
        shaky.sim.submit(training_job(f"train-{index}", asks(**ASK, **CONTRACT)), Truth(2 * HOUR))
    faulty.conflicts = 8  # the first change is given up, and decided anew at the next pass
    shaky.look()
    assert faulty.conflicts == 0
    for _ in range(10):
        faulty.conflicts = 3
        shaky.advance(HOUR)
    faulty.conflicts = 0
    shaky.advance(4 * HOUR)
    assert shaky.writer.counts.given_up >= 1
    assert shaky.writer.counts.conflicts >= 8
    jobs = shaky.kube.items(path_of(JOB))[0]
    assert all(names.RECEIPT in one["metadata"]["annotations"] for one in jobs)


def test_a_version_that_is_too_old_is_listed_again(shaky: Rig, faulty: FaultyKube) -> None:
    faulty.gone = 12
    for _ in range(12):  # the watches are short here: each ends and finds 410
        shaky.advance(HOUR / 4)
        shaky.view.mirrors[0]._version = "1"
    shaky.sim.submit(training_job("train", asks(**ASK)), Truth(HOUR))
    shaky.advance(HOUR / 4)
    assert shaky.job("train")["spec"]["suspend"] is True


def test_an_api_server_that_is_away_stops_every_action(kube: Kube, server: ApiServer, tmp_path: Path) -> None:
    faulty = FaultyKube(connect(server.kubeconfig))
    for rig in make_rig(faulty, tmp_path, profiling=False, max_mirror_age_s=0.5):
        rig.sim.submit(training_job("train", asks(**ASK)), Truth(HOUR))
        rig.look()
        faulty.is_away = True
        rig.view.stop()
        report = rig.loop.run_until_complete(_later(rig))
        assert "nothing is done" in report.problems[0]
        assert (report.commands, report.changes) == (0, 0)
        faulty.is_away = False
        rig.restart()


async def _later(rig: Rig) -> Any:
    import asyncio

    while rig.view.age_s < 0.6:
        await asyncio.sleep(0.05)
    return await rig.controller.look_and_act(rig.sim.now)


def test_a_signal_that_is_stale_for_six_hours(kube: Kube, tmp_path: Path) -> None:
    fresh, cut = carbon(), carbon(until=START + timedelta(hours=2))

    def source(now: datetime) -> Series:
        return cut if START + timedelta(hours=2) <= now < START + timedelta(hours=10) else fresh

    for rig in make_rig(kube, tmp_path, source=source, profiling=False):
        rig.sim.submit(training_job("early", asks(**ASK, **CONTRACT)), Truth(3 * HOUR))
        rig.look()
        rig.advance(6.5 * HOUR)
        held = json.loads(rig.note("early", names.LEDGER) or "")
        assert held["phase"] == "held"  # deferred before: it keeps to its window
        rig.sim.submit(training_job("new", asks(**ASK, **CONTRACT)), Truth(HOUR))
        rig.advance(HOUR / 2)
        assert not rig.job("new")["spec"].get("suspend")  # nothing new is deferred
        assert "EcoStaleSignal" in [reason for reason, _ in rig.events("early")]
        rig.advance(14 * HOUR)
        for name in ("early", "new"):
            assert rig.note(name, names.RECEIPT)
        begun = datetime.fromisoformat(json.loads(rig.note("early", names.RECEIPT) or "")["job"]["started_at"])
        assert begun < START + timedelta(hours=11)


def test_without_any_signal_jobs_run_as_they_come(kube: Kube, tmp_path: Path) -> None:
    cut = carbon(until=START - timedelta(days=2))
    for rig in make_rig(kube, tmp_path, source=lambda now: cut, profiling=False):
        rig.sim.submit(training_job("train", asks(**ASK, **CONTRACT)), Truth(HOUR))
        rig.advance(3 * HOUR)
        receipt = json.loads(rig.note("train", names.RECEIPT) or "")
        assert receipt["saving"] is None
        assert receipt["job"]["pauses"] == 0


def test_no_room_is_no_prison(kube: Kube, tmp_path: Path) -> None:
    """Three jobs that each want the whole cluster: late, but none held past its latest start."""
    for rig in make_rig(kube, tmp_path, nodes=1, profiling=False):
        for index in range(3):
            said = asks(estimated_duration="4h", max_delay="6h")
            rig.sim.submit(training_job(f"train-{index}", said), Truth(4 * HOUR))
        rig.advance(30 * HOUR, 1800.0)
        assert all(truth.ended_at is not None for truth in rig.sim.truths.values())
        jobs = rig.kube.items(path_of(JOB))[0]
        assert all(names.RECEIPT in one["metadata"]["annotations"] for one in jobs)


def test_meters_that_are_away_delay_the_receipt_and_are_told(kube: Kube, tmp_path: Path) -> None:
    for rig in make_rig(kube, tmp_path, profiling=False):
        rig.sim.submit(training_job("train", asks(estimated_duration="1h")), Truth(HOUR))
        rig.advance(HOUR)
        rig.sim.meters.is_down = True
        rig.advance(HOUR / 2)
        assert rig.note("train", names.RECEIPT) is None
        rig.advance(2 * HOUR)
        receipt = json.loads(rig.note("train", names.RECEIPT) or "")
        assert any("not metered" in one["reason"] for one in receipt["decisions"])


def test_a_damaged_ledger_releases_the_job(kube: Kube, tmp_path: Path) -> None:
    for rig in make_rig(kube, tmp_path, profiling=False):
        rig.sim.submit(training_job("train", asks(**ASK)), Truth(HOUR))
        rig.look()
        broken = {"metadata": {"annotations": {names.LEDGER: "{not json"}}}
        rig.kube.patch(path_of(JOB, "default", "train"), broken, "application/merge-patch+json")
        rig.advance(HOUR / 4)
        assert rig.job("train")["spec"]["suspend"] is False
        assert "cannot be read" in dict(rig.events("train"))["EcoBadInput"]


def test_a_change_that_somebody_else_forestalled_is_not_forced(kube: Kube, tmp_path: Path) -> None:
    for rig in make_rig(kube, tmp_path, profiling=False):
        rig.sim.submit(training_job("train", asks(**ASK)), Truth(HOUR))
        rig.look()
        work = rig.controller.begin(rig.sim.now, rig.reports[-1])
        workload = rig.view.workloads()["default/train"]
        assert workload.kept.ledger is not None
        reviewer = rig.controller.reviewer
        record = reviewer._record(workload, reviewer.scene_of(work, workload), workload.kept.ledger)
        change = start(record, (), "a test's reason", "plan", rig.sim.now)
        flipped = [{"op": "add", "path": "/spec/suspend", "value": False}]
        rig.kube.patch(path_of(JOB, "default", "train"), flipped)
        with pytest.raises(Exception, match="meanwhile"):
            rig.writer.send(change, rig.sim.now)


def test_a_dry_run_writes_nothing(kube: Kube, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "eco.controller")
    for rig in make_rig(kube, tmp_path, is_dry=True):
        rig.sim.submit(training_job("train", asks(**ASK, **CONTRACT)), Truth(HOUR))
        before = rig.job("train")["metadata"]["resourceVersion"]
        rig.look()
        rig.look()
        after = rig.job("train")["metadata"]
        assert after["resourceVersion"] == before
        assert rig.events("train") == []
        assert any("would hold" in record.message for record in caplog.records)
        assert any("would note: waits for" in record.message for record in caplog.records)
