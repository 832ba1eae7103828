"""`eco whatif`: one question on the command line, with recorded and with made-up signals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.shared import shared

CARBON = "carbon/electricitymaps_US-CAL-CISO_2022_hourly.csv"
WEATHER = "weather/openmeteo_US-CAL-CISO_2022.json"
PRICE = "prices/dayahead_US-CAL-CISO_2021_2023_usd_mwh.csv"


def _eco(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "apps.cli", "whatif", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def _recorded(*arguments: str) -> subprocess.CompletedProcess[str]:
    files = [f"--carbon={shared(CARBON)}", f"--weather={shared(WEATHER)}", f"--price={shared(PRICE)}"]
    return _eco(*files, "--start=2022-07-11", *arguments)


def test_a_week_of_recorded_signals_is_answered_with_bands_and_hours(tmp_path: Path) -> None:
    out = tmp_path / "series.parquet"
    done = _recorded("--question=warmer-supply", f"--series={out}", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["delta"]["facility_kwh"]["hi90"] < 0 < answer["delta"]["it_kwh"]["lo90"]
    assert answer["is_synthetic"] is False
    assert answer["calibrated"] is None
    for case in ("baseline", "scenario"):
        figures = answer[case]["account"]
        assert figures["cost_usd"] is None  # the site file knows no tariff
        assert figures["wholesale_usd"]["mean"] > 0
        assert sum(limit["kind"] == "capacity" for limit in answer[case]["limits"]) >= 8
    rows = pl.read_parquet(out)
    assert rows.group_by("case").len()["len"].to_list() == [168, 168]


def test_free_combinations_and_shared_settings_on_made_up_signals() -> None:
    done = _eco("--set=supply_air_c=26", "--base=utilisation=0.8", "--days=1", "--draws=4", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["is_synthetic"] is True
    assert answer["baseline"]["case"]["utilisation"] == answer["scenario"]["case"]["utilisation"] == 0.8
    assert answer["scenario"]["case"]["supply_air_c"] == 26.0


def test_the_table_is_for_people() -> None:
    done = _eco("--question=lose-crah", "--days=1", "--draws=4")
    assert done.returncode == 0, done.stderr
    assert "27 C: not within two hours" in done.stdout
    assert "synthetic signals" in done.stdout
    assert "humidity to be treated" in done.stdout


def test_the_catalogue_is_listed_with_its_parameters() -> None:
    listed = json.loads(_eco("--list", "--json").stdout)
    assert len(listed["questions"]) >= 12
    assert "supply_air_offset_k" in listed["parameters"]
    assert "warmer-supply" in _eco("--list").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--question=heat",), "no question is called"),
        (("--set=supply=3",), "sets nothing"),
        (("--question=warmer-supply", "--set=supply_air_offset_k=8"), "asked between -6 and 6"),
        (("--set=utilisation=2",), "utilisation"),
        (("--set=crahs_lost=8",), "the site has 7"),
        (("--carbon=/none.csv",), "no such file"),
    ],
)
def test_errors_say_what_to_do(arguments: tuple[str, ...], said: str) -> None:
    done = _eco(*arguments)
    assert done.returncode == 1
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_recorded_signals_are_not_compared_with_made_up_ones() -> None:
    done = _recorded("--question=other-region")
    assert done.returncode == 1
    assert "no signals of DE" in done.stderr
