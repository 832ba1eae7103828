from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta

import pytest

from facility.errors import DataError, DeviceError, EcoError
from facility.records import Command, JobPhase, VerdictKind
from scheduler.cluster.actuator import ClusterActuator
from scheduler.cluster.emulated import EmulatedCluster
from tests.scheduler.curves import START, job, linear


def cluster(*jobs: object, nodes: int = 2) -> EmulatedCluster:
    return EmulatedCluster({f"node-{i + 1}": 8 for i in range(nodes)}, jobs, START, linear)  # type: ignore[arg-type]


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def test_a_job_ends_at_its_exact_time_and_the_energy_of_the_step_is_exact() -> None:
    made = cluster(job("a", gpus=4, hours=1.5))
    made.start("a", (("node-1", 4),))
    made.advance(at(1.0))
    made.advance(at(2.0))
    assert made.is_drained
    assert made.finished[0].finished_at == at(1.5)
    first = made.gpu_power_w()[0]
    assert (first.mean_busy_w, first.mean_busy_gpus, first.mean_idle_gpus) == (800.0, 2.0, 6.0)
    assert (first.busy_w, first.idle_gpus) == (0.0, 8)
    assert made.finished[0].energy_j == 4 * 400.0 * 5400.0


def test_a_cap_slows_and_saves_power() -> None:
    made = cluster(job("a", hours=1.0))
    made.start("a", (("node-1", 1),))
    made.set_cap("a", 200.0)
    made.advance(at(1.0))
    assert made.statuses()[0].remaining_s == pytest.approx(1800.0)
    assert made.gpu_power_w()[0].mean_busy_w == 200.0
    made.advance(at(3.0))
    assert made.finished[0].finished_at == at(2.0)


def test_suspend_costs_redone_work_and_gives_the_gpus_back() -> None:
    made = cluster(job("a", gpus=8, hours=2.0))
    made.start("a", (("node-1", 8),))
    made.advance(at(1.0))
    made.suspend("a")
    status = made.statuses()[0]
    assert (status.phase, status.remaining_s, status.suspensions) == (JobPhase.SUSPENDED, 3900.0, 1)
    assert made.nodes()[0].gpus_free == 8
    made.advance(at(2.0))
    made.resume("a", (("node-2", 8),))
    made.advance(at(4.0))
    assert made.finished[0].finished_at == at(3.0) + timedelta(seconds=300)
    assert made.finished[0].started_at == START


def test_jobs_are_seen_from_their_submission_on() -> None:
    made = cluster(job("later", after_h=1.0), job("now"))
    assert [status.job.name for status in made.statuses()] == ["now"]
    made.advance(at(1.0))
    assert [status.job.name for status in made.statuses()] == ["now", "later"]
    assert not made.is_drained


def test_the_impossible_is_refused() -> None:
    made = cluster(job("a", gpus=8), job("b", gpus=8))
    made.start("a", (("node-1", 8),))
    for name, placement in (("b", (("node-1", 8),)), ("b", (("node-2", 4),)), ("a", (("node-2", 8),)), ("none", ())):
        with pytest.raises(EcoError):
            made.start(name, placement)
    with pytest.raises(EcoError):
        made.suspend("b")
    with pytest.raises(EcoError, match="17 GPUs"):
        made.submit(job("wide", gpus=17))
    with pytest.raises(EcoError, match="taken"):
        made.submit(job("a"))
    with pytest.raises(EcoError, match="back"):
        made.advance(at(-1.0))
    assert made.nodes()[1].gpus_free == 8


def test_state_survives_json() -> None:
    made = cluster(job("a", gpus=4, hours=0.5), job("b", gpus=12, hours=3.0), job("later", after_h=9.0))
    made.start("a", (("node-1", 4),))
    made.advance(at(1.0))
    made.start("b", (("node-1", 8), ("node-2", 4)))
    made.advance(at(2.0))
    again = EmulatedCluster.from_dict(json.loads(json.dumps(made.to_dict())), linear)
    assert again.to_dict() == made.to_dict()
    assert again.nodes() == made.nodes()
    assert again.statuses() == made.statuses()
    again.advance(at(9.0))
    assert [status.job.name for status in again.statuses()] == ["later"]
    with pytest.raises(DataError):
        EmulatedCluster.from_dict({"at": "yesterday"}, linear)


async def acted(
    actuator: ClusterActuator, point: str, value: float | None, placement: tuple[tuple[str, int], ...] = ()
) -> float | None:
    command = Command(point, value, "1", "test", placement)
    await actuator.write(command)
    return (await actuator.read_back(command)).value


def test_jobs_are_points_of_an_actuator() -> None:
    asyncio.run(_drive())


async def _drive() -> None:
    made = cluster(job("a", gpus=4))
    actuator = ClusterActuator(made, (250.0, 400.0))
    assert set(actuator.points) == {"a/run_flag", "a/gpu_cap_w"}
    assert [reading.value for reading in await actuator.read()] == [0.0, 400.0]
    assert await acted(actuator, "a/run_flag", 1.0, (("node-2", 4),)) == 1.0
    assert await acted(actuator, "a/run_flag", 1.0, (("node-2", 4),)) == 1.0
    assert await acted(actuator, "a/gpu_cap_w", 300.0) == 300.0
    assert made.statuses()[0].gpu_cap_w == 300.0
    assert await acted(actuator, "a/gpu_cap_w", None) == 400.0
    assert await acted(actuator, "a/run_flag", 0.0) == 0.0
    assert made.statuses()[0].phase is JobPhase.SUSPENDED
    await actuator.release()
    assert made.statuses()[0].placement == (("node-1", 4),)
    verdict = actuator.check(Command("a/gpu_cap_w", 100.0, "W", "test"))
    assert (verdict.kind, verdict.value) == (VerdictKind.CLIPPED, 250.0)
    assert actuator.check(Command("b/run_flag", 1.0, "1", "test")).kind is VerdictKind.REJECTED
    assert actuator.check(Command("a/run_flag", 0.5, "1", "test")).kind is VerdictKind.REJECTED
    with pytest.raises(DeviceError):
        await actuator.write(Command("b/run_flag", 1.0, "1", "test"))
    assert (await actuator.read(["b/run_flag"]))[0].value is None
