"""Signals: what real files say, what is public when, and that every kind of damage is named."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psychrolib
import pytest

from facility.errors import DataError
from tests.shared import shared
from twin.signals import (
    Series,
    canonical_zone,
    load_signals,
    read_electricity_maps,
    read_epw,
    read_open_meteo,
    read_prices,
    read_weather,
    report,
    synthetic_carbon,
    synthetic_signals,
    synthetic_weather,
    wetbulb_series,
)

START = datetime(2023, 1, 1, tzinfo=UTC)
HEADER = (
    "Datetime (UTC),Country,Zone Name,Zone Id,Carbon Intensity gCO₂eq/kWh (direct),"
    "Carbon Intensity gCO₂eq/kWh (LCA),Low Carbon Percentage,Renewable Percentage,"
    "Data Source,Data Estimated,Data Estimation Method"
)


def carbon_rows(hours: int = 48, zone: str = "DE", start: datetime = START) -> list[str]:
    return [HEADER] + [
        f"{start + timedelta(hours=h):%Y-%m-%d %H:%M:%S},Germany,Germany,{zone},{300 + h},{350 + h},50,40,entsoe.eu,"
        f"{'true' if h == 3 else 'false'},"
        for h in range(hours)
    ]


def write(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def held(values: list[float], **changes: object) -> Series:
    fields = {"quantity": "q", "unit": "u", "zone": "DE", "start": START, "step_s": 3600.0, "known_lag_s": 3600.0}
    return Series(value=np.array(values), source="test", **{**fields, **changes})  # type: ignore[arg-type]


class TestSeries:
    def test_held_values_and_means(self) -> None:
        series = held([1.0, 3.0, 5.0, 7.0])
        assert series.at(START + timedelta(minutes=59)) == 1.0
        assert series.window(START, START + timedelta(hours=2), 1800.0).tolist() == [1, 1, 3, 3]
        assert series.window(START, START + timedelta(hours=4), 7200.0).tolist() == [2, 6]
        half = START + timedelta(minutes=30)
        assert series.window(half, half + timedelta(hours=2), 3600.0).tolist() == [2, 4]

    def test_instants_are_interpolated(self) -> None:
        series = held([10.0, 14.0, 12.0], instant=True, known_lag_s=0.0)
        assert series.at(START + timedelta(minutes=15)) == 11.0
        assert series.window(START, START + timedelta(hours=1), 900.0).tolist() == [10, 11, 12, 13]

    def test_outside_the_span_names_the_span(self) -> None:
        series = held([1.0, 2.0])
        for when in (START - timedelta(seconds=1), START + timedelta(hours=2)):
            with pytest.raises(DataError, match="covers 2023-01-01 00:00 to 2023-01-01 02:00"):
                series.at(when)

    def test_an_hour_is_public_when_it_is_over(self) -> None:
        series = held([1.0, 2.0, 3.0])
        assert len(series.known_at(START + timedelta(minutes=59)).value) == 0
        assert series.known_at(START + timedelta(hours=2)).value.tolist() == [1, 2]
        assert series.published(START + timedelta(hours=2)) == START + timedelta(hours=2)

    def test_day_ahead_prices_are_public_at_13_local(self) -> None:
        prices = held([0.0] * 96, day_ahead_tz="Europe/Berlin", known_lag_s=-11 * 3600.0)
        before, after = datetime(2023, 1, 1, 11, 59, tzinfo=UTC), datetime(2023, 1, 1, 12, 0, tzinfo=UTC)
        assert prices.published(before) == datetime(2023, 1, 1, 23, tzinfo=UTC)
        assert prices.published(after) == datetime(2023, 1, 2, 23, tzinfo=UTC)

    def test_values_are_read_only_and_the_callers_are_not(self) -> None:
        mine = np.array([1.0, 2.0])
        series = held([0.0])
        series = Series("q", "u", "DE", START, 3600.0, mine, 0.0, "test")
        mine[0] = 9.0
        assert series.value[0] == 1.0
        with pytest.raises(ValueError, match="read-only"):
            series.value[0] = 2.0


class TestElectricityMaps:
    def test_kinds_units_and_estimates(self, tmp_path: Path) -> None:
        path = write(tmp_path / "de.csv", carbon_rows())
        series = read_electricity_maps(path, zone="DE-LU")
        assert (series.zone, series.unit, series.kind, series.estimated) == ("DE", "gCO2eq/kWh", "lifecycle", 1)
        assert series.value[0] == 350.0
        assert read_electricity_maps(path, kind="direct").value[0] == 300.0

    @pytest.mark.parametrize(
        "name", ["Carbon Intensity gCO₂eq/kWh (Life cycle)", "Carbon intensity gCO₂eq/kWh (Life cycle)"]
    )
    def test_other_spellings(self, tmp_path: Path, name: str) -> None:
        rows = carbon_rows()
        rows[0] = rows[0].replace("Carbon Intensity gCO₂eq/kWh (LCA)", name).replace("Zone Id", "Zone id")
        assert read_electricity_maps(write(tmp_path / "a.csv", rows)).value[0] == 350.0

    def test_bom_crlf_blank_lines_and_gzip(self, tmp_path: Path) -> None:
        plain = write(tmp_path / "a.csv", carbon_rows())
        odd = tmp_path / "b.csv"
        odd.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
        packed = tmp_path / "c.csv.gz"
        packed.write_bytes(gzip.compress(plain.read_bytes()))
        expected = read_electricity_maps(plain).value.tolist()
        assert read_electricity_maps(odd).value.tolist() == expected
        assert read_electricity_maps(packed).value.tolist() == expected

    def test_files_join_in_any_order(self, tmp_path: Path) -> None:
        first = write(tmp_path / "1.csv", carbon_rows(24))
        second = write(tmp_path / "2.csv", carbon_rows(24, start=START + timedelta(days=1)))
        assert len(read_electricity_maps([second, first]).value) == 48
        with pytest.raises(DataError, match="overlap"):
            read_electricity_maps([first, first])

    def test_a_gap_is_named_and_filled_only_when_asked(self, tmp_path: Path) -> None:
        rows = carbon_rows()
        del rows[11:13]  # 10:00 and 11:00
        path = write(tmp_path / "gap.csv", rows)
        with pytest.raises(
            DataError, match=r"gap\.csv: 2 value.* missing in 1 gap.*the first 2 from 2023-01-01 10:00 UTC"
        ):
            read_electricity_maps(path)
        series = read_electricity_maps(path, fill_gaps=True)
        assert [(gap.start.hour, gap.missing) for gap in series.gaps] == [(10, 2)]
        assert series.value[10] == 360.0
        assert "interpolated" in " ".join(finding.text for finding in report(series).findings)

    def test_long_gaps_are_never_filled(self, tmp_path: Path) -> None:
        rows = carbon_rows()
        del rows[11:16]
        with pytest.raises(DataError, match="never filled"):
            read_electricity_maps(write(tmp_path / "gap.csv", rows), fill_gaps=True)

    def test_an_empty_cell_is_missing_not_zero(self, tmp_path: Path) -> None:
        rows = carbon_rows()
        rows[6] = rows[6].replace("355", "")
        with pytest.raises(DataError, match=r"1 value.* from 2023-01-01 05:00"):
            read_electricity_maps(write(tmp_path / "a.csv", rows))

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (
                lambda rows: [rows[0].replace("(LCA)", "(foo)"), *rows[1:]],
                r"line 1: .*expected .*Life cycle.*found .*\(foo\)",
            ),
            (
                lambda rows: [rows[0].replace("Datetime (UTC)", "Datetime"), *rows[1:]],
                "does not say that its times are UTC",
            ),
            (lambda rows: [rows[0].replace("Datetime (UTC)", "Datetime (local)"), *rows[1:]], "does not say"),
            (
                lambda rows: [rows[0].replace("Zone Id", "Area"), *rows[1:]],
                "no column for the zone: expected 'Zone Id', found",
            ),
            (
                lambda rows: [*rows[:5], rows[5], rows[5], *rows[6:]],
                "line 7: the stamp 2023-01-01 04:00 UTC appears twice",
            ),
            (lambda rows: [*rows[:5], rows[6], rows[5], *rows[7:]], "line 7: .*comes after"),
            (lambda rows: [*rows[:5], rows[5].replace("354", "-354"), *rows[6:]], "line 6: -354 gCO2eq/kWh cannot be"),
            (lambda rows: [*rows[:5], rows[5].replace("354", "35400"), *rows[6:]], "line 6: 35400"),
            (lambda rows: [*rows[:5], rows[5].replace("354", "n/a"), *rows[6:]], "line 6: 'n/a' .*not a number"),
            (lambda rows: [*rows[:5], rows[5].replace("354", "nan"), *rows[6:]], "missing"),
            (lambda rows: [*rows[:5], rows[5].replace(":00:00", ":00:00+01:00"), *rows[6:]], "line 6: .*local time"),
            (lambda rows: [*rows[:5], rows[5].replace("2023-", "23/"), *rows[6:]], "line 6: .*not a time"),
            (lambda rows: [*rows[:5], "2023-01-01 04:00:00,Ger", *rows[6:]], "line 6: 2 cells where the header has 11"),
            (
                lambda rows: [*rows[:5], rows[5].replace(",DE,", ",FR,"), *rows[6:]],
                "line 6: the file holds zone 'FR' and 'DE'",
            ),
            (lambda rows: [*rows[:5], rows[5].replace("04:00:00", "04:20:00"), *rows[6:]], "off the grid"),
            (lambda rows: rows[:1], "a header and no rows"),
            (lambda rows: rows[:2], "single stamp"),
        ],
    )
    def test_damage_is_named(self, tmp_path: Path, damage, message: str) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(DataError, match=message) as caught:
            read_electricity_maps(write(tmp_path / "bad.csv", damage(carbon_rows())))
        assert "bad.csv" in str(caught.value)
        assert caught.value.hint

    @pytest.mark.parametrize(
        ("content", "message"), [(b"", "empty"), (b"\x00\x01\x02", "binary"), (b"\x1f\x8bjunk", "cannot read")]
    )
    def test_files_that_are_no_text(self, tmp_path: Path, content: bytes, message: str) -> None:
        path = tmp_path / "x.csv"
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_electricity_maps(path)

    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="No such file"):
            read_electricity_maps(tmp_path / "none.csv")

    def test_wrong_zone(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="holds zone 'DE' and 'US-CAL-CISO' is wanted"):
            read_electricity_maps(write(tmp_path / "a.csv", carbon_rows()), zone="US-CAL-CISO")

    def test_kilograms_are_noticed(self, tmp_path: Path) -> None:
        rows = [HEADER] + [row.replace(",35", ",0.35").replace(",36", ",0.36") for row in carbon_rows(20)[1:]]
        with pytest.raises(DataError, match="kg/kWh"):
            read_electricity_maps(write(tmp_path / "a.csv", rows))


@pytest.mark.parametrize("zone", ["DE-LU", "US-CAL-CISO"])
class TestRealFiles:
    def paths(self, zone: str, years: tuple[int, ...] = (2021, 2022, 2023)) -> list[Path]:
        return [shared(f"carbon/electricitymaps_{zone}_{year}_hourly.csv") for year in years]

    def test_three_years_of_a_site(self, zone: str) -> None:
        weather = [shared(f"weather/openmeteo_{zone}_{year}.json") for year in (2021, 2022, 2023)]
        price = shared(f"prices/dayahead_{zone}_2021_2023_usd_mwh.csv")
        signals = load_signals(self.paths(zone), weather, price)
        assert len(signals.carbon.value) == 3 * 8760
        assert not signals.synthetic
        assert signals.carbon.zone == canonical_zone(zone)
        assert signals.carbon.estimated == {"DE-LU": 30, "US-CAL-CISO": 15}[zone]
        assert (
            signals.drybulb.start
            == {
                "DE-LU": datetime(2020, 12, 31, 23, tzinfo=UTC),
                "US-CAL-CISO": datetime(2021, 1, 1, 7, tzinfo=UTC),
            }[zone]
        )
        assert np.all(wetbulb_series(signals).value <= signals.drybulb.value + 1e-6)

    @pytest.mark.parametrize("kind", ["direct", "lifecycle"])
    @pytest.mark.parametrize("year", [2021, 2022, 2023])
    def test_each_year_passes(self, zone: str, kind: str, year: int) -> None:
        assert len(read_electricity_maps(self.paths(zone, (year,)), kind=kind, zone=zone).value) == 8760  # type: ignore[arg-type]

    @pytest.mark.parametrize("year", [2021, 2022, 2023])
    def test_a_year_in_local_time_is_refused(self, zone: str, year: int, tmp_path: Path) -> None:
        shift = {"DE-LU": 1, "US-CAL-CISO": -8}[zone]
        lines = self.paths(zone, (year,))[0].read_text(encoding="utf-8").splitlines()
        moved = [lines[0]]
        for line in lines[1:]:
            stamp, rest = line.split(",", 1)
            moved.append(f"{datetime.fromisoformat(stamp) + timedelta(hours=shift)},{rest}")
        with pytest.raises(DataError, match="local time"):
            read_electricity_maps(write(tmp_path / "a.csv", moved))

    def test_daylight_saving_gives_local_time_away(self, zone: str, tmp_path: Path) -> None:
        from zoneinfo import ZoneInfo

        clock = ZoneInfo({"DE-LU": "Europe/Berlin", "US-CAL-CISO": "America/Los_Angeles"}[zone])
        lines = self.paths(zone, (2023,))[0].read_text(encoding="utf-8").splitlines()
        moved = [lines[0]]
        for line in lines[24 * 60 : 24 * 90]:
            stamp, rest = line.split(",", 1)
            local = datetime.fromisoformat(stamp).replace(tzinfo=UTC).astimezone(clock)
            moved.append(f"{local:%Y-%m-%d %H:%M:%S},{rest}")
        with pytest.raises(DataError, match=r"daylight saving in .* local time"):
            read_electricity_maps(write(tmp_path / "a.csv", moved))

    def test_the_other_zones_weather_is_refused(self, zone: str) -> None:
        other = {"DE-LU": "US-CAL-CISO", "US-CAL-CISO": "DE-LU"}[zone]
        with pytest.raises(DataError, match="lies outside zone"):
            load_signals(self.paths(zone, (2023,)), shared(f"weather/openmeteo_{other}_2023.json"))

    def test_the_other_zones_prices_are_refused(self, zone: str) -> None:
        other = {"DE-LU": "US-CAL-CISO", "US-CAL-CISO": "DE-LU"}[zone]
        with pytest.raises(DataError, match="the file name says zone"):
            read_prices(shared(f"prices/dayahead_{other}_2021_2023_usd_mwh.csv"), zone)


def open_meteo(tmp_path: Path, hours: int = 48, **changes: object) -> Path:
    stamps = [f"{START + timedelta(hours=h):%Y-%m-%dT%H:%M}" for h in range(hours)]
    document: dict[str, object] = {
        "latitude": 50.09,
        "longitude": 8.65,
        "elevation": 111.0,
        "utc_offset_seconds": 3600,
        "timezone": "Europe/Berlin",
        "hourly_units": {"temperature_2m": "°C", "relative_humidity_2m": "%"},
        "hourly": {"time": stamps, "temperature_2m": [5.0] * hours, "relative_humidity_2m": [80] * hours},
    }
    path = tmp_path / "w.json"
    path.write_text(json.dumps({**document, **changes}), encoding="utf-8")
    return path


class TestWeather:
    def test_local_stamps_become_utc(self, tmp_path: Path) -> None:
        record = read_weather(open_meteo(tmp_path))
        assert record.drybulb.start == START - timedelta(hours=1)
        assert (record.latitude_deg, record.altitude_m) == (50.09, 111.0)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"utc_offset_seconds": 0}, "time zone is Europe/Berlin"),
            ({"utc_offset_seconds": None}, "'utc_offset_seconds' is None"),
            ({"latitude": None}, "no latitude"),
            ({"hourly": {"time": ["2023-01-01T00:00"], "temp": [1]}}, "no hourly 'temperature_2m', found temp"),
            ({"hourly_units": {"temperature_2m": "°F"}}, "is in '°F', expected '°C'"),
            ({"hourly": []}, "no object 'hourly'"),
            ({"hourly": {"time": ["a", "b"], "temperature_2m": [1, 2], "relative_humidity_2m": [1, 2]}}, "not a time"),
            ({"hourly": {"time": ["a", "b"], "temperature_2m": [1], "relative_humidity_2m": [1, 2]}}, "1 values of"),
            (
                {"hourly": {"time": ["a", "b"], "temperature_2m": [1, 300], "relative_humidity_2m": [1, 2]}},
                "300 °C at b",
            ),
        ],
    )
    def test_damage_is_named(self, tmp_path: Path, changes: dict[str, object], message: str) -> None:
        with pytest.raises(DataError, match=message):
            read_open_meteo(open_meteo(tmp_path, **changes))

    def test_a_null_is_a_gap(self, tmp_path: Path) -> None:
        path = open_meteo(tmp_path)
        document = json.loads(path.read_text())
        document["hourly"]["temperature_2m"][7] = None
        path.write_text(json.dumps(document))
        with pytest.raises(DataError, match="from 2023-01-01 06:00 UTC"):
            read_weather(path)
        assert len(read_weather(path, fill_gaps=True).drybulb.gaps) == 1

    def test_broken_json_names_the_line(self, tmp_path: Path) -> None:
        path = tmp_path / "w.json"
        path.write_text('{\n"latitude": ,\n}')
        with pytest.raises(DataError, match="line 2"):
            read_weather(path)

    def test_neither_form(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="neither Open-Meteo JSON nor"):
            read_weather(write(tmp_path / "a.csv", carbon_rows()))

    def test_an_offset_that_contradicts_the_longitude(self, tmp_path: Path) -> None:
        path = shared("weather/openmeteo_US-CAL-CISO_2022.json")
        document = json.loads(path.read_text())
        document["utc_offset_seconds"], document["timezone"] = 0, "GMT"
        moved = tmp_path / "w.json"
        moved.write_text(json.dumps(document))
        with pytest.raises(DataError, match="offset from UTC or its longitude is wrong"):
            read_weather(moved)

    def test_wet_bulb_agrees_with_psychrolib(self) -> None:
        signals = synthetic_signals("DE", START, 2, 3)
        psychrolib.SetUnitSystem(psychrolib.SI)
        pressure = psychrolib.GetStandardAtmPressure(signals.altitude_m)
        expected = [
            psychrolib.GetTWetBulbFromRelHum(t, rh / 100.0, pressure)
            for t, rh in zip(signals.drybulb.value, signals.rh.value, strict=True)
        ]
        assert np.allclose(wetbulb_series(signals).value, expected, atol=0.02)


class TestEpw:
    def test_a_typical_year_fills_the_utc_year(self) -> None:
        path = shared("weather/USA_CA_San.Jose-Mineta.epw")
        record = read_weather(path, 2022)
        assert (record.drybulb.start, record.drybulb.end) == (
            datetime(2022, 1, 1, tzinfo=UTC),
            datetime(2023, 1, 1, tzinfo=UTC),
        )
        assert record.drybulb.at(datetime(2022, 1, 1, 9, tzinfo=UTC)) == 6.1  # hour 1, 01:00 at UTC-8
        assert "typical year" in record.drybulb.source

    def test_a_leap_year_repeats_28_february(self) -> None:
        record = read_epw(shared("weather/USA_CA_San.Jose-Mineta.epw"), 2024)
        assert len(record.drybulb.value) == 8784
        assert any("29 February" in note for note in record.drybulb.notes)

    def test_months_of_different_years_need_a_year(self) -> None:
        with pytest.raises(DataError, match="say onto which year"):
            read_epw(shared("weather/USA_CA_San.Jose-Mineta.epw"))

    def test_a_missing_hour_is_named(self, tmp_path: Path) -> None:
        lines = shared("weather/USA_CA_San.Jose-Mineta.epw").read_text(encoding="latin-1").splitlines()
        del lines[20]
        with pytest.raises(DataError, match="line 21: hour 14 where hour 13 is expected"):
            read_weather(write(tmp_path / "a.epw", lines), 2022)


class TestPrices:
    def test_unknown_currency_and_clock(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "p.csv", ["utc,price_eur_mwh", "2023-01-01 00:00:00+00:00,1", "2023-01-01 01:00:00+00:00,-2"]
        )
        with pytest.raises(DataError, match=r"expected 'price_usd_mwh'.*found 'utc', 'price_eur_mwh'"):
            read_prices(path, "DE")
        with pytest.raises(DataError, match="clock of zone 'XX'"):
            read_prices(path, "XX")
        with pytest.raises(DataError, match="not a time zone"):
            read_prices(path, "DE", "Europe/Nowhere")

    def test_negative_prices_are_real(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "p.csv", ["utc,price_usd_mwh", "2023-01-01 00:00:00+00:00,1", "2023-01-01 01:00:00+00:00,-2"]
        )
        assert read_prices(path, "DE").value.tolist() == [1, -2]


class TestSynthetic:
    @pytest.mark.parametrize("zone", ["US-CAL-CISO", "DE"])
    def test_labelled_seeded_and_plausible(self, zone: str) -> None:
        signals = synthetic_signals(zone, START, 365, 1)
        for series in (signals.carbon, signals.drybulb, signals.rh, signals.price, wetbulb_series(signals)):
            assert series is not None
            assert series.synthetic
            assert series.source.startswith("synthetic")
        again = synthetic_signals(zone, START, 365, 1)
        assert np.array_equal(signals.carbon.value, again.carbon.value)
        assert not np.array_equal(signals.carbon.value, synthetic_carbon(zone, START, 365, 2).value)
        assert any("synthetic" in finding.text for finding in report(signals.carbon).findings)
        assert signals.synthetic

    def test_no_such_shape(self) -> None:
        with pytest.raises(DataError, match="no synthetic grid like 'Mars'"):
            synthetic_weather("Mars", START, 1, 0)
