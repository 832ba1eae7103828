"""The store on a real file: what is acknowledged stays, one process owns it, and only named questions are answered."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from facility.errors import DataError, StoreError, StoreLocked
from facility.queries import QUERIES
from facility.records import Command, Decision, Quality, Reading, Verdict, VerdictKind
from facility.store import Store

START = datetime(2023, 6, 1, tzinfo=UTC)
METER = "meter/energy_wh"
WRITER = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from facility.records import Quality, Reading
from facility.store import Store
store = Store.open(Path(sys.argv[1]))
start, kept = datetime(2023, 6, 1, tzinfo=UTC), 0
while True:
    now = start + timedelta(seconds=kept)
    batch = [Reading(f"p-{i}/x_w", float(kept), "W", now, Quality.GOOD, "t") for i in range(50)]
    kept += store.append_readings(batch)
    print(kept, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "eco.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store.open(path)
    yield opened
    opened.close()


def reading(value: float | None, minute: float, quality: Quality = Quality.GOOD, point: str = METER) -> Reading:
    return Reading(point, value, "Wh", START + timedelta(minutes=minute), quality, "meter")


def keep(store: Store, values: Sequence[float | None], point: str = METER) -> None:
    store.append_readings([reading(value, minute, point=point) for minute, value in enumerate(values)])


def test_kill_9_loses_nothing_that_was_acknowledged(path: Path) -> None:
    """Killed in the middle of writing, three times over; every reopening finds at least what was acknowledged."""
    for _ in range(3):
        before = _count(path)
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(20):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read()
        acknowledged = [int(line) for line in rest.splitlines() if line.endswith("0")]
        after = _count(path) - before
        assert after >= max(acknowledged, default=1000)
        assert after % 50 == 0  # a batch is kept whole or not at all


def _count(path: Path) -> int:
    store = Store.open(path)
    try:
        return store.counts()["readings"]
    finally:
        store.close()


def test_a_second_process_is_told_who_owns_the_file(path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(StoreLocked, match=str(writer.pid)):
            Store.open(path)
    finally:
        writer.kill()
        writer.communicate()


def test_a_file_that_is_no_database_is_an_error(path: Path) -> None:
    path.write_bytes(b"these are not the bytes of a database" * 200)
    with pytest.raises(StoreError, match=r"eco\.duckdb"):
        Store.open(path)


@pytest.mark.parametrize(
    "sql",
    [
        "COPY readings TO '{folder}/out.csv'",
        "ATTACH '{folder}/other.duckdb'",
        "SELECT * FROM read_csv('/etc/hostname')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/hostname'",
        "EXPORT DATABASE '{folder}/out'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET GLOBAL lock_configuration = false",
        "RESET lock_configuration",
    ],
)
def test_the_database_reaches_no_file_and_its_configuration_is_locked(store: Store, tmp_path: Path, sql: str) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(duckdb.Error), store._connection.cursor() as cursor:
        cursor.execute(sql.format(folder=tmp_path))
    assert sorted(tmp_path.iterdir()) == before


def test_times_come_back_in_utc_wherever_the_process_runs(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from facility.store import Store\n"
        "from facility.records import Quality, Reading; from datetime import datetime, timedelta, timezone\n"
        "store = Store.open(Path(sys.argv[1]))\n"
        "here = timezone(timedelta(hours=-7))\n"
        "store.append_readings([Reading('a/b_w', 1.0, 'W', datetime(2023, 6, 1, 5, tzinfo=here), Quality.GOOD, 't')])\n"
        "print(store.query('latest').schema.field('ts').type, store.query('latest')['ts'][0].as_py().isoformat())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        check=True,
        capture_output=True,
        text=True,
        env={"TZ": "America/Los_Angeles"},
    )
    assert done.stdout.split("tz=")[1].strip() == "UTC] 2023-06-01T12:00:00+00:00"


def test_latest_does_not_put_an_old_value_in_the_place_of_a_missing_one(store: Store) -> None:
    store.append_readings([reading(5.0, 0), reading(None, 1, Quality.BAD)])
    (row,) = store.query("latest").to_pylist()
    assert row["ts"] == START + timedelta(minutes=1)
    assert (row["value"], row["quality"]) == (None, "bad")


def test_not_a_number_is_no_value(store: Store) -> None:
    store.append_readings([reading(float("nan"), 0, Quality.BAD)])
    assert store.query("latest")["value"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("counter", "counted"),
    [
        ([100.0, 150.0, 220.0], 120.0),
        ([100.0, 150.0, 20.0, 70.0], 100.0),  # reset: what was counted between the last reading and it is not known
        ([100.0, None, 130.0], 30.0),
        ([100.0, 100.0], 0.0),
        ([100.0], None),
        ([None, 100.0, None], None),
    ],
)
def test_energy_is_the_sum_of_the_steps_of_a_counter(
    store: Store, counter: list[float | None], counted: float | None
) -> None:
    keep(store, counter)
    (row,) = store.query("energy", point=METER, start=START, end=START + timedelta(hours=1)).to_pylist()
    assert row["value"] == counted


def test_energy_ignores_bad_readings_and_late_ones_fall_into_place(store: Store) -> None:
    store.append_readings([reading(100.0, 0), reading(130.0, 2)])
    store.append_readings([reading(0.0, 1.5, Quality.BAD), reading(110.0, 1)])
    (row,) = store.query("energy", point=METER).to_pylist()
    assert row["value"] == 30.0


def test_series_of_several_points_raw_and_in_buckets(store: Store) -> None:
    keep(store, [1.0, 2.0, 3.0, 4.0])
    keep(store, [10.0, None, 30.0, 40.0], "b/x_w")
    raw = store.query("series", point=f"{METER},b/x_w", start=START, end=START + timedelta(minutes=3))
    assert [row["value"] for row in raw.to_pylist() if row["point"] == METER] == [1.0, 2.0, 3.0]
    means = store.query("series", point=["b/x_w"], start=START, every_s=120.0).to_pylist()
    assert [(row["ts"], row["value"]) for row in means] == [(START, 10.0), (START + timedelta(minutes=2), 35.0)]


def test_decisions_verdicts_and_events_come_back_newest_first(store: Store) -> None:
    for hour in range(3):
        at = START + timedelta(hours=hour)
        store.append_decision(Decision(at, "fcfs", "1", "none", (), f"reason {hour}"), {"commands": [hour]})
    command = Command("crah-1/supply_air_setpoint_c", 31.0, "degC", "test")
    kinds = [(VerdictKind.ACCEPTED, 20.0), (VerdictKind.CLIPPED, 30.0), (VerdictKind.REJECTED, None)]
    store.append_verdicts(START, [(Verdict(command, kind, value, "range"), value, "") for kind, value in kinds])
    store.append_event(START, "override", "crah-1", {"by": "operator"})
    decisions = store.query("decisions", limit=2).to_pylist()
    assert [row["reason"] for row in decisions] == ["reason 2", "reason 1"]
    assert decisions[0]["payload"] == '{"commands": [2]}'
    assert len(store.query("verdicts")) == 3
    assert store.query("events").to_pylist()[0]["subject"] == "crah-1"
    counts = store.counts()
    assert {key: counts[key] for key in ("decisions", "accepted", "clipped", "rejected")} == {
        "decisions": 3,
        "accepted": 1,
        "clipped": 1,
        "rejected": 1,
    }
    assert store.query("counts", start=START + timedelta(hours=1))["decisions"].to_pylist() == [2]


def test_an_unknown_query_or_parameter_names_the_known_ones(store: Store) -> None:
    with pytest.raises(StoreError, match=r"decisions.*latest.*series"):
        store.query("select 1")
    with pytest.raises(StoreError, match=r"point, start, end, run, every_s"):
        store.query("series", point=METER, begin=START)
    with pytest.raises(StoreError, match="missing"):
        store.query("series")
    with pytest.raises(StoreError, match="offset"):
        store.query("series", point=METER, start="2023-06-01T00:00:00")
    with pytest.raises(StoreError, match="expected 1 to"):
        store.query("decisions", limit=10**9)


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_every_query_answers_on_an_empty_store_and_takes_names_as_text(store: Store, name: str) -> None:
    given = {"point": "x'; DROP TABLE readings; --"} if "point" in QUERIES[name].parameters else {}
    answer = store.query(name, **given)
    assert answer.num_rows == (1 if name == "counts" else 0)
    keep(store, [1.0])
    assert len(store.query("latest")) == 1


def test_too_many_rows_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facility.queries.MAX_ROWS", 3)
    keep(store, [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(StoreError, match="longer buckets"):
        store.query("series", point=METER)


def _table(**changes: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "ts": pa.array([START], pa.timestamp("ms", "UTC")),
        "point": ["a/b_w"],
        "value": pa.array([1], pa.int64()),
        "unit": ["W"],
        "quality": ["good"],
        "source": ["t"],
        **changes,
    }
    return pa.table({name: column for name, column in columns.items() if column is not None})


def test_a_table_or_batch_of_another_width_is_taken(store: Store) -> None:
    assert store.append_readings(_table()) == 1
    assert store.append_readings(_table().to_batches()[0]) == 1
    assert store.append_readings([]) == 0
    assert store.counts()["readings"] == 2


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (_table(unit=None), "unit"),
        (_table(ts=pa.array([START.replace(tzinfo=None)], pa.timestamp("ms"))), "time zone"),
        (_table(quality=["excellent"]), "quality"),
        (_table(point=pa.array([None], pa.string())), "point"),
        (_table(value=["warm"]), "cannot be read"),
    ],
)
def test_a_table_of_another_form_is_refused_whole(store: Store, table: pa.Table, said: str) -> None:
    with pytest.raises(DataError, match=said):
        store.append_readings(table)
    assert store.counts()["readings"] == 0


def test_readers_do_not_wait_for_the_writer(store: Store) -> None:
    """Queries from other threads while batches are written see only whole batches."""
    import threading

    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(store.counts()["readings"])
            time.sleep(0.001)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for batch in range(20):
        store.append_readings([reading(float(i), batch) for i in range(100)])
    done.set()
    for thread in threads:
        thread.join()
    assert store.counts()["readings"] == 2000
    assert all(count % 100 == 0 for count in seen)


def test_a_closed_store_says_so(path: Path) -> None:
    store = Store.open(path)
    store.close()
    with pytest.raises(StoreError):
        store.query("latest")
    with pytest.raises(StoreError):
        store.append_readings([reading(1.0, 0)])


def test_two_runs_through_the_same_time_are_told_apart(tmp_path: Path) -> None:
    for run, value in (("first", 1.0), ("second", 2.0)):
        store = Store.open(tmp_path / "eco.duckdb", run)
        store.append_readings([Reading(METER, value, "W", START, Quality.GOOD, "test")])
        store.close()
    store = Store.open(tmp_path / "eco.duckdb", "third")
    assert [store.counts(run)["readings"] for run in ("first", "second", "third", None)] == [1, 1, 0, 2]
    assert store.query("series", point=METER, run="second")["value"].to_pylist() == [2.0]
    assert store.query("runs")["run"].to_pylist() == ["first", "second"]
    store.close()


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    other = tmp_path / "readings.csv"
    other.write_text("ts,value\n2023-01-01,1\n")
    with pytest.raises(StoreError, match="no DuckDB database"):
        Store.open(other)
    assert other.read_text().startswith("ts,value")
