"""Cleaning: each kind of dirt gets its verdict, ordinary changes none, and the future has no say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facility.errors import DataError
from facility.records import Point
from tests.shared import shared
from tests.twin.building import MINUTE_US, START_US, Building, building
from twin.telemetry.cleaning import Verdict, clean_rows, learn_habits
from twin.telemetry.grid import Clock, during, newest
from twin.telemetry.reading import Rows, Telemetry, read_telemetry
from twin.telemetry.scoring import score_faults
from twin.telemetry.survey import survey

RNG = np.random.default_rng(4)
TS = START_US + np.arange(6000) * MINUTE_US
AIR = 30.0 + np.sin(np.arange(6000) / 300.0) + np.round(RNG.normal(0.0, 0.1, 6000), 1)
SENSOR = Point("crah-1/return_air_c", "temperature", "degC", "crah-1", min=-5.0, max=60.0)


def _rows(value: np.ndarray[tuple[int], np.dtype[np.float64]], good: object = True) -> Rows:
    return Rows(TS, value, np.broadcast_to(np.asarray(good), value.shape).copy())


def _verdicts(value: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    habits = learn_habits(Telemetry({SENSOR.name: SENSOR}, {SENSOR.name: _rows(AIR)}))[SENSOR.name]
    return clean_rows(_rows(value), SENSOR, habits).verdict


def test_ordinary_rows_pass() -> None:
    assert (_verdicts(AIR) == Verdict.OK).mean() > 0.999


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(45.0, Verdict.SPIKE), (9999.0, Verdict.SENTINEL), (-1.0, Verdict.SENTINEL), (np.nan, Verdict.MISSING)],
)
def test_a_single_wrong_row_is_masked(value: float, verdict: Verdict) -> None:
    dirty = AIR.copy()
    dirty[3000] = value
    found = _verdicts(dirty)
    assert found[3000] == verdict
    assert (found[3001:3010] == Verdict.OK).all()


def test_a_step_is_no_spike() -> None:
    stepped = AIR.copy()
    stepped[3000:] += 6.0
    found = _verdicts(stepped)
    assert (found[3001:3100] == Verdict.OK).all()


def test_a_frozen_value_is_masked_after_a_while() -> None:
    frozen = AIR.copy()
    frozen[3000:3600] = 30.4
    found = _verdicts(frozen)
    assert (found[3100:3600] == Verdict.STUCK).all()
    assert (found[3602:3700] == Verdict.OK).all()


@pytest.mark.parametrize("wrong", [AIR * 1.8 + 32.0, AIR + 273.15])
def test_another_unit_is_converted_back(wrong: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    habits = learn_habits(Telemetry({SENSOR.name: SENSOR}, {SENSOR.name: _rows(AIR)}))[SENSOR.name]
    mixed = np.where(np.arange(6000) < 3000, AIR, wrong)
    rows = clean_rows(_rows(mixed), SENSOR, habits)
    assert (rows.verdict[3020:] == Verdict.WRONG_UNIT).mean() > 0.99
    assert np.nanmax(np.abs(rows.value - AIR)) < 1e-9


def test_no_verdict_depends_on_younger_rows() -> None:
    dirty = AIR.copy()
    dirty[::97] = 55.0
    dirty[2000:2200] = 30.1
    other = dirty.copy()
    other[3000:] = RNG.normal(0.0, 1e4, 3000)
    habits = learn_habits(Telemetry({SENSOR.name: SENSOR}, {SENSOR.name: _rows(AIR)}))[SENSOR.name]
    ours, theirs = (clean_rows(_rows(value), SENSOR, habits) for value in (dirty, other))
    assert ours.value[:3000].tobytes() == theirs.value[:3000].tobytes()


def test_missing_is_missing_never_zero() -> None:
    holes = AIR.copy()
    holes[1000:1200] = np.nan
    habits = learn_habits(Telemetry({SENSOR.name: SENSOR}, {SENSOR.name: _rows(AIR)}))[SENSOR.name]
    rows = clean_rows(_rows(holes), SENSOR, habits)
    clock = Clock.over(int(TS[0]), int(TS[-1]))
    for view in (newest, during):
        grid = view(rows, clock, 10)
        assert np.isnan(grid[1020:1199]).all()
        assert not (grid == 0.0).any()


def test_the_newest_row_is_never_younger_than_the_minute() -> None:
    late = replace(_rows(AIR), ts_us=TS + 23_000_000)
    habits = learn_habits(Telemetry({SENSOR.name: SENSOR}, {SENSOR.name: late}))[SENSOR.name]
    rows = clean_rows(late, SENSOR, habits)
    clock = Clock.over(int(TS[0]), int(TS[-1]))
    assert newest(rows, clock, 10)[100] == AIR[99]
    assert during(rows, clock, 10)[100] == AIR[100]


@pytest.fixture(scope="module")
def made_up() -> Building:
    return building()


def test_a_clock_an_hour_ahead_is_no_outage(made_up: Building, tmp_path: Path) -> None:
    count = len(made_up.ts_us)
    ahead = np.zeros(count)
    ahead[count // 3 : count // 2] = 60.0 * MINUTE_US
    shifted = {name: ahead for name in made_up.values if not name.startswith(("zone", "sp"))}
    folder = made_up.write(tmp_path, shift_us=shifted)
    found = survey(read_telemetry(folder / "telemetry.parquet", folder / "points.csv")).faults
    jumps = [fault for fault in found if fault.kind == "clock_jump" and fault.point == "main/power_w"]
    assert len(jumps) == 1
    assert abs(jumps[0].start_us - made_up.ts_us[count // 3]) < 2 * 60 * MINUTE_US
    assert abs(jumps[0].end_us - made_up.ts_us[count // 2]) < 2 * 60 * MINUTE_US


def test_a_recording_without_a_facility_meter_is_refused(made_up: Building, tmp_path: Path) -> None:
    folder = made_up.write(tmp_path, drop=("main/power_w",))
    with pytest.raises(DataError, match="no point measures the power of the facility"):
        survey(read_telemetry(folder / "telemetry.parquet", folder / "points.csv"))


def test_faults_of_the_shared_recording_are_named() -> None:
    events = shared("telemetry/events.csv")
    telemetry = read_telemetry(events.parent / "telemetry.parquet", events.parent / "points.csv")
    found = survey(telemetry)
    score = score_faults(found.faults, events, found.loggers, telemetry.points)
    assert score.recall >= 0.9
    assert score.precision >= 0.8
    assert min(score.by_event.values()) > 0.5
