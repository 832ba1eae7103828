"""What a killed run left in command, at the next start: taken over or given back, and an event says which."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from apps.assembly import identity
from apps.run_config import RunConfig
from apps.service import Service
from apps.state_dir import StateDir, write_json
from facility.clock import WallClock
from facility.records import Mode
from facility.site import load_site
from tests.apps.every_protocol import Dead, SiteFile
from tests.facility.test_faults import Peer, modbus, shown
from tests.peers.redfish import in_a_loop

POINT = "crah-1/supply_air_setpoint_c"


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    return modbus(tmp_path)


def service_on(peer: Peer, tmp_path: Path) -> Service:
    """A run in shadow mode on one air handler, which an earlier run left in command."""
    site = SiteFile(tmp_path, ExitStack(), Dead(0, 0, 0, 0))
    site.add("crah-1", "modbus", profile=peer.settings.profile, port=peer.settings.port, deadline_s=2.0)
    state = StateDir(tmp_path / "state").create()
    path = site.write()
    write_json(state.journal, {"site": identity(load_site(path)), "before": {POINT: 18.0}})
    config = RunConfig(run="r", site=str(path), mode=Mode.SHADOW, start=datetime(2024, 5, 1, tzinfo=UTC))
    return Service(config, state, WallClock())


def events(service: Service) -> list[tuple[str, Any]]:
    rows = service.store.query("events").to_pylist()
    return [(row["kind"], json.loads(row["payload"])["points"]) for row in rows if row["subject"] == "left_over"]


@in_a_loop
async def test_a_run_that_only_looks_on_gives_it_back_and_says_so(peer: Peer, tmp_path: Path) -> None:
    service = service_on(peer, tmp_path)
    async with service._parts as parts:
        with peer.start():
            await parts.read_all()
            await service.heart.at_start()
            assert events(service) == [("given_back", [POINT])]
            assert parts.loop.guard.left_over == frozenset()
            assert await shown(parts.devices[0], peer) == peer.own


@in_a_loop
async def test_a_device_that_is_away_at_the_start_is_given_back_when_it_comes(peer: Peer, tmp_path: Path) -> None:
    service = service_on(peer, tmp_path)
    async with service._parts as parts:
        await parts.read_all()
        await service.heart.at_start()
        assert events(service) == []
        assert any("crah-1" in problem for problem in service.health()["problems"])
        with peer.start():
            await parts.read_all()
            await service.heart.beat()
            assert events(service) == [("given_back", [POINT])]
            assert parts.loop.guard.left_over == frozenset()
            await service.heart.beat()  # nothing is left to be said
            assert len(events(service)) == 1
