"""The store: one writer, durable before it answers, closed to free SQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from facility.errors import DataError, StoreError, StoreLocked
from facility.queries import QUERIES
from facility.records import Quality, Reading
from facility.store import READINGS, Store

START = datetime(2023, 6, 1, tzinfo=UTC)

WRITER = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from facility.records import Quality, Reading
from facility.store import Store

store = Store.open(Path(sys.argv[1]))
for batch in range(10_000):
    at = datetime(2023, 6, 1, tzinfo=UTC) + timedelta(seconds=batch)
    store.append_readings([Reading(f"meter-{i}/power_w", float(batch), "W", at, Quality.GOOD, "test") for i in range(20)])
    print(batch, flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "eco.duckdb")
    yield store
    store.close()


def _readings(*values: float | None, point: str = "meter/power_w") -> list[Reading]:
    quality = {True: Quality.BAD, False: Quality.GOOD}
    return [
        Reading(point, value, "W", START + timedelta(minutes=i), quality[value is None], "test")
        for i, value in enumerate(values)
    ]


def test_kill_9_loses_no_acknowledged_reading(tmp_path: Path) -> None:
    path = tmp_path / "eco.duckdb"
    acknowledged = -1
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        for line in writer.stdout or ():
            acknowledged = int(line)
            if acknowledged == 25:
                writer.send_signal(signal.SIGKILL)
    store = Store.open(path)
    kept = store.query("series", point="meter-0/power_w", start=START)["value"].to_pylist()
    counted = store.counts(START)["readings"]
    store.close()
    assert acknowledged >= 25
    assert kept[: acknowledged + 1] == [float(batch) for batch in range(acknowledged + 1)]
    assert counted % 20 == 0  # a batch is there whole or not at all


def test_a_second_writer_is_told_who_holds_it(tmp_path: Path, store: Store) -> None:
    code = "import sys; from pathlib import Path; from facility.store import Store; Store.open(Path(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "eco.duckdb")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert StoreLocked.__name__ in done.stderr
    assert f"PID {os.getpid()}" in done.stderr
    assert "ask it through the API" in done.stderr


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY readings TO '/tmp/stolen.csv'",
        "ATTACH '/tmp/other.duckdb'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
    ],
)
def test_duckdb_reaches_no_other_file_and_its_configuration_is_locked(store: Store, sql: str) -> None:
    with pytest.raises(duckdb.Error):
        store._connection.execute(sql)


def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "eco.duckdb").write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreError, match="move it away"):
        Store.open(tmp_path / "eco.duckdb")


def test_missing_stays_missing(store: Store) -> None:
    store.append_readings(_readings(1.0, None))
    assert store.query("latest").to_pylist()[0]["value"] is None
    assert store.query("series", point="meter/power_w")["value"].to_pylist() == [1.0]


def test_buckets_average(store: Store) -> None:
    store.append_readings(_readings(1.0, 3.0, 5.0, 7.0))
    assert store.query("series", point="meter/power_w", every_s=120)["value"].to_pylist() == [2.0, 6.0]


def test_energy_survives_a_reset_and_is_null_with_one_reading(store: Store) -> None:
    store.append_readings(_readings(100.0, 110.0, 5.0, 15.0, point="a/energy_wh"))
    store.append_readings(_readings(100.0, point="b/energy_wh"))
    rows = {row["point"]: row["value"] for row in store.query("energy", point="a/energy_wh,b/energy_wh").to_pylist()}
    assert rows == {"a/energy_wh": 20.0, "b/energy_wh": None}


def test_an_unknown_query_or_parameter_names_those_there_are(store: Store) -> None:
    with pytest.raises(StoreError, match="there are: counts, decisions"):
        store.query("drop")
    with pytest.raises(StoreError, match="it takes: point, start, end, every_s"):
        store.query("series", pint="x")
    with pytest.raises(StoreError, match="parameter 'point' is missing"):
        store.query("series")
    with pytest.raises(StoreError, match="expected a time with an offset"):
        store.query("latest", start="2023-06-01")
    with pytest.raises(StoreError, match="parameter 'limit'"):
        store.query("decisions", limit=0)


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_every_query_answers_on_an_empty_store(store: Store, name: str) -> None:
    required = {"point": "meter/power_w"} if "point" in QUERIES[name].parameters else {}
    assert store.query(name, **required).num_rows in (0, 1)


def test_a_table_must_have_the_columns_and_sane_values(store: Store) -> None:
    good = pa.table(
        {
            "ts": pa.array([START], pa.timestamp("us", "UTC")),
            "point": ["a/b_w"],
            "value": [1.0],
            "unit": ["W"],
            "quality": ["good"],
            "source": ["test"],
        }
    )
    assert store.append_readings(good) == 1
    assert store.append_readings(good.to_batches()[0]) == 1
    with pytest.raises(DataError, match="columns are missing: source"):
        store.append_readings(good.drop_columns(["source"]))
    with pytest.raises(DataError, match="quality"):
        store.append_readings(good.set_column(4, "quality", pa.array(["fine"])))
    with pytest.raises(DataError, match="time zone"):
        store.append_readings(good.set_column(0, "ts", pa.array([START], pa.timestamp("us"))))
    with pytest.raises(DataError, match="nulls in unit"):
        store.append_readings(good.set_column(3, "unit", pa.array([None], pa.string())))
    assert store.append_readings(READINGS.empty_table()) == 0
