"""`ipmitool sdr` dumps: every form of line, of file and of archive; and the real ones of an outage day."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from facility.errors import DataError
from facility.ingest import SdrDumps, Source, find
from facility.ingest.naming import host_of
from facility.ingest.sdr_line import CFM, Kind, parse_line
from tests.facility.ingesting import readings, select, take
from tests.shared import shared

AT = datetime(2025, 6, 3, 10, 15, tzinfo=UTC)
REAL = "facility/ipmi/harvard_ipmi_2025-06-03.tar.xz"

DUMP = """\
Inlet Temp       | 23 degrees C      | ok
Fan 1A Tach      | 5040 RPM          | ok
Fan 1B Tach      | 0 RPM             | cr
CMOS Battery     | 3.15 Volts        | nc
Sys Power        | 1010 Watts        | ok
PSU1 Duty        | 40 percent        | ok
CPU 1 DTS        | -39 unspecified   | ok
Air Flow         | 100 CFM           | ok
Current 1        | 0.40 Amps         | us
CPU 1 Temp       | no reading        | ns
CPU 2 Temp       | disabled          | ns
Host Power       | 0x00              | ok
GPT Status       | Not Readable      | ns
Temp             | 40 degrees C      | ok
Temp             | 41 degrees C      | ok
Temp.            | 42 degrees C      | ok
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("line", "kind", "value", "suffix"),
    [
        ("CPU Temp | 25 degrees C | ok", Kind.NUMBER, 25.0, "c"),
        ("CPU Temp | 77 degrees F | ok", Kind.NUMBER, 25.0, "c"),
        ("CPU Temp | -123.45 degrees | ok", Kind.OTHER, None, ""),  # cut off: C, F or K
        ("Power | 12345.67 unspe | ok", Kind.NUMBER, 12345.67, "unspe"),
        ("Power | 123456.7 unspec | ok", Kind.NUMBER, 123456.7, ""),  # cut off, and no doubt
        ("Flow | 12 furlongs/s | ok", Kind.NUMBER, 12.0, "furlongs_s"),
        ("CPU Temp | 25 degrees C | ns", Kind.SILENT, None, "c"),
        ("CPU Temp | No Reading | ns", Kind.SILENT, None, ""),
        ("Status | 0x80 | ok", Kind.DISCRETE, None, ""),
        ("Status | 0x | ok", Kind.DISCRETE, None, ""),
        ("Status | 25 | ok", Kind.DISCRETE, None, ""),  # a number without unit is a state
        ("Status | nan degrees C | ok", Kind.DISCRETE, None, ""),
        ("Status | 1e999 Watts | ok", Kind.DISCRETE, None, ""),
        ("Status | 0x19 degrees C | ok", Kind.DISCRETE, None, ""),
        ("CPU Temp | 30h | ok  |  3.1 | 25 degrees C", Kind.NUMBER, 25.0, "c"),
        ("PS1 Status | c8h | ok  | 10.1 | Presence detected", Kind.DISCRETE, None, ""),
        ("CPU Temp | 30h | ns  |  3.1 | No Reading", Kind.SILENT, None, ""),
        ("Fan | 5040.000 | RPM | ok | na | 100.000 | 200.000 | na | na | na", Kind.NUMBER, 5040.0, "rpm"),
        ("Fan | na | RPM | na | na | 100.000 | 200.000 | na | na | na", Kind.SILENT, None, ""),
        ("State | 0x0 | discrete | 0x0080| na | na | na | na | na | na", Kind.DISCRETE, None, ""),
        ("Error: Unable to establish IPMI v2 / RMCP+ session", Kind.OTHER, None, ""),
        ("CPU Temp | 25 degrees C", Kind.OTHER, None, ""),  # cut off
        ("CPU Temp | 25 degrees C | o", Kind.OTHER, None, ""),
        (" | 25 degrees C | ok", Kind.OTHER, None, ""),
        ("", Kind.BLANK, None, ""),
    ],
)
def test_lines(line: str, kind: Kind, value: float | None, suffix: str) -> None:
    found = parse_line(line)
    assert found.kind is kind
    assert found.value == (None if value is None else pytest.approx(value))
    assert (found.unit.suffix if found.unit else "") == suffix


