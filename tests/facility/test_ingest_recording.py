"""Recordings into the store: whole, in parts, real, and not what they should be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from facility.ingest import Recordings
from facility.recorder import Recorder
from facility.records import Point, Quality, Reading
from tests.facility.ingesting import readings, select, take
from tests.shared import shared

START = datetime(2025, 6, 3, tzinfo=UTC)
POINT = Point("a/x_c", "temperature", "degC", "a")


def write(folder: Path, *, close: bool = True) -> Path:
    recorder = Recorder(folder, part_rows=2)
    values = [1.0, None, float("inf"), 4.0]
    for second, value in enumerate(values):
        at = START + timedelta(seconds=second)
        recorder.add([Reading("a/x_c", value, "degC", at, Quality.GOOD, "d")], {POINT.name: POINT})
    if close:
        recorder.close()
    return folder


@pytest.mark.parametrize("close", [True, False])
def test_a_recording_whole_or_in_parts(tmp_path: Path, close: bool) -> None:
    (account,) = take(tmp_path, [Recordings()], write(tmp_path / "r", close=close)).ingested
    assert readings(tmp_path) == [
        (START, "a/x_c", 1.0, "degC", "good"),
        (START + timedelta(seconds=1), "a/x_c", None, "degC", "bad"),
        (START + timedelta(seconds=2), "a/x_c", None, "degC", "bad"),
        (START + timedelta(seconds=3), "a/x_c", 4.0, "degC", "good"),
    ]
    assert (account.good, account.bad, account.first, account.last) == (2, 2, START, START + timedelta(seconds=3))
    assert select(tmp_path, "SELECT DISTINCT source FROM readings") == [("r",)]


def test_the_folder_and_its_file_are_taken_alike(tmp_path: Path) -> None:
    folder = write(tmp_path / "r")
    result = take(tmp_path, [Recordings()], folder / "telemetry.parquet", tmp_path)
    assert [account.file for account in result.ingested] == [str(folder / "telemetry.parquet"), str(folder)]


def test_the_real_recording_is_taken_with_all_its_dirt(tmp_path: Path) -> None:
    path = shared("telemetry")
    few = tmp_path / "few"
    few.mkdir()
    rows = pl.read_parquet(path / "telemetry.parquet").filter(pl.col("point").str.starts_with("wx/"))
    rows.write_parquet(few / "telemetry.parquet")
    (few / "points.csv").write_bytes((path / "points.csv").read_bytes())
    (account,) = take(tmp_path, [Recordings()], few).ingested
    assert account.readings == len(rows)
    known = rows.filter(pl.col("value").is_finite())
    ((count, total),) = select(tmp_path, "SELECT count(value), sum(value) FROM readings")
    assert (count, total) == (len(known), pytest.approx(known["value"].sum()))
    assert account.good == len(known.filter(pl.col("quality") == "good"))


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pl.DataFrame({"ts": [START], "point": ["a/x_c"], "value": [1.0]}), "columns are missing: quality"),
        (
            pl.DataFrame({"ts": [START], "point": ["b/y"], "value": [1.0], "quality": ["good"]}),
            "points.csv does not list b/y",
        ),
        (pl.DataFrame({"ts": [START], "point": ["a/x_c"], "value": [1.0], "quality": ["fine"]}), "fine"),
        (
            pl.DataFrame(
                {"ts": [START], "point": ["a/x_c"], "value": [1.0], "quality": pl.Series([None], dtype=pl.String)}
            ),
            "rows without time, point or quality",
        ),
        (
            pl.DataFrame({"ts": [START.replace(tzinfo=None)], "point": ["a/x_c"], "value": [1.0], "quality": ["good"]}),
            "expected times with a time zone",
        ),
        (
            pl.DataFrame({"ts": [START], "point": ["a/x_c"], "value": ["warm"], "quality": ["good"]}),
            "cannot read the recording",
        ),
    ],
)
def test_what_is_no_recording_leaves_nothing(tmp_path: Path, frame: pl.DataFrame, said: str) -> None:
    folder = write(tmp_path / "r")
    frame.write_parquet(folder / "telemetry.parquet")
    assert said in str(take(tmp_path, [Recordings()], folder).failed[0][1])
    assert readings(tmp_path) == []


def test_a_damaged_file_fails_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second row group is spoilt: what came before it was written in the transaction, and is undone."""
    monkeypatch.setattr("facility.ingest.intake.BATCH_ROWS", 1)
    monkeypatch.setattr("facility.ingest.recording.BATCH_ROWS", 2)
    folder = write(tmp_path / "r")
    whole = pl.read_parquet(folder / "telemetry.parquet")
    spoilt = whole.with_columns(pl.Series("quality", ["good", "good", "good", "fine"]))
    spoilt.write_parquet(folder / "telemetry.parquet", row_group_size=2)
    assert "fine" in str(take(tmp_path, [Recordings()], folder).failed[0][1])
    assert readings(tmp_path) == []
    (folder / "telemetry.parquet").write_bytes(b"PAR1" + b"\xff" * 100)
    assert "cannot read the recording" in str(take(tmp_path, [Recordings()], folder).failed[0][1])
