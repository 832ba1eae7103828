"""The exporters of the emulated hall: what they give is what the plant takes, under the names of the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from apps.emulator.building import Building
from apps.emulator.exporter import DcgmCollector, KeplerCollector, Node, exporter_app, snapshot
from apps.emulator.world import read_world
from facility.records import Job, WorkClass
from facility.site import load_site

START = datetime(2024, 5, 1, tzinfo=UTC)
Rows = dict[str, list[tuple[dict[str, str], float]]]


@pytest.fixture
def building() -> Building:
    """The reference hall with one job on three GPUs of node-2."""
    hall = load_site().hall
    made = Building(hall, read_world(None, []), START, seed=1)
    job = Job("train", START, 3, 36_000.0, START + timedelta(days=1), True, WorkClass.COMPUTE_BOUND)
    made.cluster.submit(job)
    made.cluster.start("train", (("node-2", 3),))
    made.advance(START + timedelta(minutes=5))
    return made


def _look(building: Building) -> Callable[[], tuple[datetime, list[Node]]]:
    return lambda: (building.at, snapshot(building))


def _scrape(app: FastAPI) -> Rows:
    """Labels and value of each sample, by the sample's name."""

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://exporter") as client:
            return await client.get("/metrics")

    answer = asyncio.run(ask())
    assert answer.status_code == 200
    rows: Rows = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            rows.setdefault(sample.name, []).append((sample.labels, sample.value))
    return rows


def test_dcgm_gives_every_gpu_and_names_the_pod_of_a_busy_one(building: Building) -> None:
    rows = _scrape(exporter_app(DcgmCollector(_look(building))))["DCGM_FI_DEV_POWER_USAGE"]
    hall = building.hall
    assert len(rows) == len(hall.node_names) * hall.node.gpu.per_node
    busy = [(labels, watts) for labels, watts in rows if labels["pod"]]
    assert {labels["pod"] for labels, _ in busy} == {"train-node-2"}
    assert [(labels["Hostname"], labels["gpu"]) for labels, _ in busy] == [("node-2", gpu) for gpu in "012"]
    assert len({labels["UUID"] for labels, _ in rows}) == len(rows)
    taken = building.cluster.gpu_power_w()[1]
    assert sum(watts for _, watts in busy) == pytest.approx(taken.busy_w, rel=1e-3)


def test_energy_counts_the_buildings_own_time(building: Building) -> None:
    app = exporter_app(DcgmCollector(_look(building)))
    _scrape(app)
    building.advance(START + timedelta(minutes=65))
    rows = _scrape(app)
    energy_mj = {labels["UUID"]: value for labels, value in rows["DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"]}
    for labels, watts in rows["DCGM_FI_DEV_POWER_USAGE"]:
        assert energy_mj[labels["UUID"]] == pytest.approx(watts * 3600.0 * 1000.0, rel=0.05)


def test_kepler_gives_pods_their_share_of_the_nodes_processors(building: Building) -> None:
    app = exporter_app(KeplerCollector(_look(building)))
    _scrape(app)
    building.advance(START + timedelta(minutes=65))
    rows = _scrape(app)
    platform = {labels["node_name"]: watts for labels, watts in rows["kepler_platform_watts"]}
    assert set(platform) == set(building.hall.node_names)
    joules = {(one["node_name"], one["zone"]): value for one, value in rows["kepler_node_cpu_joules_total"]}
    pods = {(one["pod_name"], one["zone"]): value for one, value in rows["kepler_pod_cpu_joules_total"]}
    assert set(pods) == {("train-node-2", "package"), ("train-node-2", "dram")}
    share = 3.0 / building.hall.node.gpu.per_node
    assert pods["train-node-2", "package"] == pytest.approx(share * joules["node-2", "package"], rel=1e-6)
    assert 0.0 < sum(joules["node-2", zone] for zone in ("package", "dram")) < platform["node-2"] * 3600.0
    assert {labels["pod_namespace"] for labels, _ in rows["kepler_pod_cpu_joules_total"]} == {"training"}
