"""The inputs of the learned forecast: nothing that was not public, and the relation of price and carbon found again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from facility.errors import DataError
from tests.twin.forecasting_inputs import START, corrupted, made_up
from twin.forecasting.analog import analog
from twin.forecasting.calendar import calendar_of, easter_sunday, german_holidays, us_holidays
from twin.forecasting.features import rows_of
from twin.forecasting.inputs import Inputs, issues_at
from twin.forecasting.kinds import Accounting, CarbonKind, Scope, kind_of, require_kind
from twin.forecasting.weather_ahead import read_weather_ahead
from twin.signals import Series

NOW = datetime(2022, 5, 20, 8, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return made_up(160)


@pytest.mark.parametrize("minutes", [0, 45, 179, 180, 240, 600, 1080])  # prices come out at 13:00 in Berlin, 11:00 UTC
def test_what_is_not_public_changes_no_byte(inputs: Inputs, minutes: int) -> None:
    now = NOW + timedelta(minutes=minutes)
    leads = np.arange(96)
    ours, theirs, cut = (
        rows_of(given, issues_at(given, [now]), leads) for given in (inputs, corrupted(inputs, now), inputs.until(now))
    )
    assert ours.names == theirs.names == cut.names
    for name, column, other in zip(ours.names, ours.columns.T, theirs.columns.T, strict=True):
        assert column.tobytes() == other.tobytes(), name
    assert ours.anchors.tobytes() == theirs.anchors.tobytes()
    np.testing.assert_array_equal(ours.columns, cut.columns)


def test_each_row_is_the_same_alone_and_among_others(inputs: Inputs) -> None:
    moments = [NOW + timedelta(hours=6 * step) for step in range(5)]
    together = rows_of(inputs, issues_at(inputs, moments), np.arange(48))
    alone = rows_of(inputs, issues_at(inputs, moments[3:4]), np.arange(48))
    np.testing.assert_allclose(together.columns[together.issue == 3], alone.columns, rtol=1e-9)


def test_a_price_is_known_from_its_publication_on(inputs: Inputs) -> None:
    names = rows_of(inputs, issues_at(inputs, [NOW]), np.arange(96)).names
    before, after = (
        rows_of(inputs, issues_at(inputs, [NOW.replace(hour=hour)]), np.arange(96)).columns[:, names.index("price")]
        for hour in (10, 11)
    )
    assert np.isfinite(before).sum() == 12  # to midnight in Berlin, 22:00 UTC
    assert np.isfinite(after).sum() == 35


def test_observed_weather_is_lagged_and_a_run_is_seen_from_its_issue_on(inputs: Inputs) -> None:
    assert inputs.ahead is not None
    rows = rows_of(inputs, issues_at(inputs, [NOW]), np.arange(96))
    ahead = rows.columns[:, rows.names.index("wind_m_s_ahead")]
    newest = inputs.ahead.known_at(NOW).runs[-1]
    assert newest.issued_s == int(NOW.replace(hour=0).timestamp())
    assert ahead[:88].tolist() == newest.value["wind_m_s"][8:].tolist()
    assert np.isnan(ahead[88:]).all()
    last = rows.columns[:, rows.names.index("drybulb_c_last")]
    assert set(last) == {inputs.lagged[0].at(NOW - timedelta(hours=1))}


def test_the_relation_of_price_and_carbon_is_found() -> None:
    hours = 70 * 24
    price = np.random.default_rng(1).uniform(20.0, 120.0, hours + 48)
    carbon = 100.0 * np.exp(price / 100.0)
    given = Inputs(_series("carbon_intensity_g_kwh", carbon[:hours]), _series("price_usd_mwh", price))
    target = np.arange(hours, hours + 24)
    origin = np.full(24, hours)
    found = analog(given, target, origin, origin + 24)
    unpriced = analog(given, target, origin, origin)
    assert np.abs(found.log_carbon - np.log(100.0) - price[target] / 100.0).max() < 0.05
    assert np.abs(unpriced.log_carbon - np.log(100.0) - 0.7).max() < 0.2


def _series(quantity: str, value: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Series:
    tz = "Europe/Berlin" if quantity.startswith("price") else ""
    return Series(
        quantity, "u", "DE", START, 3600.0, value, 3600.0, "test", kind="" if tz else "direct", day_ahead_tz=tz
    )


def test_holidays_and_local_hours() -> None:
    assert [easter_sunday(year) for year in (2021, 2022, 2023, 2024)] == [
        date(2021, 4, 4),
        date(2022, 4, 17),
        date(2023, 4, 9),
        date(2024, 3, 31),
    ]
    assert date(2023, 5, 18) in german_holidays(2023)  # Ascension
    assert len(german_holidays(2023)) == 9
    assert {date(2023, 11, 23), date(2023, 5, 29), date(2023, 9, 4), date(2023, 1, 2)} <= us_holidays(2023)
    calendar = calendar_of("DE", datetime(2023, 3, 25, 23, tzinfo=UTC), 4)  # the clocks go forward
    assert calendar.hour.tolist() == [0, 1, 3, 4]
    assert calendar.is_rest.all()
    assert calendar_of("nowhere", datetime(2023, 1, 2, 5, tzinfo=UTC), 1).hour.tolist() == [5]


def test_the_four_kinds_of_carbon_are_never_mixed() -> None:
    series = made_up(20).carbon
    assert str(kind_of(series)) == "direct average"
    with pytest.raises(DataError, match="direct average and lifecycle average is wanted"):
        require_kind(series, CarbonKind(Scope.LIFECYCLE))
    marginal = CarbonKind(Scope.DIRECT, Accounting.MARGINAL)
    assert kind_of(replace(series, quantity=marginal.quantity)) == marginal
    with pytest.raises(DataError, match="marginal is wanted"):
        require_kind(series, marginal)
    with pytest.raises(DataError, match="no carbon intensity"):
        kind_of(replace(series, kind=""))


class TestWeatherAhead:
    def test_the_newest_run_that_is_out(self, tmp_path: Path) -> None:
        rows = ["issued_utc,valid_utc,wind_m_s"]
        for issued, wind in ((0, 3.0), (12, 5.0)):
            begin = datetime(2023, 1, 1, issued, tzinfo=UTC)
            rows += [f"{begin:%F %T},{begin + timedelta(hours=h):%F %T},{wind + h}" for h in range(4)]
        (path := tmp_path / "forecast.csv").write_text("\n".join(rows), encoding="utf-8")
        weather = read_weather_ahead(path)
        first_s = int(datetime(2023, 1, 1, 2, tzinfo=UTC).timestamp())
        at_eleven = weather.newest(datetime(2023, 1, 1, 11, tzinfo=UTC), first_s, 3)[:, 0]
        assert at_eleven[:2].tolist() == [5.0, 6.0]
        assert np.isnan(at_eleven[2])
        assert np.isnan(weather.newest(datetime(2022, 12, 31, tzinfo=UTC), first_s, 3)).all()

    def test_a_gap_in_a_run_is_an_error(self, tmp_path: Path) -> None:
        text = "issued_utc,valid_utc,wind_m_s\n2023-01-01,2023-01-01 00:00,1\n2023-01-01,2023-01-01 02:00,1\n"
        (path := tmp_path / "forecast.csv").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match="not hourly without gaps"):
            read_weather_ahead(path)


def test_inputs_refuse_what_has_no_time_of_issue(inputs: Inputs) -> None:
    early = replace(inputs.lagged[0], known_lag_s=-3600.0)
    with pytest.raises(DataError, match="public before its hour"):
        Inputs(inputs.carbon, None, (early,))
    with pytest.raises(DataError, match="full hours"):
        Inputs(inputs.carbon, None, (replace(inputs.lagged[0], start=START + timedelta(minutes=30)),))
