"""Whatever a file holds, reading it gives rows or a DataError: never another exception, and never a hang."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.ingest_signals import signal_formats
from facility.errors import DataError
from facility.ingest import Account, Format, MappedTables, Mapping, Recordings, SdrDumps, find, recognise
from facility.ingest.sdr_line import Kind, parse_line
from facility.recording import load_points, load_recording

AT = datetime(2025, 6, 3, tzinfo=UTC)
SEEDS = (
    "Timestamp: 2025-06-03 00:00:01 UTC\nTemp | 2 degrees C | ok\nHost | 0x00 | ok\nP | no reading | ns\n",
    "Temp | 30h | ok | 3.1 | 23 degrees C\nFan | na | RPM | na | na | na | na | na | na | na\n",
    "t,v\n2025-06-03 00:00,1.5\n2025-06-03T00:00:00+02:00,nan\n",
    "Datetime (UTC),Country,Zone Name,Zone Id,Carbon intensity gCO₂eq/kWh (direct),Data estimated\n"
    "2023-01-01 00:00:00,X,X,DE,300,true\n2023-01-01 01:00:00,X,X,DE,310,false\n",
    "utc,price_usd_mwh\n2023-01-01 00:00:00,12\n2023-01-01 01:00:00,-5\n",
    '{"latitude": 50, "longitude": 8, "utc_offset_seconds": 3600, "hourly_units": {"temperature_2m": "°C",'
    ' "relative_humidity_2m": "%"}, "hourly": {"time": ["2023-01-01T00:00", "2023-01-01T01:00"],'
    ' "temperature_2m": [1, 2], "relative_humidity_2m": [50, 60]}}',
    "LOCATION,San Jose,CA,USA,TMY3,724945,37.36,-121.93,-8.0,15.5\n" + "x\n" * 7 + "1999,1,1,1,0,A,10,5,80\n",
    "submit_s,duration_s,units\n0,60,1\n30,120,2\n",
    "job_id,submit_time,duration,num_gpu\na,0,60,1\n",
    "num_gpu,creation_time,deletion_time,scheduled_time\n1,0,60,10\n",
    "point,kind,unit,equipment,description,writable,min,max\na/x_c,temperature,degC,a,,1,10,30\n",
)
MAPPINGS = (
    {"time": {"column": "t", "zone": "Europe/Berlin"}, "point": [{"name": "v", "point": "a/v", "unit": "1"}]},
    {
        "time": {"column": "t", "format": "unix_s"},
        "point": [{"name": "v", "point": "a/v", "unit": "1", "scale": 1e300}],
    },
    {
        "time": {"column": "t", "format": "%d.%m.%Y %H:%M", "zone": "America/New_York"},
        "decimal": ",",
        "delimiter": ";",
        "long": {"tag": "g", "value": "v", "quality": "q"},
        "point": [{"name": "1", "point": "a/v", "unit": "1", "sentinels": [0]}],
    },
)
TABLES = st.lists(
    st.lists(
        st.sampled_from(
            ["1", "0x1", "-9999", "nan", "1e999", "", '"', "2025-06-03 02:30", "30.03.2025 02:30", "9" * 30, "-inf",
             "1748944800", "9999-12-31T23:59:59Z", "0001-01-01", "\x00", "ä", "🙂", "2025-13-01", "1,5"]
        ),
        max_size=4,
    ),
    max_size=6,
)  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A good file with a piece of it replaced, or bytes of any kind."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=300))
    seed = draw(st.sampled_from(SEEDS)).encode()
    first = draw(st.integers(0, len(seed)))
    piece = draw(st.binary(max_size=12) | st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass")))
    return seed[:first] + piece + seed[first + draw(st.integers(0, 12)) :]


def formats() -> list[Format]:
    tables: list[Format] = [MappedTables(Mapping.model_validate(mapping)) for mapping in MAPPINGS]
    return [Recordings(), *tables, SdrDumps(AT), *signal_formats("DE", 2023)]


def read_all(path: Path, kinds: list[Format]) -> None:
    """Read a file as what it seems to be, and as everything else."""
    for source in find(path):
        if isinstance(source, DataError):
            continue
        with contextlib.suppress(DataError):
            recognise(source, kinds)
        for kind in kinds:
            try:
                for table, rows in kind.read(source, Account(source.name, kind.kind)):
                    if table == "readings":
                        check(rows)
            except DataError:
                pass


def check(rows: pa.Table) -> None:
    """A reading without a finite value is bad, and only such a one has none."""
    values = rows["value"].to_numpy(zero_copy_only=False).astype(np.float64)
    missing = ~np.isfinite(values)
    quality = np.array(rows["quality"].cast(pa.string()).to_pylist())
    assert (quality[missing] == "bad").all()
    assert rows["value"].null_count == missing.sum()
    assert rows["ts"].null_count == 0


SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@SETTINGS
@given(content=spoilt())
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file-2025-06-03.txt"
    path.write_bytes(content)
    read_all(path, formats())


@SETTINGS
@given(header=st.sampled_from(["t,v", "t;g;v;q", "v,t"]), cells=TABLES)
def test_any_table(tmp_path: Path, header: str, cells: list[list[str]]) -> None:
    separator = ";" if ";" in header else ","
    text = "\n".join([header, *(separator.join(row) for row in cells)])
    path = tmp_path / "t.csv"
    path.write_text(text)
    read_all(path, formats()[1:5])


@SETTINGS
@given(magic=st.sampled_from([b"\x1f\x8b\x08", b"\xfd7zXZ\x00", b"PAR1", b"x" * 257 + b"ustar"]), rest=st.binary())
def test_any_packed_file(tmp_path: Path, magic: bytes, rest: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(magic + rest)
    read_all(path, formats())


@settings(max_examples=500, deadline=None)
@given(text=st.text(st.characters(codec="utf-8")) | st.text("0123456789.|xeEnN+- ok degrsCVW", max_size=40))
def test_any_line_of_a_dump(text: str) -> None:
    try:
        line = parse_line(text)
    except ValueError:
        assert text.strip().lower().startswith("timestamp:")
        return
    assert (line.value is not None) == (line.kind is Kind.NUMBER)
    assert line.value is None or np.isfinite(line.value)


@SETTINGS
@given(content=spoilt())
def test_any_list_of_points(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "points.csv").write_bytes(content)
    (tmp_path / "telemetry.parquet").write_bytes(content)
    for load in (lambda: load_points(tmp_path / "points.csv"), lambda: load_recording(tmp_path)):
        with contextlib.suppress(DataError):
            load()


@pytest.mark.parametrize("seed", SEEDS[:-1])
def test_the_seeds_are_of_known_kinds(tmp_path: Path, seed: str) -> None:
    (tmp_path / "file").write_text(seed)
    (source,) = find(tmp_path / "file")
    assert not isinstance(source, DataError)
    assert recognise(source, formats()).kind
