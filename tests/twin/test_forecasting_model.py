"""A fitted model: nothing from the future, a file that holds numbers alone, and what is said when it cannot speak."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from facility.errors import DataError
from facility.records import Forecast
from tests.twin.forecasting_inputs import corrupted, made_up
from twin.forecasting import model as settings
from twin.forecasting.boost import Growth
from twin.forecasting.climatology import climatology
from twin.forecasting.fallback import Footing, issue_or_fall_back
from twin.forecasting.inputs import Inputs
from twin.forecasting.issue import CarbonModel, Forecaster, fit
from twin.forecasting.live import LiveForecast
from twin.forecasting.model_file import load_model, save_model

UNTIL = datetime(2022, 8, 20, tzinfo=UTC)
NOW = datetime(2022, 8, 29, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module", autouse=True)
def few_trees() -> Iterator[None]:
    """Enough to tell right from wrong."""
    with pytest.MonkeyPatch.context() as patch:
        small = Growth(12, 0.2)
        patch.setattr(
            settings, "SETTINGS", tuple(replace(part, centre=small, width=small) for part in settings.SETTINGS)
        )
        yield


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return made_up()


@pytest.fixture(scope="module")
def model(inputs: Inputs) -> CarbonModel:
    return fit(inputs, UNTIL)


def test_nothing_after_the_end_of_training_is_learnt(inputs: Inputs, model: CarbonModel, tmp_path: Path) -> None:
    again = fit(corrupted(inputs, UNTIL), UNTIL)
    save_model(model, tmp_path / "a")
    save_model(again, tmp_path / "b")
    ours, theirs = (np.load(tmp_path / name) for name in "ab")
    assert sorted(ours.files) == sorted(theirs.files)
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours.files)


@pytest.mark.parametrize("hours", [0, 2, 14])
def test_what_is_not_public_changes_no_byte(inputs: Inputs, model: CarbonModel, hours: int) -> None:
    now = NOW + timedelta(hours=hours)
    ours = Forecaster(model).issue(inputs, now)
    theirs = Forecaster(model).issue(corrupted(inputs, now), now)
    for part in ("value", "low", "high"):
        assert getattr(ours, part).tobytes() == getattr(theirs, part).tobytes(), part


def test_a_forecast_record(inputs: Inputs, model: CarbonModel) -> None:
    issued = Forecaster(model).issue(inputs, NOW, 96.0, 900.0)
    assert (issued.issued_at, issued.start, len(issued.value)) == (NOW, NOW, 384)
    assert issued.low is not None
    assert issued.high is not None
    assert (issued.low < issued.value).all()
    assert (issued.value < issued.high).all()
    assert issued.value[0] == issued.value[1] != issued.value[2]  # half past nine: two quarters of the running hour
    assert (issued.quantity, issued.synthetic) == ("carbon_intensity_g_kwh", True)
    assert "fitted to 2022-08-20, from carbon, price, drybulb_c, rh_pct, wind_m_s ahead" in issued.source
    truth = inputs.carbon.window(NOW.replace(minute=0), NOW.replace(minute=0) + timedelta(hours=24), 3600.0)
    hourly = Forecaster(model).issue(inputs, NOW.replace(minute=0))
    assert np.abs(hourly.value[:24] / truth - 1.0).mean() < 0.2


def test_the_file_gives_back_the_same_model(inputs: Inputs, model: CarbonModel, tmp_path: Path) -> None:
    save_model(model, path := tmp_path / "carbon.model")
    ours, theirs = Forecaster(model).issue(inputs, NOW), Forecaster(load_model(path)).issue(inputs, NOW)
    assert ours.value.tobytes() == theirs.value.tobytes()
    assert ours.source == theirs.source


def test_no_code_is_run_from_a_file(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("executed",)

    np.savez(tmp_path / "trap.npz", meta=np.array([Trap()], dtype=object))
    (tmp_path / "trap.pickle").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "text").write_text("model", encoding="utf-8")
    for name in ("trap.npz", "trap.pickle", "text"):
        with pytest.raises(DataError, match="not a carbon model"):
            load_model(tmp_path / name)
    with pytest.raises(DataError, match="cannot read"):
        load_model(tmp_path / "nothing")


def test_other_inputs_are_refused(inputs: Inputs, model: CarbonModel) -> None:
    forecaster = Forecaster(model)
    with pytest.raises(DataError, match="price: not among carbon"):
        forecaster.issue(replace(inputs, price=None), NOW)
    with pytest.raises(DataError, match="lifecycle average and direct average is wanted"):
        forecaster.issue(replace(inputs, carbon=replace(inputs.carbon, kind="lifecycle")), NOW)
    with pytest.raises(DataError, match="of FR where the model"):
        forecaster.issue(replace(inputs, carbon=replace(inputs.carbon, zone="FR")), NOW)
    with pytest.raises(DataError, match="has seen carbon up to"):
        forecaster.issue(inputs, UNTIL - timedelta(days=1))
    with pytest.raises(DataError, match="at least 90 days"):
        fit(inputs, inputs.carbon.start + timedelta(days=100))


def test_late_carbon_widens_the_band_and_older_is_refused(inputs: Inputs, model: CarbonModel) -> None:
    cut = replace(inputs, carbon=inputs.carbon.known_at(NOW))
    fresh = Forecaster(model).issue(cut, NOW)
    late = Forecaster(model).issue(cut, NOW + timedelta(hours=30))
    assert fresh.low is not None
    assert fresh.high is not None
    assert late.low is not None
    assert late.high is not None
    assert (late.high - late.low)[:6].mean() > (fresh.high - fresh.low)[:6].mean()
    with pytest.raises(DataError, match="no older than 48 h"):
        Forecaster(model).issue(cut, NOW + timedelta(hours=60))


class TestFallback:
    def test_fresh_then_the_last_good_one_then_what_is_usual(
        self, inputs: Inputs, model: CarbonModel, tmp_path: Path
    ) -> None:
        save_model(model, path := tmp_path / "carbon.model")
        live = LiveForecast(path)
        cut = replace(inputs, carbon=inputs.carbon.known_at(NOW))
        fresh = live.issue(cut, NOW)
        assert (fresh.footing, fresh.words) == (Footing.FRESH, "")
        kept = live.issue(cut, NOW + timedelta(hours=50))
        assert kept.footing is Footing.LAST_GOOD
        assert kept.words.startswith("the forecast of 2022-08-29 09:30 UTC, 50 h old, with a wider band: ")
        assert kept.forecast.source == kept.words
        assert kept.forecast.issued_at == NOW
        assert kept.forecast.value[:46].tolist() == fresh.forecast.value[50:].tolist()
        assert _width(kept.forecast)[0] == pytest.approx(_width(fresh.forecast)[50] * np.sqrt(1 + 50 / 24), rel=0.05)
        usual = live.issue(cut, NOW + timedelta(hours=80))
        assert usual.footing is Footing.CLIMATOLOGY
        assert usual.forecast.source.startswith("climatology, because no forecast could be issued: ")

    def test_climatology_is_the_median_of_the_hour_and_season(self, inputs: Inputs) -> None:
        usual = climatology(inputs.carbon, NOW, 48.0)
        known = inputs.carbon.known_at(NOW).value[-30 * 24 :]
        assert usual.value[:24].tolist() == usual.value[24:].tolist()
        assert usual.value.mean() == pytest.approx(np.median(known), rel=0.1)
        assert usual.low is not None
        assert (usual.low < usual.value).all()
        with pytest.raises(DataError, match="14 days"):
            climatology(inputs.carbon, inputs.carbon.start + timedelta(days=10))

    def test_without_any_past_the_error_is_told(self, inputs: Inputs) -> None:
        def fails() -> Forecast:
            raise DataError("no answer")

        with pytest.raises(DataError, match="14 days"):
            issue_or_fall_back(fails, None, inputs.carbon, inputs.carbon.start + timedelta(days=2))


def _width(forecast: Forecast) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    assert forecast.low is not None
    assert forecast.high is not None
    return np.asarray(forecast.high - forecast.low)
