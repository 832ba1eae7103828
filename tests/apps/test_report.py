"""`eco report` on recordings: figures by hand, the forms it writes, and what it says when something is wrong."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from apps.cli import app
from facility.errors import ConfigError, EcoError
from tests.apps.report_site import FACTS, POINTS, START, rows, write_recording, write_site
from tests.shared import shared
from twin.reports.build import STANDARDS


def _eco(*arguments: str) -> str:
    """What it prints, in this process; raises what it raises."""
    done = CliRunner().invoke(app, ["report", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def _json(*arguments: str) -> Any:
    return json.loads(_eco(*arguments, "--json"))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("recording"), rows())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("site") / "site.toml")


def test_a_recording_by_hand(recording: Path, site: Path) -> None:
    """The register counts through two hours in which it is not read: they are in PUE and not in coverage."""
    kpis = _json(f"--recording={recording}", f"--site={site}")["kpis"]
    values = {key: kpis[key]["value"] for key in ("pue", "pue_category_1", "pue_category_2", "cue", "wue")}
    assert values == pytest.approx(
        {
            "pue": 1.3,
            "pue_category_1": 130 / 104,
            "pue_category_2": 130 / 102,
            "cue": 1.3 * 0.3,
            "wue": 1.8,
        }
    )
    assert kpis["pue"]["category"] == 3
    assert kpis["pue"]["coverage_pct"] == pytest.approx(100 * (10 - 121 / 60) / 10, abs=0.1)
    assert kpis["pue_category_2"]["coverage_pct"] == pytest.approx(100 * (5 - 121 / 60) / 10, abs=0.2)
    assert kpis["pue"]["from"] == "2024-06-01T00:00:00+00:00"
    assert kpis["pue"]["to"] == "2024-06-01T10:00:00+00:00"
    assert kpis["erf"]["value"] is None
    assert "reused_heat" in kpis["erf"]["missing"]
    assert kpis["ref"]["value"] == pytest.approx(2400 * 10 / 24 / 1300)


def test_without_a_site_file_names_of_points_say_what_they_measure(recording: Path) -> None:
    kpis = _json(f"--recording={recording / 'telemetry.parquet'}")["kpis"]
    assert kpis["pue"]["category"] == 2
    assert kpis["pue"]["value"] == pytest.approx(130 / 102)
    assert kpis["pue_category_3"]["value"] is None


def test_a_rate_that_was_lost_is_not_filled(tmp_path: Path) -> None:
    """Without the register PUE is of the eight hours in which the power was told, and the gap is no zero."""
    given = [row for row in rows() if row[1] != "main/energy_wh"]
    kpis = _json(f"--recording={write_recording(tmp_path, given)}")["kpis"]
    assert kpis["pue_category_1"]["value"] == pytest.approx(130 / 104)
    assert kpis["pue_category_1"]["coverage_pct"] == pytest.approx(100 * (10 - 121 / 60) / 10, abs=0.1)


def test_a_part_of_the_span(recording: Path) -> None:
    span = ["--from=2024-06-01T05:00", "--to=2024-06-01T09:00"]
    kpis = _json(f"--recording={recording}", *span)["kpis"]
    assert (kpis["cue"]["value"], kpis["cue"]["category"]) == (pytest.approx(130 / 104 * 0.4), 1)
    assert kpis["cue"]["coverage_pct"] == pytest.approx(100.0)
    assert "pdu-1/power_kw and 1 more, together, had no two good readings" in kpis["pue_category_2"]["missing"]


def test_the_regulations_table(recording: Path, site: Path, tmp_path: Path) -> None:
    out = tmp_path / "eu.csv"
    _eco("--standard=eu2024-1364", f"--recording={recording}", f"--site={site}", f"--csv={out}")
    lines = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    fields = {(line["item"], line["symbol"]): line for line in lines}
    assert [line["standard"][-8:] for line in lines[:12]] == [" Annex I"] * 11 + ["Annex II"]
    assert fields["2", ""]["value"] == "Owner & Sons, Hall Street 1"
    assert float(fields["1(d)", "E_DC"]["value"]) == pytest.approx(1300.0)
    assert float(fields["1(e)", "E_IT"]["value"]) == pytest.approx(1040.0)
    assert float(fields["1(d)", "E_DC-BG"]["value"]) == 0.0
    assert fields["1(m)", ""]["value"] == "R-513A, R-1234ze"
    for line in lines:
        assert (line["value"] == "") == (line["missing"] != "")
    assert fields["1(b)", "S_DC"]["missing"] == "state it in [report] floor_m2"
    said = _json("--standard=eu2024-1364", f"--recording={recording}", f"--site={site}")
    assert "must report" in said["duty"]
    assert len(said["fields"]) == len(lines) - 4  # the four indicators follow the fields


def test_every_standard_at_once_as_a_page_that_needs_nothing_else(recording: Path, site: Path, tmp_path: Path) -> None:
    page, table = tmp_path / "report.html", tmp_path / "report.csv"
    arguments = ["--standard=all", f"--recording={recording}", f"--site={site}", "--gpu-hours=500", "--jobs-done=40"]
    said = _json(*arguments, f"--html={page}", f"--csv={table}")
    html = page.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=|@import|url\(|<script", html)
    assert html.count("<svg") == html.count('role="img"') == html.count("<title>") - 1 == 3
    assert "Owner &amp; Sons" in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert "Interim: less than a year" in html
    assert f"{said['kpis']['pue']['value']:,.4g}" in html
    numbers = {line["item"]: line["value"] for line in csv.DictReader(io.StringIO(table.read_text(encoding="utf-8")))}
    for key, one in said["kpis"].items():
        assert numbers[key] == ("" if one["value"] is None else repr(one["value"]))
    assert said["kpis"]["scope2_market_kg"]["value"] == pytest.approx((1300 - 1000) * 0.5)
    assert said["kpis"]["scope2_location_kg"]["value"] == pytest.approx(1300 * 0.3)
    assert not list(tmp_path.glob(".*draft"))


@pytest.mark.parametrize("standard", [*STANDARDS, "all"])
def test_every_standard_has_a_table_for_people(recording: Path, standard: str) -> None:
    said = _eco(f"--standard={standard}", f"--recording={recording}")
    assert "interim: less than a year" in said
    assert "missing: " in said


def _broken(folder: Path, name: str) -> list[str]:
    """Arguments of a call that cannot be answered."""
    made = write_recording(folder / "recording", rows(range(61)))
    if name == "empty file":
        (made / "telemetry.parquet").write_bytes(b"")
    if name == "no rows":
        pl.read_parquet(made / "telemetry.parquet").head(0).write_parquet(made / "telemetry.parquet")
    if name == "wrong header":
        table = pl.read_parquet(made / "telemetry.parquet").rename({"value": "reading"})
        table.write_parquet(made / "telemetry.parquet")
    if name == "no points":
        (made / "points.csv").unlink()
    if name == "no meter":
        others = [row for row in rows(range(61)) if row[1].startswith(("mech", "water"))]
        write_recording(made, others)
    return [f"--recording={made}", *_OPTIONS.get(name, ())]


_OPTIONS = {
    "empty span": ("--from=2024-06-02", "--to=2024-06-01"),
    "no readings": ("--from=2025-01-01", "--to=2025-02-01"),
    "no standard": ("--standard=iso",),
    "two sources": ("--state=/tmp",),
    "no folder": ("--html=/no/such/folder/report.html",),
    "no carbon": ("--carbon=/none.csv",),
}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty file", "cannot read the recording"),
        ("no rows", "the recording has no rows"),
        ("wrong header", "columns are missing: value"),
        ("no points", "cannot read the points"),
        ("no meter", "known as a meter of the facility or of IT (name the meters in [roles] and [report.meters]"),
        ("empty span", "give --from before --to"),
        ("no readings", "its meters have readings from 2024-06-01 00:00 to 2024-06-01 01:00 UTC"),
        ("no standard", "one of iso30134, eu2024-1364, ghg, sci, ashrae90.4, all"),
        ("two sources", "name several sources"),
        ("no folder", "cannot write"),
        ("no carbon", "no such file"),
    ],
)
def test_errors_say_what_is_wrong_and_what_to_do(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(EcoError) as error:
        _eco(*_broken(tmp_path, name))
    assert said in str(error.value)


def test_an_error_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "apps.cli", "report", "--json", f"--state={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no store in this state directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_named_meter_without_readings_is_missing_by_name(recording: Path, tmp_path: Path) -> None:
    facts = FACTS.replace("it/energy_wh", "it/energy_2_wh")
    kpis = _json(f"--recording={recording}", f"--site={write_site(tmp_path / 'site.toml', facts)}")["kpis"]
    assert kpis["pue_category_3"]["missing"] == "no readings of it/energy_2_wh, which the site file names"
    assert kpis["pue"]["category"] == 2


def test_an_unknown_key_of_the_report_table_is_refused(recording: Path, tmp_path: Path) -> None:
    wrong = write_site(tmp_path / "site.toml", FACTS.replace("lau_code", "lau_cod"))
    with pytest.raises(ConfigError, match=r"unknown key 'report.lau_cod', did you mean 'lau_code'"):
        _eco(f"--recording={recording}", f"--site={wrong}")


def test_a_limit_without_its_source_is_refused(recording: Path, tmp_path: Path) -> None:
    wrong = write_site(tmp_path / "site.toml", FACTS + "\n[report.ashrae_90_4]\nmlc_max = 0.2\n")
    with pytest.raises(ConfigError, match="a limit needs 'climate_zone'"):
        _eco(f"--recording={recording}", f"--site={wrong}")


def test_the_example_of_the_documentation_is_accepted_as_it_stands(recording: Path, tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0]
    said = _json("--standard=all", f"--recording={recording}", f"--site={write_site(tmp_path / 'site.toml', example)}")
    values = {one["symbol"]: one["value"] for one in said["fields"] if one["symbol"]}
    assert (values["P_DIT"], values["S_CR"], values["E_DC-BG"], values["E_REUSE"]) == (820.0, 400.0, 0.0, 0.0)
    assert said["kpis"]["mlc"]["limit"] == 0.2


def test_a_year_is_not_interim_and_daily_readings_cover_it(tmp_path: Path) -> None:
    """A year of daily register readings: the longest usual gap follows how often a meter is read."""
    given = [
        (START + timedelta(days=day), point, kwh * 1e3 * 24.0 * day, "good")
        for day in range(366)
        for point, kwh in (("main/energy_wh", 3.0), ("it/energy_wh", 2.0))
    ]
    site = write_site(tmp_path / "site.toml")
    kpis = _json(f"--recording={write_recording(tmp_path / 'year', given, POINTS)}", f"--site={site}")["kpis"]
    assert kpis["pue"]["value"] == pytest.approx(1.5)
    assert kpis["pue"]["interim"] is False
    assert kpis["pue"]["coverage_pct"] == pytest.approx(100.0)


def test_two_months_of_a_reference_plant_with_all_their_dirt() -> None:
    """Out-of-range values, a roll-over, a clock set forth and back, gaps: the truth within the meters' own errors."""
    folder = shared("telemetry")
    carbon = shared("carbon/electricitymaps_US-CAL-CISO_2022_hourly.csv")
    said = _json("--standard=all", f"--recording={folder}", f"--carbon={carbon}")
    truth = pl.read_parquet(folder / "truth.parquet")
    facility_kw, it_kw = truth["facility_kw"].mean(), truth["it_kw"].mean()
    assert isinstance(facility_kw, float)
    assert isinstance(it_kw, float)
    kpis, fields = said["kpis"], {(one["item"], one["symbol"]): one for one in said["fields"]}
    assert kpis["pue"]["value"] == pytest.approx(facility_kw / it_kw, rel=0.01)
    assert kpis["pue"]["coverage_pct"] > 99.0
    assert 1.0 < kpis["pue_category_1"]["value"] < kpis["pue_category_2"]["value"]
    assert fields["1(d)", "E_DC"]["value"] == pytest.approx(facility_kw * 1440.0, rel=0.003)
    direct, upstream = kpis["scope2_location_kg"]["value"], kpis["scope3_fuel_upstream_kg"]["value"]
    life_cycle_kg = kpis["cue"]["value"] * fields["1(d)", "E_DC"]["value"] / kpis["pue"]["value"]
    assert direct + upstream == pytest.approx(life_cycle_kg, rel=0.01)
    assert kpis["scope2_market_kg"]["value"] is None
