"""Recordings are written in parts, survive a crash, and replay to the very same rows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facility.clock import ManualClock
from facility.collector import Collector, Polled
from facility.devices.replay import ReplayDevice
from facility.errors import ConfigError
from facility.recorder import Recorder, Summary
from facility.recording import load_recording, recording_parts
from facility.records import Point, Quality, Reading
from tests.facility.memory import MemoryActuator
from tests.shared import shared

START = datetime(2022, 7, 1, 12, 0, 0, 123457, tzinfo=UTC)
X = Point("a/x_c", "temperature", "degC", "a", 'supply, the "cold" side', writable=True, min=-1e-300, max=30.1)
Y = Point("007/y", "count", "", "007")
POINTS = {point.name: point for point in (X, Y)}


def reading(point: str, second: float, value: float | None, quality: Quality = Quality.GOOD) -> Reading:
    return Reading(point, value, POINTS[point].unit, START + timedelta(seconds=second), quality, "test")


def write(folder: Path, readings: Iterable[Reading], part_rows: int = 3) -> Summary:
    recorder = Recorder(folder, part_rows=part_rows)
    for one in readings:
        recorder.add([one], POINTS)
    return recorder.close()


def copy(source: Path, target: Path) -> pl.DataFrame:
    recording = load_recording(source)
    recorder = Recorder(target)
    recorder.add(list(ReplayDevice("r", recording, ManualClock(START)).history()), recording.points)
    recorder.close()
    return pl.read_parquet(target / "telemetry.parquet")


def bits(frame: pl.DataFrame) -> list[tuple[object, ...]]:
    """Rows in which only bit-equal values are equal: 0.0 and -0.0 are not."""
    return [(ts, point, None if value is None else value.hex(), quality) for ts, point, value, quality in frame.rows()]


DIRT = [
    reading("a/x_c", 2, 0.1 + 0.2),
    reading("a/x_c", 1, -0.0),  # late
    reading("007/y", 1, 5e-324, Quality.UNCERTAIN),
    reading("a/x_c", 2, 0.1 + 0.2),  # doubled
    reading("a/x_c", 2, 0.30000000000000004, Quality.BAD),  # of the same time, and another
    reading("007/y", 3, None),  # said to be good, and missing
    reading("007/y", 3, None, Quality.BAD),
    reading("a/x_c", 4, float("inf")),
]


def test_a_recording_has_the_documented_form(tmp_path: Path) -> None:
    summary = write(tmp_path / "r", DIRT)
    assert sorted(os.listdir(tmp_path / "r")) == ["points.csv", "telemetry.parquet"]
    frame = pl.read_parquet(tmp_path / "r" / "telemetry.parquet")
    assert frame.schema == {
        "ts": pl.Datetime("us", "UTC"),
        "point": pl.String,
        "value": pl.Float64,
        "quality": pl.String,
    }
    by_time = sorted(DIRT, key=lambda one: one.measured_at)
    assert frame.rows() == [(one.measured_at, one.point, one.value, one.quality.value) for one in by_time]
    assert load_recording(tmp_path / "r").points == POINTS
    assert (summary.rows, summary.good, summary.bad, summary.uncertain, summary.points) == (8, 5, 2, 1, 2)
    assert (summary.first, summary.last) == (by_time[0].measured_at, by_time[-1].measured_at)


def test_a_replay_recorded_again_is_bit_equal(tmp_path: Path) -> None:
    write(tmp_path / "r", DIRT)
    again = copy(tmp_path / "r", tmp_path / "again")
    assert bits(again) == bits(pl.read_parquet(tmp_path / "r" / "telemetry.parquet"))
    assert (tmp_path / "again" / "points.csv").read_bytes() == (tmp_path / "r" / "points.csv").read_bytes()


ROWS = st.lists(
    st.builds(
        reading,
        st.sampled_from(sorted(POINTS)),
        st.integers(0, 5).map(float),
        st.none() | st.floats(allow_nan=False),
        st.sampled_from(Quality),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=25, deadline=None)
@given(rows=ROWS)
def test_any_rows_survive_the_way_there_and_back(tmp_path_factory: pytest.TempPathFactory, rows: list[Reading]) -> None:
    folder = tmp_path_factory.mktemp("any")
    write(folder / "r", rows)
    assert bits(copy(folder / "r", folder / "again")) == bits(pl.read_parquet(folder / "r" / "telemetry.parquet"))


def test_two_days_of_the_real_recording_are_copied_bit_by_bit(tmp_path: Path) -> None:
    first = datetime(2022, 7, 3, tzinfo=UTC)
    rows = (
        pl.scan_parquet(shared("telemetry/telemetry.parquet"))
        .filter(pl.col("ts").is_between(first, first + timedelta(days=1)))
        .with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")), pl.col("value").fill_nan(None))
        .collect()
    )
    (tmp_path / "r").mkdir()
    rows.write_parquet(tmp_path / "r" / "telemetry.parquet")
    (tmp_path / "r" / "points.csv").write_bytes(shared("telemetry/points.csv").read_bytes())
    again = copy(tmp_path / "r", tmp_path / "again")
    assert again.equals(rows.sort("ts", maintain_order=True), null_equal=True)


async def test_what_a_collector_hears_of_a_replay_is_what_was_recorded(tmp_path: Path) -> None:
    points = [Point(f"m/{name}", "power", "W", "m") for name in ("b_w", "a_w")]
    device = MemoryActuator(points, {"m/b_w": 0.1, "m/a_w": -0.0})
    recorder = Recorder(tmp_path / "live")

    async def keep(readings: list[Reading]) -> None:
        recorder.add(readings, device.points)

    live = Collector([Polled(device, 1.0, 1.0)], ManualClock(datetime.now(UTC)), keep)
    for step in range(5):
        device.values["m/b_w"] = 1.0 / (step + 3)
        await live.poll(Polled(device, 1.0, 1.0))
    recorder.close()
    heard = pl.read_parquet(tmp_path / "live" / "telemetry.parquet")
    assert set(heard["point"]) == set(device.points)  # the collector's own points are not the building's

    recording = load_recording(tmp_path / "live")
    clock = ManualClock(recording.start)
    replay = ReplayDevice("r", recording, clock)
    again = Recorder(tmp_path / "again")

    async def keep_again(readings: list[Reading]) -> None:
        again.add(readings, replay.points)

    collector = Collector([Polled(replay, 1.0, 1.0)], clock, keep_again)
    for at in heard["ts"].unique(maintain_order=True):
        clock.advance((at - clock.now()).total_seconds())
        await collector.poll(Polled(replay, 1.0, 1.0))
    again.close()
    assert bits(pl.read_parquet(tmp_path / "again" / "telemetry.parquet")) == bits(heard)


CRASHING = """
import os, signal, sys
from pathlib import Path
from facility.recorder import Recorder
from tests.facility.test_recording import POINTS, reading
recorder = Recorder(Path(sys.argv[1]), part_rows=4)
for second in range(10):
    recorder.add([reading("a/x_c", second, float(second))], POINTS)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_recorder_loses_at_most_the_last_part(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", CRASHING, str(tmp_path / "r")], check=False)
    assert died.returncode == -signal.SIGKILL
    assert [part.name for part in recording_parts(tmp_path / "r")] == [
        "telemetry-000001.parquet",
        "telemetry-000002.parquet",
    ]
    recording = load_recording(tmp_path / "r")
    assert recording.tracks["a/x_c"].value.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def test_a_long_recording_stays_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facility.recorder.MERGE_ROWS", 7)
    assert write(tmp_path / "r", DIRT).files == 3
    recording = load_recording(tmp_path / "r")
    assert recording.tracks["a/x_c"].ts_us.tolist() == sorted(recording.tracks["a/x_c"].ts_us.tolist())
    assert sum(len(track.row) for track in recording.tracks.values()) == len(DIRT)


def test_an_older_recording_is_not_written_over(tmp_path: Path) -> None:
    write(tmp_path / "r", DIRT)
    with pytest.raises(ConfigError, match="holds a recording already"):
        Recorder(tmp_path / "r")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot make the folder"):
        Recorder(tmp_path / "file" / "r")


def test_nothing_heard_is_an_empty_folder_with_its_points(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r")
    recorder.add([], POINTS)
    summary = recorder.close()
    assert (summary.rows, summary.files, summary.first) == (0, 0, None)
    assert (tmp_path / "r" / "points.csv").read_text().count("\n") == 3
