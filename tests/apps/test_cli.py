"""The command line: JSON alone on standard output, errors in one line, exit code 0 only on success."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared import shared

CARBON = "carbon/electricitymaps_US-CAL-CISO_2023_hourly.csv"
WEATHER = "weather/openmeteo_US-CAL-CISO_2023.json"
JOBS = "traces/pai2020_gaia_10k.csv"


def _eco(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "apps.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def _bench(carbon: Path, *more: str) -> subprocess.CompletedProcess[str]:
    files = [f"--carbon={carbon}", f"--weather={shared(WEATHER)}", f"--jobs={shared(JOBS)}"]
    return _eco("bench", "schedulers", *files, "--days=3", "--start=2023-06-01", "--json", *more)


def test_bench_schedulers_prints_an_account_for_each_policy(tmp_path: Path) -> None:
    series = tmp_path / "series.parquet"
    done = _bench(shared(CARBON), f"--series={series}")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["policy"] for row in rows] == ["fcfs", "wait-awhile"]
    for row in rows:
        product = row["it_kwh"] * row["pue"] * row["effective_ci_g_kwh"] / 1000.0
        assert row["carbon_kg"] == pytest.approx(product)
        assert row["cost_usd"] is None  # no price was given
    assert series.exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda lines: lines[:3000] + lines[3001:], "1 value(s) of carbon_intensity_g_kwh missing"),
        (
            lambda lines: [lines[0].replace("(LCA)", "(all)"), *lines[1:]],
            "no column for the lifecycle carbon intensity",
        ),
        (lambda lines: [lines[0], *(line.replace("US-CAL-CISO", "DE") for line in lines[1:])], "of DE"),
        (lambda lines: lines[:1], "gap.csv"),
        (lambda lines: [], "gap.csv"),
    ],
)
def test_a_spoilt_file_is_reported_not_swallowed(tmp_path: Path, spoil: object, said: str) -> None:
    lines = shared(CARBON).read_text(encoding="utf-8").splitlines()
    path = tmp_path / "gap.csv"
    path.write_text("\n".join(spoil(lines)), encoding="utf-8")  # type: ignore[operator]
    done = _bench(path)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_gap_is_filled_on_request_and_reported(tmp_path: Path) -> None:
    lines = shared(CARBON).read_text(encoding="utf-8").splitlines()
    path = tmp_path / "gap.csv"
    path.write_text("\n".join(lines[:3000] + lines[3001:]), encoding="utf-8")
    done = _bench(path, "--fill-gaps")
    assert done.returncode == 0, done.stderr
    assert "1 missing values were interpolated" in done.stderr
    assert json.loads(done.stdout)["inputs"]["signals"][0]["gaps"]


def test_bench_twin_states_its_batch() -> None:
    result = json.loads(_eco("bench", "twin", "--seconds=0.2", "--json").stdout)
    assert result["env_steps_per_s"] > 0
    assert result["batch"] == 1024


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("up", "--carbon=/none.csv"), "no such file"),
        (("up", "--for=soon"), "is no duration"),
        (("run", "--site=/none.toml"), "cannot read"),
        (("site", "check", "/none.toml"), "cannot read"),
    ],
)
def test_errors_say_what_was_wrong(arguments: tuple[str, ...], said: str) -> None:
    done = _eco(*arguments)
    assert done.returncode != 0
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
