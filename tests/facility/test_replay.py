"""Replay of the recorded hall, and of recordings that are not what they should be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from facility.clock import ManualClock
from facility.devices import open_device
from facility.devices.replay import ReplayDevice
from facility.errors import DataError, DeviceError
from facility.recording import Recording, load_recording
from facility.records import Command, Quality, VerdictKind
from facility.site import Device
from tests.shared import shared

START = datetime(2022, 7, 1, tzinfo=UTC)
POINTS = (
    "point,kind,unit,equipment,description,writable,min,max\na/x_c,temperature,degC,a,,1,10,30\na/y_w,power,W,a,,0,,\n"
)


@pytest.fixture(scope="module")
def hall() -> Recording:
    return load_recording(shared("telemetry"))


def make(folder: Path, rows: Sequence[tuple[float, str, float | None, str]], points: str = POINTS) -> Path:
    """A recording of (minute, point, value, quality)."""
    frame = pl.DataFrame(
        {
            "ts": [START + timedelta(minutes=minute) for minute, *_ in rows],
            "point": [row[1] for row in rows],
            "value": pl.Series([row[2] for row in rows], dtype=pl.Float64),
            "quality": [row[3] for row in rows],
        },
        schema_overrides={"ts": pl.Datetime("ms", "UTC")},
    )
    frame.write_parquet(folder / "telemetry.parquet")
    (folder / "points.csv").write_text(points)
    return folder


async def test_the_recorded_hall_is_read_as_of_the_clock(hall: Recording) -> None:
    assert len(hall.points) == 67
    clock = ManualClock(hall.start + timedelta(days=7, seconds=30))
    device = ReplayDevice("hall", hall, clock)
    frame = pl.scan_parquet(shared("telemetry/telemetry.parquet")).filter(pl.col("ts") <= clock.now())
    newest = {
        row["point"]: row
        for row in frame.sort("ts", maintain_order=True).group_by("point").last().collect().iter_rows(named=True)
    }
    for reading in await device.read():
        row = newest[reading.point]
        assert reading.measured_at == row["ts"]
        assert reading.value == row["value"]
        assert reading.quality.value == row["quality"] or reading.value is None


async def test_nothing_of_the_future_is_read(hall: Recording) -> None:
    clock = ManualClock(hall.start)
    device = ReplayDevice("hall", hall, clock)
    for _ in range(50):
        assert all(reading.measured_at <= clock.now() for reading in await device.read())
        clock.advance(37 * 60.0)


async def test_late_duplicate_bad_and_missing_rows(tmp_path: Path) -> None:
    rows = [
        (2, "a/x_c", 22.0, "good"),
        (1, "a/x_c", 21.0, "good"),
        (2, "a/x_c", 22.5, "uncertain"),
        (3, "a/x_c", None, "good"),
    ]
    clock = ManualClock(START)
    device = open_device(Device(name="r", protocol="replay", recording=str(make(tmp_path, rows))), clock)
    seen = []
    for _ in range(4):
        x, y = await device.read()
        seen.append((x.value, x.quality))
        assert (y.value, y.quality) == (None, Quality.BAD)  # listed, never recorded
        clock.advance(60.0)
    assert seen == [
        (None, Quality.BAD),
        (21.0, Quality.GOOD),
        (22.5, Quality.UNCERTAIN),
        (None, Quality.BAD),
    ]


async def test_the_past_is_checked_but_never_written(tmp_path: Path) -> None:
    recording = load_recording(make(tmp_path, [(0, "a/x_c", 20.0, "good")]) / "telemetry.parquet")
    device = ReplayDevice("r", recording, ManualClock(START))
    hot = Command("a/x_c", 40.0, "degC", "test")
    assert device.check(hot).kind is VerdictKind.CLIPPED
    assert device.check(Command("a/y_w", 1.0, "W", "test")).rule == "not_writable"
    with pytest.raises(DeviceError, match="cannot be written"):
        await device.write(hot)
    assert (await device.read_back(hot)).value == 20.0
    await device.release()


def test_recordings_that_are_not_what_they_should_be_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"telemetry\.parquet|points\.csv"):
        load_recording(tmp_path)
    make(tmp_path, [(0, "b/z_c", 1.0, "good")])
    with pytest.raises(DataError, match="does not list b/z_c"):
        load_recording(tmp_path)
    make(tmp_path, [(0, "a/x_c", 1.0, "fine")])
    with pytest.raises(DataError, match="fine"):
        load_recording(tmp_path)
    make(tmp_path, [(0, "a/x_c", 1.0, "good")], points="point,unit\na/x_c,degC\n")
    with pytest.raises(DataError, match="not a list of points"):
        load_recording(tmp_path)
    naive = pl.DataFrame({"ts": [datetime(2022, 7, 1)], "point": ["a/x_c"], "value": [1.0], "quality": ["good"]})  # noqa: DTZ001
    naive.write_parquet(tmp_path / "telemetry.parquet")
    (tmp_path / "points.csv").write_text(POINTS)
    with pytest.raises(DataError, match="UTC"):
        load_recording(tmp_path)