def test_a_dump_gives_readings_of_what_measures_and_counts_the_rest(tmp_path: Path) -> None:
    result = take(tmp_path, [SdrDumps(AT)], write(tmp_path, "node-7.txt", DUMP))
    assert readings(tmp_path) == [
        (AT, "node-7/inlet_temp_c", 23.0, "degC", "good"),
        (AT, "node-7/fan_1a_tach_rpm", 5040.0, "rpm", "good"),
        (AT, "node-7/fan_1b_tach_rpm", 0.0, "rpm", "good"),  # a fan that stands still is measured, not missing
        (AT, "node-7/cmos_battery_v", 3.15, "V", "good"),
        (AT, "node-7/sys_power_w", 1010.0, "W", "good"),
        (AT, "node-7/psu1_duty_pct", 40.0, "%", "good"),
        (AT, "node-7/cpu_1_dts", -39.0, "1", "good"),
        (AT, "node-7/air_flow_m3_s", pytest.approx(100 * CFM), "m3/s", "good"),
        (AT, "node-7/current_1_a", 0.4, "A", "uncertain"),
        (AT, "node-7/cpu_1_temp", None, "", "bad"),
        (AT, "node-7/cpu_2_temp", None, "", "bad"),
        (AT, "node-7/temp_c", 40.0, "degC", "good"),
        (AT, "node-7/temp_2_c", 41.0, "degC", "good"),
        (AT, "node-7/temp_3_c", 42.0, "degC", "good"),
    ]
    (account,) = result.ingested
    assert account.counts == {"discrete": 2, "alarms": 2}
    assert (account.good, account.bad, account.uncertain, account.time_from) == (11, 2, 1, "--at")
    assert 0.047 < CFM * 100 < 0.0473  # 100 cubic feet a minute


def test_a_day_of_dumps_keeps_its_own_times_and_a_point_its_name_while_it_is_silent(tmp_path: Path) -> None:
    text = (
        "Timestamp: 2025-06-03 00:00:01 UTC\nTemp | no reading | ns\nTemp | 2 degrees C | ok\nP | 1 Watts | ok\n"
        "Timestamp: 2025-06-03T02:01:02+02:00\r\nTemp | 3 degrees C | ok\r\nTemp | no reading | ns\r\n\r\n"
    )
    (account,) = take(tmp_path, [SdrDumps(AT)], write(tmp_path, "n-2025-06-03.txt", text)).ingested
    first, second = datetime(2025, 6, 3, 0, 0, 1, tzinfo=UTC), datetime(2025, 6, 3, 0, 1, 2, tzinfo=UTC)
    assert readings(tmp_path) == [
        (first, "n/temp_c", None, "degC", "bad"),
        (first, "n/temp_2_c", 2.0, "degC", "good"),
        (first, "n/p_w", 1.0, "W", "good"),
        (second, "n/temp_c", 3.0, "degC", "good"),
        (second, "n/temp_2_c", None, "degC", "bad"),
    ]
    assert account.time_from == "content"
    assert account.counts == {}
    assert "--at was not needed" in account.notes[0]


@pytest.mark.parametrize(
    ("name", "host", "stamp"),
    [
        ("holy7c16109-2025-06-03.txt", "holy7c16109", "2025-06-03"),
        ("Node_7.example.org.sdr.txt", "node-7.example.org", ""),
        ("a_20250603T101500Z.log", "a", "2025-06-03T10:15:00"),
        ("n-1-sdr-2025-06-03_10-15.txt.gz", "n-1", "2025-06-03T10:15"),
        ("rack1-20259999.txt", "rack1-20259999", ""),
        ("2025-06-03.txt", "2025-06-03", ""),
        ("...", "host", ""),
    ],
)
def test_hosts_and_times_in_file_names(name: str, host: str, stamp: str) -> None:
    assert host_of(name) == (host, stamp)


