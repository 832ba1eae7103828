"""`eco forecast`: fit, backtest and show over files, and that no forecast sees what was not public."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from apps.commands.forecast import app
from apps.commands.many_files import spelled_out
from facility.errors import DataError
from twin.forecasting import model as settings
from twin.forecasting.boost import Growth
from twin.signals import Series, synthetic_signals

START = datetime(2022, 1, 1, tzinfo=UTC)
DAYS = 200
TEST_FROM = "2022-06-26"
CUT = datetime(2022, 7, 6, 6, tzinfo=UTC)  # of a test that runs to mid-July


@pytest.fixture(scope="module", autouse=True)
def few_trees() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        small = Growth(12, 0.2)
        patch.setattr(
            settings, "SETTINGS", tuple(replace(part, centre=small, width=small) for part in settings.SETTINGS)
        )
        yield


def stamps(series: Series) -> list[datetime]:
    return [series.start + timedelta(hours=hour) for hour in range(len(series.value))]


def write_files(folder: Path, spoilt_from: datetime | None = None) -> dict[str, str]:
    """Carbon, prices and weather as files; from ``spoilt_from`` on with other values wherever they were not public."""
    signals = synthetic_signals("DE", START, DAYS, 3)
    assert signals.price is not None
    value = {}
    for name, series in (("carbon", signals.carbon), ("price", signals.price), ("weather", signals.drybulb)):
        value[name] = series.value.copy()
        if spoilt_from is not None:
            value[name][series.known_count(spoilt_from) :] *= 1.7
    header = "Datetime (UTC),Zone Id,Carbon Intensity gCO₂eq/kWh (direct),Renewable Percentage,Low Carbon Percentage"
    rows = [
        f"{when:%F %T},DE,{grams:.3f},{100 - grams / 10:.2f},{100 - grams / 12:.2f}"
        for when, grams in zip(stamps(signals.carbon), value["carbon"], strict=True)
    ]
    half = len(rows) // 2
    paths = {"a": folder / "a.csv", "b": folder / "b.csv", "price": folder / "price.csv", "weather": folder / "w.json"}
    paths["a"].write_text("\n".join([header, *rows[:half]]), encoding="utf-8")
    paths["b"].write_text("\n".join([header, *rows[half:]]), encoding="utf-8")
    price = [f"{when:%F %T},{usd:.3f}" for when, usd in zip(stamps(signals.price), value["price"], strict=True)]
    paths["price"].write_text("\n".join(["utc,price_usd_mwh", *price]), encoding="utf-8")
    weather = {
        "latitude": 50.1,
        "longitude": 8.6,
        "elevation": 111.0,
        "utc_offset_seconds": 3600,
        "timezone": "Europe/Berlin",
        "hourly": {
            "time": [f"{when + timedelta(hours=1):%FT%H:%M}" for when in stamps(signals.drybulb)],
            "temperature_2m": value["weather"].tolist(),
            "relative_humidity_2m": signals.rh.value.tolist(),
            "windspeed_10m": (20.0 + value["weather"]).tolist(),
        },
    }
    paths["weather"].write_text(json.dumps(weather), encoding="utf-8")
    return {name: str(path) for name, path in paths.items()}


def inputs_of(files: dict[str, str]) -> list[str]:
    return ["--carbon", files["a"], files["b"], "--price", files["price"], "--weather", files["weather"]]


def run(*args: str) -> str:
    result = CliRunner().invoke(app, list(args))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_backtest_sees_nothing_that_was_not_public(tmp_path: Path) -> None:
    tables = []
    for name, spoilt_from in (("true", None), ("spoilt", CUT)):
        (folder := tmp_path / name).mkdir()
        files = write_files(folder, spoilt_from)
        out = folder / "out.parquet"
        printed = json.loads(
            run(
                "backtest",
                *inputs_of(files),
                "--test-from",
                TEST_FROM,
                "--out",
                str(out),
                "--json",
                "--refit-days",
                "50",
            )
        )
        tables.append(pl.read_parquet(out))
    before, after = pl.col("issue_ts") <= CUT, pl.col("issue_ts") > CUT + timedelta(hours=6)
    ours, theirs = tables
    assert len(ours.filter(before)) == 42 * 96
    assert ours.filter(before).equals(theirs.filter(before))
    assert not ours.filter(after).equals(theirs.filter(after))
    assert printed["kind"] == "direct average"
    assert "weather without a time of issue: lagged only, never for an hour ahead" in printed["notes"]
    assert [row["forecaster"] for row in printed["forecasters"]] == ["learned", "persistence-24h", "weekly-naive"]


def test_the_figures_of_a_backtest(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    args = ["backtest", "--carbon", files["a"], "--carbon", files["b"], "--price", files["price"]]
    printed = json.loads(run(*args, "--test-from", TEST_FROM, "--test-to", "2022-07-10", "--json"))
    learned, persistence, _ = printed["forecasters"]
    assert learned["issues"] == persistence["issues"] == 14 * 4
    assert len(learned["mape_pct"]) == 4
    assert printed["best_naive_mape_pct"][0] <= persistence["mape_pct"][0]
    assert printed["better_than_best_naive_pct"][0] > 0
    assert persistence["coverage_pct"] == [None] * 4
    assert learned["oracle_share_pct"]["4h_in_24h"] > 50
    assert list(learned["coverage_by_quarter_pct"]) == ["2022-Q2", "2022-Q3"]
    assert "Better than the best naive" in run(*args, "--test-from", TEST_FROM, "--test-to", "2022-07-01")


def test_fit_then_show(tmp_path: Path) -> None:
    files, model = write_files(tmp_path), str(tmp_path / "carbon.model")
    summary = json.loads(run("fit", *inputs_of(files), "--until", "2022-07-01", "--out", model, "--json"))
    assert summary["inputs"] == ["carbon", "price", "renewable_pct", "low_carbon_pct", "drybulb_c", "wind_km_h"]
    shown = json.loads(run("show", "--model", model, *inputs_of(files), "--at", "2022-07-06T11:00", "--json"))
    assert len(shown["hours"]) == 96
    assert shown["hours"][0]["from"] == "2022-07-06 11:00:00+00:00"
    assert all(hour["low"] < hour["value"] < hour["high"] for hour in shown["hours"])
    known = {entry["input"]: entry["known_until"] for entry in shown["inputs"]}
    assert known["carbon_intensity_g_kwh"] == "2022-07-06 11:00:00+00:00"
    assert known["price_usd_mwh"] == "2022-07-07 22:00:00+00:00"
    assert "90 % band" in run("show", "--model", model, *inputs_of(files), "--at", "2022-07-06")
    with pytest.raises(DataError, match="give the same signals"):
        run("show", "--model", model, "--carbon", files["a"], files["b"], "--at", "2022-07-06")


def test_without_training_the_plain_forecasts_are_compared(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    rows = json.loads(run("backtest", "--carbon", files["a"], files["b"], "--json"))["rows"]
    assert {row["forecaster"] for row in rows} == {"daily-profile", "persistence-24h"}


@pytest.mark.parametrize(
    ("args", "spelled"),
    [
        (["--carbon", "a", "b", "--json"], ["--carbon", "a", "--carbon", "b", "--json"]),
        (["--carbon", "a", "--carbon", "b"], ["--carbon", "a", "--carbon", "b"]),
        (["--at", "t", "--price", "p", "q"], ["--at", "t", "--price", "p", "--price", "q"]),
    ],
)
def test_files_may_follow_one_another(args: list[str], spelled: list[str]) -> None:
    assert spelled_out(args) == spelled


def test_too_short_a_past_says_from_when_on(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    with pytest.raises(DataError, match="begin it on 2022-06-24 or later"):
        run("backtest", "--carbon", files["a"], files["b"], "--test-from", "2022-03-01")


def test_a_typical_year_is_no_observation(tmp_path: Path) -> None:
    files = write_files(tmp_path)
    (epw := tmp_path / "typical.epw").write_text("LOCATION,Frankfurt\n", encoding="utf-8")
    with pytest.raises(DataError, match="tells nothing of a certain day"):
        run("backtest", "--carbon", files["a"], files["b"], "--weather", str(epw), "--test-from", TEST_FROM)
