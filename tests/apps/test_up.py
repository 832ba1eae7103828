"""The main job, end to end: building, service and account as the command line runs them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from facility.profile import load_profile
from facility.profile_point import ProfilePoint
from tests.apps.running import Running, eco_up, wait_for
from tests.peers.require import require_program
from tests.shared import shared

SUPPLY_SETPOINT = "crah-1/supply_air_setpoint_c"


def _eco(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "apps.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def test_two_hours_end_by_themselves_with_a_summary(tmp_path: Path) -> None:
    done = _eco("up", "--no-ui", "--for", "2h", "--speed", "600", "--json", "--state", str(tmp_path))
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["ticks"] == summary["decisions"]
    # A tick that a busy machine overruns is skipped, never made up for; it is counted.
    assert 1 <= summary["ticks"] <= 8
    assert summary["ticks"] + summary["ticks_missed"] == 8
    assert summary["coverage_pct"] > 90.0
    assert set(summary["verdicts"]) == {"accepted", "clipped", "rejected"}
    assert summary["verdicts"]["accepted"] > 0
    assert summary["readings"] > 1000
    assert 1.0 < summary["pue"] < 2.0
    assert summary["facility_kwh"] == pytest.approx(summary["pue"] * summary["it_kwh"])
    assert summary["carbon_kg"] > 0


def test_real_signals_and_a_real_trace(tmp_path: Path) -> None:
    options = [
        f"--carbon={shared('carbon/electricitymaps_US-CAL-CISO_2023_hourly.csv')}",
        f"--weather={shared('weather/openmeteo_US-CAL-CISO_2023.json')}",
        f"--jobs={shared('traces/pai2020_gaia_10k.csv')}",
    ]
    done = _eco("up", "--no-ui", "--for", "1h", "--speed", "600", "--json", "--state", str(tmp_path), *options)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert "synthetic" not in summary["signals"]
    assert summary["start"].startswith("2023-01-0")


def test_a_second_run_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    runs = [
        json.loads(_eco("up", "--no-ui", "--for", "30m", "--speed", "600", "--json", "--state", str(tmp_path)).stdout)
        for _ in range(2)
    ]
    assert runs[1]["start"] >= runs[0]["end"]
    assert runs[1]["decisions"] + runs[1]["ticks_missed"] in (1, 2, 3)


def test_kill_9_of_the_service_loses_nothing_and_the_building_falls_back(tmp_path: Path) -> None:
    with eco_up(tmp_path, "--no-ui", "--speed", "240") as running:
        running.wait_for_decisions(2)
        assert _effective_setpoint(running) > 18.5  # raised from the building's own 18 C
        acknowledged = wait_for(lambda: running.get("/v1/health"), "health")
        kept = running.get("/v1/query/counts")
        os.kill(acknowledged["pid"], signal.SIGKILL)
        (running.state / "api.json").unlink()
        wait_for(lambda: not _is_remote(running), "the building's own control")
        wait_for(lambda: running.read("api.json")["pid"] != acknowledged["pid"], "the restarted service")
        again = wait_for(lambda: running.get("/v1/query/counts"), "the store")
        assert _count(again, "readings") >= _count(kept, "readings") >= acknowledged["readings_acknowledged"]
        running.wait_for_decisions(4)
        wait_for(lambda: _is_remote(running), "control taken again")
        events = [(row["kind"], row["subject"]) for row in running.get("/v1/query/events")]
        assert ("taken_over", "left_over") in events
    assert json.loads((tmp_path / "written.json").read_text())["before"] == {}


def _count(rows: list[dict[str, object]], name: str) -> int:
    return int(str(rows[0][name]))


def test_a_setpoint_written_by_mbpoll_is_seen_by_the_collector(tmp_path: Path) -> None:
    with eco_up(tmp_path, "--no-ui", "--speed", "60") as running:
        wait_for(lambda: running.get("/v1/state")["points"][SUPPLY_SETPOINT]["value"], "a reading")
        _mbpoll(running, "supply_air_setpoint_c", "19.25")
        wait_for(
            lambda: running.get("/v1/state")["points"][SUPPLY_SETPOINT]["value"] == 19.25, "the collector to see it"
        )


def _register(name: str) -> ProfilePoint:
    return next(point for point in load_profile("emulated-crah").point if point.name == name)


def _mbpoll(running: Running, name: str, *values: str) -> str:
    """Read or write a register of crah-1 with mbpoll: the emulated building as any other program sees it."""
    mbpoll = require_program("mbpoll", "apt-get install mbpoll")
    point = _register(name)
    assert point.address is not None
    form = "4:float" if point.type == "float32" else "4"
    reach = ["-m", "tcp", "-p", str(running.read("ports.json")["crah-1"]), "-a", "1", "-t", form, "-B", "-1"]
    reference = str(point.address + 1)  # mbpoll counts from 1
    done = subprocess.run(
        [mbpoll, *reach, "-r", reference, "127.0.0.1", *values], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _crah(running: Running, name: str) -> float:
    found = re.search(r"\[\d+\]:\s*(-?[\d.]+)", _mbpoll(running, name))
    assert found is not None
    return float(found[1])


def _effective_setpoint(running: Running) -> float:
    return _crah(running, "supply_air_effective_c")


def _is_remote(running: Running) -> bool:
    return _crah(running, "remote_active_flag") == 1.0


def test_a_state_directory_does_not_go_back_in_time(tmp_path: Path) -> None:
    first = _eco("up", "--no-ui", "--for", "15m", "--speed", "600", "--state", str(tmp_path))
    assert first.returncode == 0, first.stderr
    again = _eco("up", "--no-ui", "--for", "15m", "--start", "2020-01-01T00:00", "--state", str(tmp_path))
    assert again.returncode != 0
    assert "time does not go back" in again.stderr
