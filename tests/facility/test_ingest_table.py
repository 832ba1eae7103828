"""CSV with a mapping: wide and long, units, sentinels, local time with the hours that clocks spoil."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from facility.errors import ConfigError
from facility.ingest import MappedTables, load_mapping
from tests.facility.ingesting import readings, select, take

WIDE = """
source = "bms"
[time]
column = "Time"
[[point]]
name = "CRAH1 SAT"
point = "crah-1/supply_air_c"
unit = "degC"
scale = 0.1
sentinels = [-9999, 32767]
[[point]]
name = "Power kW"
point = "main/power_w"
unit = "W"
scale = 1000.0
offset = 5.0
"""
LONG = """
delimiter = ";"
decimal = ","
skip_lines = 2
[time]
column = "Zeit"
format = "%d.%m.%Y %H:%M"
zone = "Europe/Berlin"
[long]
tag = "Punkt"
value = "Wert"
quality = "Status"
good = ["OK"]
uncertain = ["?"]
[[point]]
name = "T1"
point = "a/t_c"
unit = "degC"
[[point]]
name = "P1"
point = "a/p_w"
unit = "W"
sentinels = [-1.0]
"""


def mapped(folder: Path, mapping: str) -> MappedTables:
    (folder / "m.toml").write_text(mapping)
    return MappedTables(load_mapping(folder / "m.toml"))


def write(folder: Path, text: str) -> Path:
    (folder / "t.csv").write_text(text)
    return folder / "t.csv"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_wide_table(tmp_path: Path) -> None:
    text = (
        "Time,CRAH1 SAT,Comment,Power kW\n"
        "2025-06-03T10:00:00Z,185,a,1.5\n"
        '2025-06-03 12:01+02:00,-9999,"x, y",0x10\n'
        "2025-06-03 10:02:00.5Z,,c,nan\n"
        "soon,1,d,1\n"
    )
    (account,) = take(tmp_path, [mapped(tmp_path, WIDE)], write(tmp_path, text)).ingested
    assert readings(tmp_path) == [
        (at("2025-06-03T10:00:00"), "crah-1/supply_air_c", 18.5, "degC", "good"),
        (at("2025-06-03T10:00:00"), "main/power_w", 1505.0, "W", "good"),
        (at("2025-06-03T10:01:00"), "crah-1/supply_air_c", None, "degC", "bad"),
        (at("2025-06-03T10:01:00"), "main/power_w", None, "W", "bad"),
        (at("2025-06-03T10:02:00.5"), "main/power_w", None, "W", "bad"),
    ]
    assert account.counts == {
        "sentinels": 1,
        "cells that are no number": 2,
        "empty cells": 1,
        "rows without a time": 1,
    }
    assert account.notes == ["1 of 4 rows have no time that can be used, e.g. 'soon'"]
    assert select(tmp_path, "SELECT DISTINCT source FROM readings") == [("bms",)]


def test_a_long_table_in_local_time(tmp_path: Path) -> None:
    text = (
        "Bericht\n;;\nZeit;Punkt;Wert;Status\n"
        "30.03.2025 01:30;T1;1.021,5;ok\n"
        "30.03.2025 02:30;T1;22,5;ok\n"  # does not exist
        "30.03.2025 03:30;P1;-1,0;ok\n"  # a sentinel
        "26.10.2025 02:30;P1;3;?\n"  # is there twice
        "26.10.2025 03:30;P1;4;alarm\n"
        "26.10.2025 04:30;P1;;ok\n"
        "26.10.2025 04:30;Q9;1;ok\n"
    )
    (account,) = take(tmp_path, [mapped(tmp_path, LONG)], write(tmp_path, text)).ingested
    assert readings(tmp_path) == [
        (at("2025-03-30T00:30:00"), "a/t_c", 1021.5, "degC", "good"),
        (at("2025-03-30T01:30:00"), "a/p_w", None, "W", "bad"),
        (at("2025-10-26T02:30:00"), "a/p_w", 4.0, "W", "bad"),
        (at("2025-10-26T03:30:00"), "a/p_w", None, "W", "bad"),
    ]
    assert account.counts == {
        "sentinels": 1,
        "empty cells": 1,
        "rows of tags that are not mapped": 1,
        "rows in an ambiguous hour": 1,
        "rows in an hour that did not exist": 1,
    }


@pytest.mark.parametrize(("choice", "hour"), [("earlier", 0), ("later", 1)])
def test_the_doubled_hour_is_taken_as_told(tmp_path: Path, choice: str, hour: int) -> None:
    mapping = LONG.replace('zone = "Europe/Berlin"', f'zone = "Europe/Berlin"\nambiguous = "{choice}"')
    text = "\n\nZeit;Punkt;Wert;Status\n26.10.2025 02:30;P1;3;?\n"
    take(tmp_path, [mapped(tmp_path, mapping)], write(tmp_path, text))
    assert readings(tmp_path) == [
        (at("2025-10-26T00:30:00") + timedelta(hours=hour), "a/p_w", 3.0, "W", "uncertain"),
    ]


@pytest.mark.parametrize(
    ("form", "cell", "expected"),
    [
        ("unix_s", "1748944800", "2025-06-03T10:00:00"),
        ("unix_s", "1748944800.25", "2025-06-03T10:00:00.25"),
        ("unix_ms", "1748944800250", "2025-06-03T10:00:00.25"),
        ("%Y/%m/%d %H:%M:%S %z", "2025/06/03 15:30:00 +0530", "2025-06-03T10:00:00"),
        ("iso", "2025-06-03T04:30:00,123-0530", "2025-06-03T10:00:00.123"),
    ],
)
def test_forms_of_time(tmp_path: Path, form: str, cell: str, expected: str) -> None:
    mapping = WIDE.replace('column = "Time"', f'column = "Time"\nformat = "{form}"')
    take(tmp_path, [mapped(tmp_path, mapping)], write(tmp_path, f'Time,CRAH1 SAT,Power kW\n"{cell}",1,\n'))
    assert readings(tmp_path)[0][0] == at(expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Time,CRAH1 SAT\n2025-06-03,1\n", "columns are missing: Power kW"),
        ("Time,CRAH1 SAT,Power kW,Time\n2025-06-03,1,1,1\n", "columns appear twice: Time"),
        ("Time,CRAH1 SAT,Power kW\n2025-06-03,1,1\n", "times without an offset"),
        ("Time,CRAH1 SAT,Power kW\nx,1,1\ny,2,2\n", "no row has a time that can be used, e.g. 'x'"),
        ("Time,CRAH1 SAT,Power kW\n2025-06-03T00:00Z,1,1\n2025-06-03T00:00Z,1\n", "not a CSV file"),
        ("Time,CRAH1 SAT,Power kW\n", "a header and no rows"),
        ("a,b\n1,2\n", "of no known kind"),
    ],
)
def test_what_does_not_fit_the_mapping_leaves_nothing(tmp_path: Path, text: str, said: str) -> None:
    result = take(tmp_path, [mapped(tmp_path, WIDE)], write(tmp_path, text))
    assert said in str(result.failed[0][1])
    assert readings(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('column = "Time"', 'column = "Time"\nzone = "Mars/Olympus"', "IANA time zone"),
        ('column = "Time"', 'column = "Time"\nformat = "%H:%M"', "local times need 'zone'"),
        ('column = "Time"', 'column = "Time"\nformat = "unix_s"\nzone = "UTC"', "unix times are UTC"),
        ('source = "bms"', 'sauce = "bms"', "did you mean 'source'"),
        ('point = "main/power_w"', 'point = "power"', "point.1.point"),
        ('point = "main/power_w"', 'point = "crah-1/supply_air_c"', "appears more than once"),
        ('source = "bms"', 'delimiter = "."', "are the same"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        mapped(tmp_path, WIDE.replace(old, new))


def test_a_format_without_a_date_is_refused_with_the_mapping_named(tmp_path: Path) -> None:
    mapping = WIDE.replace('column = "Time"', 'column = "Time"\nformat = "%H:%M"\nzone = "UTC"')
    result = take(tmp_path, [mapped(tmp_path, mapping)], write(tmp_path, "Time,CRAH1 SAT,Power kW\n10:00,1,1\n"))
    assert "correct [time] in the mapping" in str(result.failed[0][1]) or "no row has a time" in str(
        result.failed[0][1]
    )


def test_a_large_table_comes_in_bounded_batches_and_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facility.ingest.table.BLOCK_BYTES", 4096)
    monkeypatch.setattr("facility.ingest.intake.BATCH_ROWS", 100)
    start = at("2025-06-03T00:00:00")
    lines = [f"{start + timedelta(seconds=second)},{second},{second}\n" for second in range(2000)]
    good = write(tmp_path, "Time,CRAH1 SAT,Power kW\n" + "".join(lines))
    table = mapped(tmp_path, WIDE)
    assert take(tmp_path, [table], good).ingested[0].readings == 4000
    assert select(tmp_path, "SELECT count(*), max(value) FROM readings") == [(4000, 1_999_005.0)]
    cut = tmp_path / "cut.csv"
    cut.write_text(good.read_text() + "2025-06-03T00:00:00Z,1\n")
    assert "not a CSV file" in str(take(tmp_path, [table], cut).failed[0][1])
    assert select(tmp_path, "SELECT count(*) FROM readings") == [(4000,)]
    assert select(tmp_path, "SELECT count(*) FROM ingested") == [(1,)]
