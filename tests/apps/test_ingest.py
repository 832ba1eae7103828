"""`eco ingest` and `eco record` as a person runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from apps.cli import app
from apps.commands.ingest import summary
from apps.state_dir import StateDir, write_json
from facility.errors import ConfigError, StoreLocked
from facility.ingest import Result
from facility.recorder import Recorder
from facility.recording import load_recording
from facility.records import Point, Quality, Reading
from tests.facility.ingesting import select
from tests.facility.test_ingest_sdr import DUMP
from tests.facility.test_modbus import libmodbus_server
from tests.peers.processes import free_port
from tests.peers.require import require_library
from tests.shared import shared

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2025, 6, 3, tzinfo=UTC)


def eco(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of a command."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    return done.exit_code, json.loads(done.stdout)


def recording(folder: Path) -> Path:
    recorder = Recorder(folder)
    points = {"a/x_c": Point("a/x_c", "temperature", "degC", "a")}
    for second in range(5):
        at = START + timedelta(seconds=second)
        recorder.add([Reading("a/x_c", second / 3, "degC", at, Quality.GOOD, "d")], points)
    recorder.close()
    return folder


def carbon(folder: Path, zone: str = "DE") -> Path:
    path = folder / f"carbon-{zone}.csv"
    head = (
        "Datetime (UTC),Zone Id,Carbon intensity gCO₂eq/kWh (direct),Carbon intensity gCO₂eq/kWh (LCA),Data estimated\n"
    )
    hours = [f"2023-01-01 {hour:02d}:00:00,{zone},{300 + hour},{350 + hour},{hour == 1}\n" for hour in range(6)]
    del hours[4]
    path.write_text(head + "".join(hours))
    return path


def test_everything_at_once_and_what_failed_is_told(tmp_path: Path) -> None:
    (tmp_path / "node-1.txt").write_text(DUMP)
    (tmp_path / "letter.txt").write_text("Dear all,\n")
    (tmp_path / "jobs.csv").write_text("submit_s,duration_s,units\n0,60,1\n30,0,2\n60,90,4\n")
    (tmp_path / "prices_DE.csv").write_text("utc,price_usd_mwh\n2023-01-01 00:00:00,12\n2023-01-01 01:00:00,-5\n")
    files = [recording(tmp_path / "rec"), carbon(tmp_path), *sorted(tmp_path.glob("*.txt")), tmp_path / "jobs.csv"]
    store = tmp_path / "store.duckdb"
    code, told = eco("ingest", *files, tmp_path / "prices_DE.csv", "--store", store, "--at", "2025-06-03T10:15")
    assert code == 1
    assert {key: told[key] for key in ("files", "readings", "readings_by_quality", "points", "other_rows")} == {
        "files": 5,
        "readings": 5 + 10 + 14 + 2,
        "readings_by_quality": {"good": 5 + 8 + 11 + 2, "bad": 2, "uncertain": 2 + 1},
        "points": 1 + 2 + 14 + 1,
        "other_rows": 2,
    }
    assert told["counts"] == {"discrete": 2, "alarms": 2}
    (failure,) = told["failed"]
    assert failure["file"] == str(tmp_path / "letter.txt")
    for word in ("Dear all", "recording", "ipmitool sdr", "Electricity Maps CSV", "EPW", "--mapping"):
        assert word in failure["error"]
    kinds = [one["kind"] for one in told["ingested"]]
    assert kinds == ["recording", "Electricity Maps CSV", "ipmitool sdr", "job trace", "prices CSV"]
    assert told["ingested"][1]["notes"] == [
        "grid/carbon_intensity_direct_g_kwh: 1 values are missing in the file",
        "grid/carbon_intensity_g_kwh: 1 values are missing in the file",
    ]
    assert told["ingested"][3]["notes"] == ["1 rows take no time"]
    grid = "SELECT point, count(*), count(*) FILTER (quality = 'uncertain'), any_value(unit) FROM readings"
    assert select(tmp_path, f"{grid} WHERE point LIKE 'grid/%' GROUP BY point ORDER BY point") == [
        ("grid/carbon_intensity_direct_g_kwh", 5, 1, "g/kWh"),
        ("grid/carbon_intensity_g_kwh", 5, 1, "g/kWh"),
        ("grid/price_usd_mwh", 2, 0, "USD/MWh"),
    ]
    assert select(tmp_path, "SELECT submit_s, duration_s, gpus FROM trace_jobs ORDER BY 1") == [(0, 60, 1), (60, 90, 4)]
    code, told = eco("ingest", *files[:1], "--store", store)
    assert (code, told["files"], told["skipped"]) == (0, 0, [str(tmp_path / "rec")])
    assert eco("ingest", *files[:1], "--store", store, "--again")[1]["readings"] == 5


def test_a_store_takes_one_zone_and_one_place(tmp_path: Path) -> None:
    store = tmp_path / "store.duckdb"
    code, told = eco("ingest", carbon(tmp_path), carbon(tmp_path, "FR"), "--store", store)
    assert (code, told["files"]) == (1, 1)
    assert "zone 'FR' and 'DE' is wanted" in told["failed"][0]["error"]
    (tmp_path / "prices_FR.csv").write_text("utc,price_usd_mwh\n2023-01-01 00:00:00,12\n2023-01-01 01:00:00,-5\n")
    code, told = eco("ingest", tmp_path / "prices_FR.csv", "--store", store, "--zone", "DE-LU")
    assert "zone FR, and DE was taken before" in told["failed"][0]["error"]
    (tmp_path / "p.csv").write_text("utc,price_usd_mwh\n2023-01-01 00:00:00,12\n2023-01-01 01:00:00,-5\n")
    assert "say it with --zone" in eco("ingest", tmp_path / "p.csv", "--store", store)[1]["failed"][0]["error"]
    assert eco("ingest", tmp_path / "p.csv", "--store", store, "--zone", "DE")[1]["readings"] == 2


def test_real_weather_carbon_and_traces(tmp_path: Path) -> None:
    epw = shared("weather/USA_CA_San.Jose-Mineta.epw")
    frankfurt = shared("weather/openmeteo_DE-LU_2022.json")
    files = [
        shared("carbon/electricitymaps_US-CAL-CISO_2022_hourly.csv"),
        shared("weather/openmeteo_US-CAL-CISO_2022.json"),
        epw,
        frankfurt,
        shared("traces/philly_vc103959_elasticflow.csv"),
    ]
    code, told = eco("ingest", *files, "--store", tmp_path / "store.duckdb", "--year", "2022")
    assert code == 1
    assert [one["readings"] for one in told["ingested"]] == [17520, 17520, 17520, 0]
    assert told["ingested"][2]["uncertain"] == 17520  # a year that never was
    assert told["other_rows"] == 876
    assert "weather of" in told["failed"][0]["error"]
    assert "--year" in eco("ingest", epw, "--store", tmp_path / "s")[1]["failed"][0]["error"]


def test_a_csv_with_its_mapping(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(
        '[time]\ncolumn = "t"\nzone = "UTC"\n[[point]]\nname = "v"\npoint = "a/v_w"\nunit = "W"\n'
    )
    (tmp_path / "t.csv").write_text("t,v\n2025-06-03 00:00,1.5\n2025-06-03 00:01,off\n")
    store = tmp_path / "store.duckdb"
    assert "needs --mapping" in eco("ingest", tmp_path / "t.csv", "--store", store)[1]["failed"][0]["error"]
    code, told = eco("ingest", tmp_path / "t.csv", "--store", store, "--mapping", tmp_path / "m.toml")
    assert (code, told["readings_by_quality"]) == (0, {"good": 1, "bad": 1, "uncertain": 0})


OWNER = """
import sys, time
from pathlib import Path
from facility.store import Store
store = Store.open(Path(sys.argv[1]))
print("open", flush=True)
time.sleep(60)
"""


def test_a_running_service_keeps_its_store(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    write_json(state.api, {"url": "http://127.0.0.1:8400", "pid": 1})
    arguments = [sys.executable, "-c", OWNER, str(state.database)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "open\n"
            with pytest.raises(
                StoreLocked, match=r"POST readings as an Arrow stream to http://127\.0\.0\.1:8400/v1/readings"
            ):
                eco("ingest", recording(tmp_path / "rec"), "--state", tmp_path)
            with pytest.raises(StoreLocked, match="stop it first"):
                eco("ingest", tmp_path / "rec", "--store", state.database)
        finally:
            owner.kill()
    assert eco("ingest", tmp_path / "rec", "--state", tmp_path)[1]["readings"] == 5


def test_options_that_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name two stores"):
        eco("ingest", tmp_path, "--store", tmp_path / "s", "--state", tmp_path)


def test_a_person_reads_lines_and_a_table(tmp_path: Path) -> None:
    (tmp_path / "node-1.txt").write_text(DUMP)
    done = CliRunner().invoke(
        app, ["ingest", str(tmp_path / "node-1.txt"), str(tmp_path / "no"), "--store", str(tmp_path / "s")]
    )
    assert done.exit_code == 1
    assert "14 readings, 2 bad, 1 uncertain, 2 discrete, 2 alarms, times from: time of change" in done.stderr
    assert "failed:" in done.stderr
    assert "readings" in done.stdout


def test_nothing_taken_is_all_zero() -> None:
    assert summary(Result())["readings_by_quality"] == {"good": 0, "bad": 0, "uncertain": 0}


def site_of_replays(folder: Path, *recordings: Path) -> Path:
    text = (ROOT / "data" / "site.toml").read_text(encoding="utf-8")
    text = text[: text.index("[[device]]")].replace("emulated = true", "emulated = false")
    for number, path in enumerate(recordings):
        text += f'\n[[device]]\nname = "r-{number}"\nprotocol = "replay"\nrecording = "{path}"\n'
    (folder / "site.toml").write_text(text, encoding="utf-8")
    return folder / "site.toml"


def test_a_recorded_site_is_copied_bit_by_bit(tmp_path: Path) -> None:
    source = ROOT / "data" / "recordings" / "reference-hall"
    site = site_of_replays(tmp_path, source)
    code, told = eco("record", "--site", site, "--out", tmp_path / "copy")
    assert (code, told["rows"], told["points"]) == (0, 8520, 141)
    for name in ("telemetry.parquet", "points.csv"):
        assert (tmp_path / "copy" / name).read_bytes() == (source / name).read_bytes()
    with pytest.raises(ConfigError, match="holds a recording already"):
        eco("record", "--site", site, "--out", tmp_path / "copy")


def test_a_real_device_is_polled_until_the_time_is_over(tmp_path: Path) -> None:
    library, port = require_library("libmodbus.so.5", "apt-get install libmodbus5"), free_port()
    site = site_of_replays(tmp_path)
    meter = f'\n[[device]]\nname = "meter-1"\nprotocol = "modbus"\nprofile = "janitza-umg"\nport = {port}\n'
    dead = meter.replace("meter-1", "meter-2").replace(str(port), "1")
    site.write_text(site.read_text(encoding="utf-8") + meter + dead, encoding="utf-8")
    with libmodbus_server(library, port, tmp_path):
        code, told = eco("record", "--site", site, "--out", tmp_path / "out", "--for", "2s", "--every", "0.25s")
    assert code == 0
    assert told["rows"] == told["good"] > 2 * told["points"] > 0
    recorded = load_recording(tmp_path / "out")
    assert {point.equipment for point in recorded.points.values()} == {"meter-1", "meter-2"}
    assert {name.partition("/")[0] for name in recorded.tracks} == {"meter-1"}  # a dead device says nothing