def test_where_the_time_of_a_dump_is_from(tmp_path: Path) -> None:
    plain = write(tmp_path, "plain.txt", DUMP)
    os.utime(plain, (AT.timestamp(), AT.timestamp()))
    named = write(tmp_path, "named-2025-06-04T01:02.txt", DUMP + "# two\n")
    odd = write(tmp_path, "odd-2025-06-04T99:99.txt", DUMP + "# three\n")
    os.utime(odd, (AT.timestamp(), AT.timestamp()))
    result = take(tmp_path, [SdrDumps()], plain, named, odd)
    told = [(account.time_from, account.first) for account in result.ingested]
    assert told == [
        ("time of change", AT),
        ("file name", datetime(2025, 6, 4, 1, 2, tzinfo=UTC)),
        ("time of change", AT),
    ]


def test_archives_and_packed_files(tmp_path: Path) -> None:
    archive = tmp_path / "dumps.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        for name, text in (("d/a.txt", DUMP), ("d/b.txt", DUMP + "X | 1 Watts | ok\n"), ("d/notes.txt", "hello\n")):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(text), int(AT.timestamp())
            tar.addfile(member, io.BytesIO(text.encode()))
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(DUMP.encode() + b"Y | 1 Watts | ok\n"))
    (tmp_path / "d.xz").write_bytes(lzma.compress(DUMP.encode() + b"Z | 1 Watts | ok\n"))
    result = take(tmp_path, [SdrDumps()], archive, tmp_path / "c.txt.gz", tmp_path / "d.xz")
    assert [account.file.rpartition("/")[2] for account in result.ingested] == ["a.txt", "b.txt", "c.txt.gz", "d.xz"]
    assert [account.time_from for account in result.ingested[:2]] == ["archive entry"] * 2
    assert select(tmp_path, "SELECT DISTINCT ts FROM readings WHERE source = 'a'") == [(AT,)]
    ((name, error),) = result.failed
    assert name.endswith("dumps.tar.xz:d/notes.txt")
    assert "of no known kind: it begins with 'hello'; tried ipmitool sdr" in str(error)


def test_a_cut_archive_keeps_what_was_whole_and_says_so(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("a.txt", "b.txt"):
            member = tarfile.TarInfo(name)
            member.size = 40_000
            tar.addfile(member, io.BytesIO((DUMP + name + "\n").encode().ljust(40_000, b"\n")))
    (tmp_path / "cut.tar").write_bytes(packed.getvalue()[:60_000])
    result = take(tmp_path, [SdrDumps(AT)], tmp_path / "cut.tar")
    assert [account.file.rpartition(":")[2] for account in result.ingested] == ["a.txt"]
    assert "cannot read" in str(result.failed[0][1])


def test_a_bmc_that_was_silent_all_day_is_no_failure(tmp_path: Path) -> None:
    text = "Timestamp: 2025-06-03 00:00:01 UTC\nTimestamp: 2025-06-03 00:01:01 UTC\n"
    (account,) = take(tmp_path, [SdrDumps()], write(tmp_path, "n.txt", text)).ingested
    assert account.readings == 0
    assert account.notes == ["2 times and no sensor: the BMC did not answer"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Timestamp: 2025-06-03 00:00:01\nT | 1 degrees C | ok\n", "does not say its time zone"),
        ("Timestamp: yesterday\nT | 1 degrees C | ok\n", "is no time"),
        ("Timestamp: 0001-01-01 00:00:00+14:00\nT | 1 degrees C | ok\n", "beyond the calendar"),
        ("Error: Unable to establish LAN session\n", "of no known kind"),
        ("", "it is empty"),
        ("\x00\x01\x02", "it is binary"),
    ],
)
def test_what_is_no_dump_fails_alone_and_leaves_nothing(tmp_path: Path, text: str, said: str) -> None:
    result = take(tmp_path, [SdrDumps(AT)], write(tmp_path, "bad.txt", text), write(tmp_path, "ok.txt", DUMP))
    assert [account.file for account in result.ingested] == [str(tmp_path / "ok.txt")]
    ((name, error),) = result.failed
    assert name == str(tmp_path / "bad.txt")
    assert said in str(error)
    assert select(tmp_path, "SELECT DISTINCT source FROM readings") == [("ok",)]


