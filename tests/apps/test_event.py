"""Demand response: on the running emulated building as the grid's operator orders it, and its report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from apps.event_record import Event, EventOrder, Phase, Touched
from apps.event_report import report
from apps.state_dir import StateDir, write_json
from facility.audit import SERVICE, Actor
from facility.errors import DataError
from facility.records import JOB_RUN_FLAG, Command, Mode, Quality, Reading
from facility.store import Store
from tests.apps.running import Running, eco_up, wait_for
from tests.apps.small_hall import small_hall
from tests.peers.redfish import in_a_loop

START = datetime(2023, 6, 1, 12, tzinfo=UTC)
METER = "meter-main/power_w"
ADA = Actor("Ada Lovelace", "operator")


def _order(shed_w: float = 10_000.0) -> EventOrder:
    return EventOrder(
        name="e",
        shed_w=shed_w,
        started_at=START,
        until=START + timedelta(minutes=30),
        person="Ada Lovelace",
        role="operator",
        why="feeder",
        baseline_w=40_000.0,
    )


def _touched(name: str, left_s: float | None, slack_s: float) -> Touched:
    deadline = START + timedelta(seconds=3600.0 + slack_s)
    return Touched(
        name=name, deadline=deadline, remaining_s=3600.0, gpu_cap_w=None, is_suspended=True, is_back=True, left_s=left_s
    )


def test_the_report_tells_response_energy_rebound_and_who_is_late(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "eco.duckdb", "r")
    watts = [40_000.0, 29_000.0, *[28_000.0] * 29, *[45_000.0] * 30]
    readings = [
        Reading(METER, power_w, "W", START + timedelta(minutes=minute), Quality.GOOD, "meter")
        for minute, power_w in enumerate(watts)
    ]
    store.append_readings(readings)
    event = Event(_order(), Phase.DONE, ended_at=START + timedelta(minutes=30), back_at=START + timedelta(minutes=40))
    for job in (_touched("late", 3600.0, 60.0), _touched("in-time", 3600.0, 7200.0), _touched("done", None, 0.0)):
        event.jobs[job.name] = job
    found = report(event, store, METER, "r")
    store.close()
    assert (found.response_s, found.held_pct) == (60.0, 100.0)
    assert found.shed_kwh == pytest.approx(12.0 * 0.5, rel=0.05)
    assert found.rebound_kwh == pytest.approx(5.0 * 28 / 60)
    assert found.rebound_peak_kw == 5.0
    assert (found.jobs_late, found.delay_s) == (("late",), 2400.0)


def test_what_was_not_metered_is_not_known(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "eco.duckdb", "r")
    found = report(Event(_order()), store, METER, "r")
    store.close()
    assert (found.response_s, found.shed_kwh, found.rebound_kwh, found.delay_s) == (None, None, None, None)


def test_an_event_comes_back_from_disk_as_it_was() -> None:
    event = Event(_order(), jobs={"a": _touched("a", 5.0, 1.0)}, setpoints={"crah-1/x_c": 24.0}, acted_at=START)
    assert Event.from_json(json.loads(json.dumps(event.to_json()))) == event


@in_a_loop
async def test_what_cannot_be_shed_is_refused_and_says_why(tmp_path: Path) -> None:
    shadow = small_hall(tmp_path / "shadow")
    with pytest.raises(DataError, match="nothing is written in mode shadow"):
        await shadow.control.order_event(1000.0, 600.0, ADA, "feeder")
    active = small_hall(tmp_path / "active", Mode.ACTIVE, timedelta(hours=8))
    with pytest.raises(DataError, match="no main meter is configured"):
        await active.control.order_event(1000.0, 600.0, ADA, "feeder")
    for hall in (shadow, active):
        hall.parts.store.close()


@in_a_loop
async def test_a_restarted_service_goes_on_with_the_event_and_withholds_starts(tmp_path: Path) -> None:
    state = StateDir(tmp_path).create()
    write_json(state.event, Event(_order()).to_json())
    hall = small_hall(tmp_path, Mode.ACTIVE, timedelta(hours=8))
    demand = hall.control.demand
    assert "holds load down" in demand.withholds(Command(f"job-1/{JOB_RUN_FLAG}", 1.0, "1", "next"))
    assert demand.withholds(Command(f"job-1/{JOB_RUN_FLAG}", 0.0, "1", "wait")) == ""
    (row,) = await demand.step(START + timedelta(minutes=31))
    assert (row.action, row.kind) == ("recovering", "event")
    (row,) = await demand.abandon(SERVICE, START + timedelta(minutes=32))
    assert row.action == "stopped"
    assert demand.withholds(Command(f"job-1/{JOB_RUN_FLAG}", 1.0, "1", "next")) == ""
    hall.parts.store.close()


def _power_w(running: Running) -> float:
    value = running.get("/v1/state")["points"][METER]["value"]
    return float(value or 0.0)


def _eco(state: Path, *arguments: str, token: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "apps.cli", *arguments, "--state", str(state)]
    environment = {**os.environ, "ECO_TOKEN": token}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def _token(state: Path, role: str) -> str:
    done = _eco(state, "token", "create", "Ada Lovelace", "--role", role, "--json")
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return str(made["token"])


def test_the_meter_of_the_emulated_hall_falls_by_15_kw_within_two_minutes(tmp_path: Path) -> None:
    with eco_up(tmp_path, "--no-ui", "--speed", "30") as running:
        wait_for(lambda: _power_w(running) > 40_000.0, "the hall to be busy")
        order = ("event", "--shed-kw", "15", "--for", "2m", "--why", "feeder 7", "--no-wait", "--json")
        assert _eco(tmp_path, *order, token=_token(tmp_path, "viewer")).returncode == 1
        done = _eco(tmp_path, *order, token=_token(tmp_path, "operator"))
        assert done.returncode == 0, done.stderr
        found = wait_for(lambda: _answered(running), "the meter to fall")
        assert found["response_s"] <= 180.0  # the meter is read once a minute
        assert found["person"] == "Ada Lovelace"
        assert found["jobs_suspended"] > 0
        inlets = [running.get("/v1/state")["points"][f"pdu-{i}/rack_inlet_c"]["value"] for i in (1, 2, 3, 4)]
        assert max(inlets) < 27.0
        wait_for(lambda: running.get("/v1/event")["phase"] == "watching", "all jobs to be back")
        rows = running.get("/v1/query/audit", kind="event")
        assert (rows[-1]["action"], rows[-1]["person"]) == ("ordered", "Ada Lovelace")
        caps = [job["gpu_cap_w"] for job in running.get("/v1/state")["jobs"]]
        assert set(caps) == {None}


def _answered(running: Running) -> dict[str, Any] | None:
    found: dict[str, Any] = running.get("/v1/event")
    return found if found["response_s"] is not None else None
