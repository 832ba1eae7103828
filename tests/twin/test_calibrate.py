"""Calibration and prediction of a made-up building: right physics, skill, honest bands, and no look into the future."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from facility.errors import DataError
from facility.site.site import Roles
from tests.twin.building import DAYS, MINUTE_US, START_US, Building, building
from twin.calibrate import Calibration, calibrate
from twin.model_file import load_model, save_model
from twin.prediction import FACILITY, INLET, PUE, BuildingModel, Forecasts, predict
from twin.telemetry.reading import Telemetry, read_telemetry

DAY_US = 1440 * MINUTE_US
CUT = START_US + (DAYS - 2) * DAY_US
KNOWN = frozenset({"it", "setpoints"})


ROUNDS = 25  # trees: enough to see, few enough to be quick


def _fit(telemetry: Telemetry) -> Calibration:
    return calibrate(telemetry, CUT, (30,), rounds=ROUNDS)


@pytest.fixture(scope="module")
def made_up() -> Building:
    return building()


@pytest.fixture(scope="module")
def folder(made_up: Building, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.write(tmp_path_factory.mktemp("building"))


@pytest.fixture(scope="module")
def telemetry(folder: Path) -> Telemetry:
    return read_telemetry(folder / "telemetry.parquet", folder / "points.csv")


@pytest.fixture(scope="module")
def fitted(telemetry: Telemetry) -> Calibration:
    return _fit(telemetry)


def _forecasts(model: BuildingModel, telemetry: Telemetry, known: frozenset[str] = KNOWN) -> dict[str, Forecasts]:
    return {part.point: part for part in predict(model, telemetry, CUT, (30,), known)}


def _mae(part: Forecasts) -> float:
    return float(np.nanmean(np.abs(part.mean - part.measured)))


def test_it_beats_persistence_by_far(fitted: Calibration, telemetry: Telemetry) -> None:
    for part in _forecasts(fitted.model, telemetry).values():
        persistence = np.nanmean(np.abs(part.measured[6:] - part.measured[:-6]))
        assert _mae(part) < 0.35 * persistence, part.point


def test_ninety_percent_lie_inside_the_band(fitted: Calibration, telemetry: Telemetry) -> None:
    for part in _forecasts(fitted.model, telemetry).values():
        known = np.isfinite(part.measured)
        inside = (part.measured >= part.low) & (part.measured <= part.high)
        assert 0.8 < inside[known].mean() <= 1.0, part.point


def test_the_time_constant_of_the_building_is_found(fitted: Calibration) -> None:
    tau = next(parameter for parameter in fitted.parameters if parameter.name == "building_tau_min")
    assert 12.0 <= tau.value <= 27.0  # made with 20; the search has 12, 18 and 27
    assert tau.std > 0.0


def _spoilt(telemetry: Telemetry, after_us: int, but: tuple[str, ...]) -> Telemetry:
    """Every row after ``after_us`` replaced by noise of bad and good quality, except those of ``but``."""
    rng = np.random.default_rng(5)
    rows = {}
    for name, part in telemetry.rows.items():
        late = (part.ts_us > after_us) & (not name.startswith(but))
        value = np.where(late, rng.normal(0.0, 1e6, len(late)), part.value)
        value[late & (rng.random(len(late)) < 0.2)] = np.nan
        rows[name] = replace(part, value=value, good=np.where(late, rng.random(len(late)) < 0.7, part.good))
    return replace(telemetry, rows=rows)


@pytest.mark.parametrize(("known", "kept"), [(KNOWN, ("pdu-", "sp/")), (frozenset[str](), ("nothing",))])
@pytest.mark.parametrize("offset_us", [0, 7_000_000, 137 * MINUTE_US])
def test_what_comes_after_the_issue_changes_no_byte(
    fitted: Calibration, telemetry: Telemetry, known: frozenset[str], kept: tuple[str, ...], offset_us: int
) -> None:
    after = CUT + DAY_US + offset_us
    ours = _forecasts(fitted.model, telemetry, known)
    theirs = _forecasts(fitted.model, _spoilt(telemetry, after, kept), known)
    for point, part in ours.items():
        past = part.issue_us <= after
        for field in ("mean", "low", "high"):
            assert getattr(part, field)[past].tobytes() == getattr(theirs[point], field)[past].tobytes(), (point, field)
        assert part.mean[~past].tobytes() != theirs[point].mean[~past].tobytes()


def test_training_reads_no_row_after_its_end(fitted: Calibration, telemetry: Telemetry) -> None:
    other = _fit(_spoilt(telemetry, CUT - 1, ("nothing",))).model
    assert other.gains == fitted.model.gains
    ours, theirs = (model.residuals["overhead", 30].trees for model in (fitted.model, other))
    assert ours.value.tobytes() == theirs.value.tobytes()


def test_far_outside_training_the_physics_stands_alone_with_wider_bands(
    fitted: Calibration, telemetry: Telemetry
) -> None:
    residual = fitted.model.residuals["overhead", 30]
    mad = replace(residual, trees=replace(residual.trees, baseline=1e6))
    wild = replace(fitted.model, residuals={**fitted.model.residuals, ("overhead", 30): mad})
    rows = dict(telemetry.rows)
    rows["wx/drybulb_c"] = replace(rows["wx/drybulb_c"], value=rows["wx/drybulb_c"].value + 500.0)
    far = replace(telemetry, rows=rows)
    ours, theirs = _forecasts(fitted.model, far)[FACILITY], _forecasts(wild, far)[FACILITY]
    assert np.abs(ours.mean - theirs.mean).max() < 1e-6
    assert np.abs(_forecasts(wild, telemetry)[FACILITY].mean).min() > 9e5
    near = _forecasts(fitted.model, telemetry)[FACILITY]
    assert (ours.high - ours.low)[:10].min() > 2.0 * (near.high - near.low)[:10].max()


def test_it_without_weather_setpoints_and_inlets(made_up: Building, tmp_path: Path) -> None:
    drop = tuple(name for name in made_up.values if name.startswith(("wx/", "sp/", "zone-", "hvac/")))
    folder = made_up.write(tmp_path, drop=drop)
    telemetry = read_telemetry(folder / "telemetry.parquet", folder / "points.csv")
    forecasts = _forecasts(_fit(telemetry).model, telemetry)
    assert set(forecasts) == {FACILITY, PUE}
    assert np.isfinite(forecasts[FACILITY].mean).all()


def test_roles_of_a_site_go_before_names(telemetry: Telemetry) -> None:
    roles = Roles(facility_power_w="main/power_w", it_power_w=("pdu-1/power_w", "pdu-2/power_w"))
    assert calibrate(telemetry, CUT, (5,), roles, ROUNDS).model.topology.it == roles.it_power_w
    with pytest.raises(DataError, match="no rows of pdu-9/power_w"):
        calibrate(telemetry, CUT, (5,), Roles(it_power_w=("pdu-9/power_w",)))


def test_a_model_file_gives_the_same_bytes_and_holds_no_code(
    fitted: Calibration, telemetry: Telemetry, tmp_path: Path
) -> None:
    path = tmp_path / "model.eco"
    save_model(fitted.model, {"made": "here"}, path)
    model, card = load_model(path)
    assert card == {"made": "here"}
    for point, part in _forecasts(fitted.model, telemetry).items():
        assert part.mean.tobytes() == _forecasts(model, telemetry)[point].mean.tobytes()
    with np.load(path, allow_pickle=False) as arrays:  # would raise on an object
        assert all(arrays[name].dtype.kind in "biuf" for name in arrays.files)


def test_clear_words_for_what_cannot_be_done(fitted: Calibration, telemetry: Telemetry, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"days of training, need 7"):
        calibrate(telemetry, START_US + 3 * DAY_US)
    with pytest.raises(DataError, match="no rows before the end of training"):
        calibrate(telemetry, START_US - DAY_US)
    with pytest.raises(DataError, match="not calibrated for"):
        list(predict(fitted.model, telemetry, CUT, (45,), KNOWN))
    with pytest.raises(DataError, match="ends before the first issue"):
        list(predict(fitted.model, telemetry, CUT + 30 * DAY_US, (30,), KNOWN))
    (tmp_path / "no.eco").write_bytes(b"hello")
    with pytest.raises(DataError, match="not a model file"):
        load_model(tmp_path / "no.eco")


def test_a_building_without_it_meters_is_refused(made_up: Building, tmp_path: Path) -> None:
    folder = made_up.write(tmp_path, drop=tuple(name for name in made_up.values if name.startswith("pdu")))
    telemetry = read_telemetry(folder / "telemetry.parquet", folder / "points.csv")
    with pytest.raises(DataError, match="no point measures IT power"):
        calibrate(telemetry, CUT)


def test_an_outage_of_the_meters_leaves_no_zero(fitted: Calibration, folder: Path, tmp_path: Path) -> None:
    begin = CUT + DAY_US
    rows = pl.read_parquet(folder / "telemetry.parquet")
    stamp = pl.col("ts").dt.epoch("us")
    silent = pl.col("point").str.starts_with("main") & (stamp >= begin) & (stamp < begin + 90 * MINUTE_US)
    rows.filter(~silent).write_parquet(tmp_path / "telemetry.parquet")
    part = _forecasts(fitted.model, read_telemetry(tmp_path / "telemetry.parquet", folder / "points.csv"))[FACILITY]
    during = (part.issue_us >= begin) & (part.issue_us < begin + 90 * MINUTE_US)
    assert (part.mean[during] > 100.0).all()
    assert INLET in _forecasts(fitted.model, read_telemetry(tmp_path / "telemetry.parquet", folder / "points.csv"))