def test_noise_between_the_sensors_is_counted(tmp_path: Path) -> None:
    text = DUMP + "Get SDR 0042 command failed\nFan 9 | 12 R\n" + "x" * 10_000 + "\n"
    (account,) = take(tmp_path, [SdrDumps(AT)], write(tmp_path, "n.txt", text)).ingested
    assert account.counts["lines not understood"] == 3
    assert account.readings == 14


def test_a_file_is_known_again_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, second = write(tmp_path, "a.txt", DUMP), write(tmp_path / "other", "a.txt", DUMP)
    result = take(tmp_path, [SdrDumps(AT)], first, second)
    assert (len(result.ingested), result.skipped) == (1, [str(second)])
    assert take(tmp_path, [SdrDumps(AT)], first).skipped == [str(first)]
    assert len(take(tmp_path, [SdrDumps(AT)], first, again=True).ingested) == 1
    assert select(tmp_path, "SELECT count(*) FROM readings") == [(28,)]
    assert select(tmp_path, "SELECT kind, readings FROM ingested") == [("ipmitool sdr", 14)] * 2


def test_hosts_and_times_that_say_the_same_are_not_the_same(tmp_path: Path) -> None:
    names = ("a-2025-06-03T10:00.txt", "a-2025-06-03T10:05.txt", "b-2025-06-03T10:00.txt")
    result = take(tmp_path, [SdrDumps()], *(write(tmp_path, name, DUMP) for name in names))
    assert (len(result.ingested), result.skipped) == (3, [])
    assert take(tmp_path, [SdrDumps()], *(tmp_path / name for name in names)).ingested == []


def test_real_dumps_of_an_outage_day(tmp_path: Path) -> None:
    """The first members of the archive against a count made line by line, without the parser."""
    chosen: list[Path] = []
    lines: list[list[str]] = []
    for number, found in enumerate(find(shared(REAL))):
        if number == 240:
            break
        if number % 12 == 0:
            assert isinstance(found, Source)
            assert found.content is not None
            chosen.append(tmp_path / found.file_name)
            chosen[-1].write_bytes(found.content)
            lines += [[cell.strip() for cell in line.split("|")] for line in found.content.decode().splitlines()]
    result = take(tmp_path, [SdrDumps()], *chosen)
    assert result.failed == []
    values = [
        float(cells[1].split()[0])
        for cells in lines
        if len(cells) == 3
        and cells[1].split()[-1:] != ["reading"]
        and cells[1].split()[0].lstrip("-").replace(".", "").isdigit()
    ]
    silent = sum(cells[1:2] == ["no reading"] for cells in lines)
    discrete = sum(cells[1].startswith("0x") or cells[1] == "Not Readable" for cells in lines if len(cells) == 3)
    assert sum(account.good for account in result.ingested) == len(values) > 0
    assert sum(account.bad for account in result.ingested) == silent > 0
    assert sum(account.counts.get("discrete", 0) for account in result.ingested) == discrete
    assert select(tmp_path, "SELECT sum(value) FROM readings") == [(pytest.approx(sum(values)),)]
    assert select(tmp_path, "SELECT count(*) FROM readings WHERE (value IS NULL) <> (quality = 'bad')") == [(0,)]


def test_a_folder_is_searched(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    write(tmp_path / "in" / "deep", "a.txt", DUMP)
    (tmp_path / "empty").mkdir()
    result = take(tmp_path, [SdrDumps(AT)], tmp_path / "in", tmp_path / "empty", tmp_path / "nowhere")
    assert len(result.ingested) == 1
    assert [str(error).rpartition(": ")[2] for _, error in result.failed] == [
        "the folder is empty",
        "No such file or directory (check the path and its permissions)",
    ]
    assert all(isinstance(error, DataError) for _, error in result.failed)
