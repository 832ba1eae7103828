"""A past window decided again: the same bytes for the policy that ran, bands for another, twice the same."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from apps.cli import app
from apps.replay import Tally, replay_store
from facility.errors import ConfigError, DataError, EcoError
from facility.queries import BEGINNING, END
from facility.records import Mode
from tests.apps.small_hall import START, small_hall
from tests.shared import shared

TICKS = 5
RECORDED_SITE = """
[site]
name = "recorded hall"
zone = "US-CAL-CISO"
latitude_deg = 37.36
longitude_deg = -121.93

[control]
max_age_s = 1200.0   # the recording has setpoints each quarter of an hour

[roles]
facility_power_w = "main/power_kw"
facility_energy_wh = "main/energy_wh"
it_power_w = ["pdu-1/power_kw", "pdu-2/power_kw", "pdu-3/power_kw", "pdu-4/power_kw"]
rack_inlet_c = ["zone-1/inlet_top_c", "zone-2/inlet_top_c", "zone-3/inlet_top_c", "zone-4/inlet_top_c"]
drybulb_c = "wx/drybulb_c"
rh_pct = "wx/rh_pct"
supply_air_setpoint_c = ["sp/supply_air_c"]
fan_speed_setpoint_pct = ["sp/crah_fan_pct"]
chw_supply_setpoint_c = ["sp/chw_c"]
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run of a few ticks."""
    folder = tmp_path_factory.mktemp("run")
    hall = small_hall(folder, Mode.ACTIVE, timedelta(days=1))

    async def run() -> None:
        await hall.keeper.commit()
        for tick in range(TICKS):
            hall.device.values["hall/it_power_w"] = 30_000.0 + 1_234.56789 * tick
            await hall.tick()

    asyncio.run(run())
    hall.parts.store.close()
    return folder / "eco.duckdb"


def _tally(path: Path, policy: str = "", start: Any = BEGINNING, end: Any = END) -> Tally:
    tally = Tally()
    for tick in replay_store(path, policy, start, end):
        tally.add(tick)
    return tally


def test_the_policy_that_ran_decides_the_same_bytes_again(kept: Path) -> None:
    first, again = _tally(kept), _tally(kept)
    assert (first.ticks, first.same, first.differing) == (TICKS, TICKS, [])
    assert first.digest.hexdigest() == again.digest.hexdigest()


def test_a_window_is_cut_out(kept: Path) -> None:
    tally = _tally(kept, start=START + timedelta(minutes=20), end=START + timedelta(minutes=50))
    assert tally.ticks == 2  # at 30 and 45 minutes
    with pytest.raises(DataError, match="no decision of that time"):
        _tally(kept, start=START - timedelta(days=2), end=START - timedelta(days=1))


def test_another_policy_is_counterfactual_and_has_bands(kept: Path) -> None:
    tally = _tally(kept, "fcfs+legacy")
    assert (tally.policy, tally.ticks, tally.same, tally.differing) == ("fcfs+legacy", TICKS, 0, [])
    outcome = tally.to_json()
    other, recorded = outcome["predicted_saving_kwh"], outcome["recorded_saving_kwh"]
    assert other["low"] <= other["value"] <= other["high"] < recorded["value"]  # legacy is dearer than the rule
    with pytest.raises(ConfigError, match="no policy 'clever'"):
        _tally(kept, "clever")


def test_a_decision_that_was_changed_afterwards_is_found(kept: Path, tmp_path: Path) -> None:
    forged = tmp_path / "eco.duckdb"
    forged.write_bytes(kept.read_bytes())
    with duckdb.connect(str(forged)) as connection:
        connection.execute("UPDATE decisions SET payload = replace(payload, 'plant rule', 'plant good')")
    done = CliRunner().invoke(app, ["replay", "--store", str(forged), "--json"])
    assert isinstance(done.exception, EcoError)
    assert f"{TICKS} of {TICKS} decisions differ" in str(done.exception)
    assert len(json.loads(done.stdout)["differing"]) == TICKS


def test_the_command_line_writes_each_decision(kept: Path, tmp_path: Path) -> None:
    out = tmp_path / "decisions.jsonl"
    done = CliRunner().invoke(app, ["replay", "--store", str(kept), "--json", "--out", str(out)])
    assert done.exit_code == 0, done.output
    lines = out.read_text().splitlines()
    assert len(lines) == json.loads(done.stdout)["ticks"] == TICKS
    assert {json.loads(line)["decision"]["policy"] for line in lines} == {"wait-awhile+rule"}


@pytest.mark.parametrize("arguments", [[], ["recording", "--store", "eco.duckdb"]])
def test_one_source_is_replayed(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["replay", *arguments])
    assert isinstance(done.exception, ConfigError)


def test_a_site_without_a_cluster_runs_in_shadow_on_its_recording(tmp_path: Path) -> None:
    recording = shared("telemetry/telemetry.parquet").parent
    text = (Path(__file__).parents[2] / "data" / "site-1mw.toml").read_text(encoding="utf-8")
    site = tmp_path / "site.toml"
    site.write_text(text[text.index("[hall") :] + RECORDED_SITE)
    arguments = ["replay", str(recording), "--site", str(site), "--from", "2022-07-10", "--to", "2022-07-10T06:00"]
    runs = []
    for name in ("one.jsonl", "two.jsonl"):
        done = CliRunner().invoke(app, [*arguments, "--json", "--out", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        runs.append(json.loads(done.stdout))
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    assert runs[0] == runs[1]
    assert runs[0]["ticks"] == 25
    assert runs[0]["commands"] == 3 * runs[0]["ticks"]
    assert sum(runs[0]["verdicts"].values()) == runs[0]["commands"]
    assert runs[0]["verdicts"]["accepted"] > 0
    saving = runs[0]["predicted_saving_kwh"]
    assert saving["low"] < saving["value"] < saving["high"]
