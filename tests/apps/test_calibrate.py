"""`eco calibrate` and `eco predict` on a made-up building: files, JSON, and what they say when something is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.twin.building import DAYS, START_US, building

START = datetime.fromtimestamp(START_US / 1e6, tz=UTC)
CUT = (START + timedelta(days=DAYS - 1)).isoformat()


def _eco(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "apps.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return building(7).write(tmp_path_factory.mktemp("building"))


@pytest.fixture(scope="module")
def files(folder: Path) -> list[str]:
    return [f"--telemetry={folder / 'telemetry.parquet'}", f"--points={folder / 'points.csv'}"]


@pytest.fixture(scope="module")
def card(folder: Path, files: list[str]) -> dict[str, object]:
    done = _eco(
        "calibrate",
        *files,
        f"--train-until={CUT}",
        f"--out={folder / 'm.eco'}",
        "--horizons=30",
        "--rounds=25",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert json.loads((folder / "m.eco.card.json").read_text(encoding="utf-8")) == printed
    assert isinstance(printed, dict)
    return printed


def test_the_card_says_where_the_model_comes_from(card: dict[str, object]) -> None:
    assert {"telemetry_sha256", "libraries", "window", "parameters", "residuals", "faults", "gains"} <= set(card)
    residuals = card["residuals"]
    assert isinstance(residuals, list)
    assert {entry["point"] for entry in residuals} == {"facility_kw", "pue", "rack_inlet_max_c"}


def test_predict_writes_one_row_for_each_issue_point_and_horizon(
    card: dict[str, object], folder: Path, files: list[str]
) -> None:
    out = folder / "forecast.parquet"
    common = [f"--model={folder / 'm.eco'}", *files, f"--from={CUT}", "--horizons=30", f"--out={out}", "--json"]
    done = _eco("predict", *common, "--known=it,setpoints")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)["forecasts"]
    assert [row["missing"] for row in summary] == [0, 0, 0]
    rows = pl.read_parquet(out)
    assert rows.columns == ["issue_ts", "target_ts", "point", "mean", "lo90", "hi90"]
    assert rows.schema["issue_ts"] == pl.Datetime("us", "UTC")
    assert rows.select("issue_ts", "target_ts", "point").is_duplicated().sum() == 0
    assert (rows["target_ts"] - rows["issue_ts"]).unique().to_list() == [timedelta(minutes=30)]
    assert rows["issue_ts"].unique().sort().diff().drop_nulls().unique().to_list() == [timedelta(minutes=5)]
    assert (rows["lo90"] <= rows["mean"]).all()
    assert (rows["mean"] <= rows["hi90"]).all()


def test_a_wrong_name_or_a_missing_file_is_one_line(folder: Path, files: list[str], card: dict[str, object]) -> None:
    common = [f"--model={folder / 'm.eco'}", *files, f"--from={CUT}", f"--out={folder / 'x.parquet'}"]
    assert _eco("predict", *common, "--known=weather").returncode == 2
    done = _eco("predict", *common, "--horizons=45")
    assert done.returncode == 1
    assert "not calibrated for [45] minutes" in done.stderr
    done = _eco("calibrate", "--telemetry=no.parquet", files[1], f"--train-until={CUT}", "--out=m.eco")
    assert done.returncode == 1
    assert "cannot read the recording" in done.stderr
