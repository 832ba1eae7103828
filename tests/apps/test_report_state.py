"""`eco report` of a running service, and of its state directory once it has ended: the same figures."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from apps.cli import app
from facility.errors import ConfigError, EcoError
from facility.records import Quality, Reading
from facility.store import Store
from tests.apps.report_site import START
from tests.apps.running import eco_up, wait_for


def _kpis(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["report", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)["kpis"]
    return found


def test_a_state_directory_and_a_live_service_in_it_give_the_same_figures(tmp_path: Path) -> None:
    """Two hours that have ended; then a service runs in the directory, owns the store, and is asked instead."""
    command = [sys.executable, "-m", "apps.cli", "up", "--no-ui", "--for", "2h", "--speed", "600", "--json"]
    done = subprocess.run([*command, "--state", str(tmp_path)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    span = [f"--from={summary['start']}", f"--to={summary['end']}", "--standard=all"]
    offline = _kpis(f"--state={tmp_path}", *span)
    _agrees(offline, summary)
    with eco_up(tmp_path, "--no-ui", "--speed", "1") as running:
        url = wait_for(lambda: running.read("api.json")["url"], "the service")
        wait_for(lambda: running.get("/v1/about"), "its answer")
        live = _kpis(f"--state={tmp_path}", *span)
        asked = _kpis(f"--url={url}", f"--token=file:{tmp_path / 'api.token'}", *span)
        (tmp_path / "other.token").write_text("another", encoding="utf-8")
        with pytest.raises(ConfigError, match="the service refused the token"):
            _kpis(f"--url={url}", f"--token=file:{tmp_path / 'other.token'}", *span)
    for key in ("pue", "pue_category_1", "cer", "wue", "mlc", "elc", "embodied_kg"):
        assert live[key] == asked[key]
        # The live service has read on, which closes the last interval of each meter.
        assert live[key]["value"] == pytest.approx(offline[key]["value"], rel=0.03), key
        assert live[key]["coverage_pct"] == pytest.approx(offline[key]["coverage_pct"], abs=3.0), key
    assert live["cue"]["value"] > 0


def _agrees(kpis: dict[str, Any], summary: dict[str, Any]) -> None:
    """With the account of the run itself, which makes no difference between readings that are good and uncertain."""
    assert kpis["pue"]["value"] == pytest.approx(summary["pue"], rel=0.05)  # of other parts of a span with gaps
    assert kpis["cue"]["value"] == pytest.approx(summary["carbon_kg"] / summary["it_kwh"], rel=0.05)
    assert kpis["pue"]["category"] == 3
    assert 1.0 < kpis["pue_category_1"]["value"] < kpis["pue"]["value"]
    assert "synthetic" in kpis["cue"]["note"]
    for key in ("cer", "wue", "mlc", "elc"):
        assert kpis[key]["value"] > 0


def _store(path: Path) -> Store:
    """Ten hours of two powers, each minute, in a store that no run has written."""
    store = Store.open(path)
    store.append_readings(
        [
            Reading(point, kw * 1e3, "W", START + timedelta(minutes=minute), quality, "meter")
            for minute in range(601)
            for point, kw in (("main/power_w", 150.0), ("pdu-1/power_w", 100.0))
            for quality in (Quality.UNCERTAIN if 300 <= minute < 420 and point == "main/power_w" else Quality.GOOD,)
        ]
    )
    return store


def test_a_store_without_a_run_is_opened_only_to_read(tmp_path: Path) -> None:
    _store(tmp_path / "eco.duckdb").close()
    before = (tmp_path / "eco.duckdb").read_bytes()
    kpis = _kpis(f"--state={tmp_path}")
    assert kpis["pue"]["value"] == pytest.approx(1.5)
    assert kpis["pue"]["coverage_pct"] == pytest.approx(100 * (600 - 121) / 600, abs=0.1)  # uncertain is not good
    assert (tmp_path / "eco.duckdb").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["eco.duckdb"]


def test_a_store_that_another_process_owns_says_so(tmp_path: Path) -> None:
    store = _store(tmp_path / "eco.duckdb")
    command = [sys.executable, "-m", "apps.cli", "report", "--state", str(tmp_path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    finally:
        store.close()
    assert done.returncode == 1
    assert "another process has it open" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_store_and_a_service_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "eco.duckdb").write_text("not a database", encoding="utf-8")
    with pytest.raises(EcoError, match=r"eco\.duckdb"):
        _kpis(f"--state={tmp_path}")
    (tmp_path / "token").write_text("t", encoding="utf-8")
    with pytest.raises(ConfigError, match="check the address"):
        _kpis("--url=http://127.0.0.1:9", f"--token=file:{tmp_path / 'token'}")
    (tmp_path / "token").write_text("two words", encoding="utf-8")
    with pytest.raises(ConfigError, match="no single word"):
        _kpis("--url=http://127.0.0.1:9", f"--token=file:{tmp_path / 'token'}")
