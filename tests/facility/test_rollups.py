"""Means, retention and segments: nothing is lost, nothing doubled, and any engine reads what was let go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from facility import rollups
from facility.errors import StoreError
from facility.records import Quality, Reading
from facility.rollups import History
from facility.site import HistorySettings
from facility.store import Store

START = datetime(2023, 6, 1, tzinfo=UTC)
POINT = "meter/power_w"
SHORT = HistorySettings(raw_days=2.0, minute_days=4.0, quarter_days=6.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "eco.duckdb", "r")
    yield store
    store.close()


def _reading(at: datetime, value: float | None, quality: Quality = Quality.GOOD) -> Reading:
    return Reading(POINT, value, "W", at, quality, "meter")


def _fill(store: Store, days: float, every_s: float = 20.0) -> int:
    count = int(days * 86400.0 / every_s)
    return store.append_readings(
        [_reading(START + timedelta(seconds=every_s * i), float(i % 97)) for i in range(count)]
    )


def _ask(store: Store, name: str) -> list[dict[str, object]]:
    return store.query(name, point=POINT).to_pylist()


def test_means_of_whole_buckets_without_bad_readings(store: Store, tmp_path: Path) -> None:
    seconds = [(0, 10.0), (20, 20.0), (40, 60.0), (60, 1.0)]
    store.append_readings([_reading(START + timedelta(seconds=second), value) for second, value in seconds])
    store.append_readings([_reading(START + timedelta(seconds=30), 9999.0, Quality.BAD)])
    History(store, tmp_path / "history", SHORT).keep(START + timedelta(seconds=90))
    (minute,) = _ask(store, "minutes")  # the second minute is not over
    assert [minute[key] for key in ("mean", "low", "high", "last")] == [30.0, 10.0, 60.0, 60.0]
    assert [minute[key] for key in ("readings", "bad", "unit")] == [3, 1, "W"]
    assert _ask(store, "quarters") == []


def test_readings_that_come_late_are_in_the_means(store: Store, tmp_path: Path) -> None:
    history = History(store, tmp_path / "history", SHORT)
    store.append_readings([_reading(START, 10.0), _reading(START + timedelta(minutes=30), 5.0)])
    history.keep(START + timedelta(hours=1))
    store.append_readings([_reading(START + timedelta(seconds=10), 20.0)])
    history.keep(START + timedelta(hours=1, minutes=1))
    assert [row["mean"] for row in _ask(store, "minutes")] == [15.0, 5.0]
    assert [row["mean"] for row in _ask(store, "quarters")] == [15.0, 5.0]


def test_a_minute_without_a_good_reading_has_no_mean(store: Store, tmp_path: Path) -> None:
    store.append_readings([_reading(START, None, Quality.BAD)])
    History(store, tmp_path / "history", SHORT).keep(START + timedelta(hours=1))
    (minute,) = _ask(store, "minutes")
    assert (minute["mean"], minute["readings"], minute["bad"]) == (None, 0, 1)


def test_old_rows_go_to_segments_that_any_engine_reads(store: Store, tmp_path: Path) -> None:
    written = _fill(store, days=4)
    folder = tmp_path / "history"
    kept = History(store, folder, SHORT).keep(START + timedelta(days=4))
    assert [path.relative_to(folder).as_posix() for path in kept.segments] == [
        "level=raw/day=2023-06-01/part-0.parquet",
        "level=raw/day=2023-06-02/part-0.parquet",
    ]
    left = int(store.query("counts").to_pylist()[0]["readings"])
    assert kept.rows + left == written
    with duckdb.connect() as other:
        pattern = str(folder / "level=*/day=*/*.parquet")
        found = other.execute(
            "SELECT level, count(*), min(ts), max(value) FROM read_parquet(?, hive_partitioning = true) GROUP BY level",
            [pattern],
        ).fetchall()
    assert [(row[0], row[1], row[3]) for row in found] == [("raw", kept.rows, 96.0)]
    frame = pl.read_parquet(folder / "level=raw" / "**" / "*.parquet", hive_partitioning=True)
    assert frame.height == kept.rows
    assert set(frame["day"].unique().dt.to_string().to_list()) == {"2023-06-01", "2023-06-02"}
    assert len(_ask(store, "minutes")) == 4 * 1440  # means outlive the readings


def test_means_go_to_segments_in_their_turn(store: Store, tmp_path: Path) -> None:
    _fill(store, days=2, every_s=600.0)
    history = History(store, tmp_path / "history", SHORT)
    history.keep(START + timedelta(days=2))
    history.keep(START + timedelta(days=9))
    assert [row["level"] for row in store.query("segments").to_pylist()] == [
        *["minutes"] * 2,
        *["quarters"] * 2,
        *["raw"] * 2,
    ]
    assert _ask(store, "minutes") == _ask(store, "quarters") == []


def test_a_crash_between_segment_and_deletion_doubles_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = _fill(store, days=3, every_s=300.0)
    history = History(store, tmp_path / "history", SHORT)

    class Killed(BaseException):
        """The process ends here."""

    def die(*_: object) -> int:
        raise Killed

    whole = rollups._write
    monkeypatch.setattr(rollups, "_write", lambda path, rows: (whole(path, rows), die())[1])
    with pytest.raises(Killed):
        history.keep(START + timedelta(days=3))
    monkeypatch.setattr(rollups, "_write", whole)
    assert store.counts()["readings"] == written
    kept = history.keep(START + timedelta(days=3))
    frame = pl.read_parquet(tmp_path / "history" / "**" / "*.parquet", hive_partitioning=False)
    assert frame.height == kept.rows == written - store.counts()["readings"]


def test_rows_of_a_day_that_was_let_go_make_a_part_of_their_own(store: Store, tmp_path: Path) -> None:
    _fill(store, days=3, every_s=300.0)
    history = History(store, tmp_path / "history", SHORT)
    history.keep(START + timedelta(days=3))
    store.append_readings([_reading(START + timedelta(hours=1, seconds=7), 1.0)])
    history.keep(START + timedelta(days=3, minutes=15))
    files = [row["file"] for row in store.query("segments").to_pylist()]
    assert files == ["level=raw/day=2023-06-01/part-0.parquet", "level=raw/day=2023-06-01/part-1.parquet"]


def test_where_a_segment_cannot_be_written_no_row_is_deleted(store: Store, tmp_path: Path) -> None:
    written = _fill(store, days=3, every_s=300.0)
    blocked = tmp_path / "history"
    blocked.write_text("a file stands where the folder should be")
    with pytest.raises(StoreError, match="cannot write the segment"):
        History(store, blocked, SHORT).keep(START + timedelta(days=3))
    assert store.counts()["readings"] == written
