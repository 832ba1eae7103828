"""Parking against the real API server, with real IPMI (ipmi_sim) and Redfish behind the switch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from facility.clock import WallClock
from facility.devices.chassis import Bmc, IpmiBmc, RedfishBmc
from facility.devices.ipmi import IpmiDevice
from facility.profile import load_profile
from facility.records import Mode
from facility.site import Device
from facility.site.site import Login
from scheduler.cluster.parking import Phase
from tests.apps.parking_lot import RULES, ParkingLot
from tests.peers import redfish
from tests.peers.apiserver import ApiServer, api_server
from tests.peers.ipmi_sim import PASSWORD, USER, build_module, ipmi_sim
from tests.peers.redfish import in_a_loop

HOST = "system-0/power_on_flag"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("kube")) as server:
        yield server


@pytest.fixture
def lot(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ParkingLot:
    monkeypatch.setenv("TEST_PASSWORD", redfish.PASSWORD)
    monkeypatch.setenv("BMC_PASSWORD", PASSWORD)
    return ParkingLot(api, tmp_path)


@asynccontextmanager
async def a_bmc() -> AsyncIterator[tuple[Bmc, redfish.Service]]:
    service = redfish.emulated_node()
    async with redfish.connected(service, "redfish-hgx") as device:
        await device.read()
        yield RedfishBmc(device, f"{device.name}/{HOST}", "System_0"), service


async def is_on(bmc: Bmc) -> bool:
    (reading,) = await bmc.device.read([bmc.flag])
    return reading.value == 1.0


@in_a_loop
async def test_a_node_is_parked_and_woken_in_time_over_redfish(lot: ParkingLot) -> None:
    lot.pod("web", app="web")
    lot.pod("exporter", owner="DaemonSet")
    async with a_bmc() as (bmc, _):
        parking, needs = lot.parking({"node-1": bmc}), lot.needed_in(6.0)
        await parking.step(needs)
        assert lot.is_cordoned()
        assert lot.phase() is Phase.DRAINING
        await parking.step(needs)  # evicts
        assert "web" not in lot.api.kubectl("get", "pods")
        await parking.step(needs)
        assert lot.phase() is Phase.PARKED
        assert not await is_on(bmc)
        assert "exporter" in lot.api.kubectl("get", "pods")
        lot.clock.advance(5 * 3600.0)
        await parking.step(needs)
        assert not await is_on(bmc)  # an hour left; a start takes 15 min with its margin
        lot.clock.advance(46 * 60.0)
        await parking.step(needs)
        assert await is_on(bmc)
        await parking.step(needs)  # what its kubelet said in its former life is no sign
        assert lot.phase() is Phase.WAKING
        lot.boots("node-1", "boot-2")
        await parking.step(needs)
        assert not lot.is_cordoned()
        assert lot.phase() is Phase.UP
        assert "eco-orchestrator.io/cordoned-by" not in lot.node()["metadata"]["annotations"]
        assert not parking.guard.left_over


@in_a_loop
async def test_a_real_bmc_over_ipmi_and_a_restart_at_every_step(lot: ParkingLot, tmp_path: Path) -> None:
    module = build_module(tmp_path)
    with ipmi_sim(tmp_path / "bmc", module) as peer:
        login = Login(user=USER, password="env:BMC_PASSWORD")
        settings = Device(
            name="node-1", protocol="ipmi", profile="ipmi-bmc", port=peer.port, ipmi=login, deadline_s=20.0
        )
        device = IpmiDevice(settings, load_profile("ipmi-bmc"), WallClock())
        bmcs, needs = {"node-1": IpmiBmc(device)}, lot.needed_in(6.0)
        try:
            await lot.parking(bmcs).step(needs)
            await lot.parking(bmcs).step(needs)
            assert lot.phase() is Phase.PARKED
            assert "Chassis Power is off" in peer.ipmitool("chassis", "power", "status")
            lot.clock.advance(6 * 3600.0)
            await lot.parking(bmcs).step(needs)
            assert "Chassis Power is on" in peer.ipmitool("chassis", "power", "status")
            lot.boots("node-1", "boot-2")
            await lot.parking(bmcs).step(needs)
            assert not lot.is_cordoned()
        finally:
            await device.close()


@in_a_loop
async def test_work_is_never_ended_to_park_a_node(lot: ParkingLot) -> None:
    for make, said in (
        (lambda: lot.pod("one", gpus=1), "it has GPUs"),
        (lambda: lot.pod("one", owner="Job"), "nobody would start it elsewhere"),
        (lambda: lot.pod("one", owner=""), "nobody would start it elsewhere"),
    ):
        make()
        async with a_bmc() as (bmc, _):
            parking = lot.parking({"node-1": bmc})
            await parking.step(lot.needed_in(6.0))
            assert said in parking.problems["node-1"]
            assert not lot.is_cordoned()
        lot.api.kubectl("delete", "pod", "one", "--force", "--grace-period=0")


@in_a_loop
async def test_a_pod_that_slips_in_keeps_the_node_on(lot: ParkingLot) -> None:
    async with a_bmc() as (bmc, _):
        parking, needs = lot.parking({"node-1": bmc}), lot.needed_in(6.0)
        await parking.step(needs)
        veto = parking._switches["node-1"]._veto  # asked between our own look and the switch

        async def after_a_stranger() -> str:
            lot.pod("late", owner="Job")
            return await veto()

        parking._switches["node-1"]._veto = after_a_stranger
        await parking.step(needs)
        assert "late is on it" in parking.problems["node-1"]
        assert await is_on(bmc)
        assert not lot.is_cordoned()


@in_a_loop
async def test_a_users_cordon_is_never_touched(lot: ParkingLot) -> None:
    lot.api.kubectl("cordon", "node-1")
    async with a_bmc() as (bmc, _):
        parking = lot.parking({"node-1": bmc})
        await parking.step(lot.needed_in(6.0))
        assert parking.problems["node-1"] == "somebody has cordoned it"
        lot.api.kubectl("uncordon", "node-1")
        await parking.step(lot.needed_in(6.0))
        lot.api.kubectl("annotate", "node", "node-1", "eco-orchestrator.io/cordoned-by-")  # it is theirs now
        await parking.step(lot.needed_in(6.0))
        assert lot.is_cordoned()
        assert lot.phase() is Phase.UP
        assert await is_on(bmc)


@in_a_loop
async def test_a_user_who_uncordons_wins(lot: ParkingLot) -> None:
    async with a_bmc() as (bmc, _):
        parking, needs = lot.parking({"node-1": bmc}), lot.needed_in(6.0)
        await parking.step(needs)
        lot.api.kubectl("uncordon", "node-1")
        await parking.step(needs)
        assert lot.phase() is Phase.UP
        await parking.step(needs)
        assert "up since" in parking.problems["node-1"]
        assert await is_on(bmc)


@in_a_loop
async def test_a_pod_that_does_not_leave_ends_the_attempt(lot: ParkingLot) -> None:
    lot.pod("web")
    patch = '{"metadata": {"finalizers": ["example.org/keep"]}}'
    lot.api.kubectl("patch", "pod", "web", "--type=merge", "-p", patch)
    async with a_bmc() as (bmc, _):
        parking, needs = lot.parking({"node-1": bmc}), lot.needed_in(6.0)
        for _ in range(3):
            await parking.step(needs)
        assert parking.problems["node-1"] == "1 pods are leaving"
        lot.clock.advance(700.0)
        await parking.step(needs)
        assert not lot.is_cordoned()
        assert await is_on(bmc)
    lot.api.kubectl("patch", "pod", "web", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


@in_a_loop
async def test_floor_cycles_times_and_modes(lot: ParkingLot) -> None:
    async with a_bmc() as (bmc, _):
        parking = lot.parking({"node-1": bmc})
        for rules, needs, said in (
            (replace(RULES, is_enabled=False), lot.needed_in(6.0), "switched off"),
            (replace(RULES, nodes=()), lot.needed_in(6.0), "allow-list"),
            (replace(RULES, warm_floor=2), lot.needed_in(6.0), "only 1 other GPU nodes"),
            (replace(RULES, cycles_per_day=0), lot.needed_in(6.0), "parked 0 times"),
            (RULES, lot.needed_in(1.0), "it is needed at"),
            (RULES, {}, "it is needed at"),
        ):
            parking.rules = rules
            await parking.step(needs)
            assert said in parking.problems["node-1"]
        shadow = lot.parking({"node-1": bmc}, Mode.SHADOW)
        await shadow.step(lot.needed_in(6.0))
        assert not lot.is_cordoned()


@in_a_loop
async def test_a_server_that_does_not_answer_stops_everything(lot: ParkingLot) -> None:
    async with a_bmc() as (bmc, _):
        parking, needs = lot.parking({"node-1": bmc}), lot.needed_in(6.0)
        await parking.step(needs)
        with lot.api.hanging():
            await parking.step(needs)
        assert parking.problems["node-1"].startswith("nothing is done: ")
        assert await is_on(bmc)
        await parking.step(needs)
        assert lot.phase() is Phase.PARKED
        assert await parking.wake_all() == []
        assert await is_on(bmc)


@in_a_loop
async def test_a_node_that_ignores_the_request_is_given_up(lot: ParkingLot) -> None:
    async with a_bmc() as (bmc, service):
        service.moods.is_deaf = True
        parking, needs = lot.parking({"node-1": bmc}), lot.needed_in(6.0)
        parking.rules = replace(RULES, shutdown_s=60.0)
        await parking.step(needs)
        await parking.step(needs)
        assert parking.problems["node-1"] == "it is shutting down"
        assert lot.is_cordoned()
        lot.clock.advance(90.0)
        await parking.step(needs)
        assert not lot.is_cordoned()
        await asyncio.sleep(0)
