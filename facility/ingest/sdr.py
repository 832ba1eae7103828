"""``ipmitool sdr`` dumps: one host a file, one dump or a day of them, each after a line ``Timestamp: ... UTC``.

Dumps repeat the same lines for ever, so each different line is understood once and then only looked up; the rest is
arithmetic on arrays. Bytes of a line that is not kept are gone after a chunk: memory is about 20 bytes a sensor line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO

import numpy as np
from numpy.typing import NDArray

from facility.errors import DataError
from facility.ingest.batch import BAD, GOOD, UNCERTAIN, Account, Batch, Columns, Format, to_batches
from facility.ingest.naming import Names, host_of
from facility.ingest.sdr_line import NOTHING, Kind, Line, Unit, parse_line
from facility.ingest.source import Source
from facility.recording import EPOCH

CHUNK_BYTES = 8 * 2**20
LINE_BYTES = 4096  # no line of a dump is longer
KNOWN_LINES = 500_000  # different lines that are remembered at a time
HEAD_SHARE = 0.5  # of the lines at the beginning that are sensor lines, by which a dump is known

_LINE = np.dtype([("kind", "i1"), ("sensor", "i4"), ("unit", "i4"), ("quality", "i1"), ("alarm", "?"), ("value", "f8")])
_NO_UNIT = -1


class SdrDumps(Format):
    """The format; remembers lines from one file to the next, because the hosts of a site speak alike."""

    kind = "ipmitool sdr"

    def __init__(self, at: datetime | None = None) -> None:
        """``at``: the time of dumps that carry none; without it the file's name or its time of change says."""
        self._at = at
        self._lines = _Lines()

    def matches(self, source: Source) -> bool:
        """Whether most of the first lines are sensor lines, or times alone: a BMC that was silent all day."""
        lines = [line for line in source.head_lines if line.strip()][:50]
        try:
            kinds = [parse_line(line).kind for line in lines]
        except ValueError:
            return True  # begins with "Timestamp:", and reading it says what is wrong
        sensors = sum(kind in (Kind.NUMBER, Kind.SILENT, Kind.DISCRETE) for kind in kinds)
        others = sum(kind is Kind.OTHER for kind in kinds)
        return len(kinds) > others and sensors >= HEAD_SHARE * (sensors + others)

    def identity(self, source: Source) -> str:
        """Content, host, and the time of a dump that carries none: idle hosts say the same for hours."""
        host, named = host_of(source.file_name)
        has_stamps = any(line.lower().startswith("timestamp:") for line in source.head_lines)
        time = "" if has_stamps else self._time(source, named)[0].isoformat()
        return hashlib.sha256(f"{source.digest} {host} {time}".encode()).hexdigest()

    def read(self, source: Source, account: Account) -> Iterator[Batch]:
        """Readings of the sensors that measure; one that measures and has no number now gives a bad one.

        Discrete sensors give none, and are counted. Raises DataError where no line is a sensor's or a time.
        """
        if len(self._lines) > KNOWN_LINES:
            self._lines = _Lines()
        host, named = host_of(source.file_name)
        with source.open() as file:
            found = _scan(file, self._lines, source.name)
        default, origin = self._time(source, named)
        has_stamps = len(found.stamps_us) > 0
        account.time_from = "content" if has_stamps else origin
        if has_stamps and self._at is not None:
            account.notes.append("the dump carries its own times: --at was not needed")
        stamps = np.concatenate([[(default - EPOCH) // timedelta(microseconds=1)], found.stamps_us]).astype(np.int64)
        _count(found, account)
        if not len(found.kind):
            account.notes.append(f"{len(found.stamps_us)} times and no sensor: the BMC did not answer")
            return
        yield from to_batches(_columns(found, stamps, self._lines, host), host)

    def _time(self, source: Source, named: str) -> tuple[datetime, str]:
        """The time of a dump that carries none, and where it is from."""
        if self._at is not None:
            return self._at, "--at"
        try:
            in_name = datetime.fromisoformat(named).replace(tzinfo=UTC) if named else None
        except ValueError:
            in_name = None
        if in_name is not None:
            return in_name, "file name"
        return source.modified, "archive entry" if source.is_member else "time of change"


class _Lines(dict[bytes, int]):
    """Every different line met, as a row of ``table``."""

    def __init__(self) -> None:
        super().__init__()
        self.table = np.zeros(1024, _LINE)
        self.sensors: dict[str, int] = {}
        self.sensor_names: list[str] = []
        self.units: dict[Unit, int] = {}
        self.unit_list: list[Unit] = []

    def __missing__(self, raw: bytes) -> int:
        line = parse_line(raw.decode("utf-8", "replace")) if len(raw) <= LINE_BYTES else NOTHING
        code = len(self)
        if code == len(self.table):
            self.table = np.concatenate([self.table, np.zeros(code, _LINE)])
        self.table[code] = self._row(line)
        self[raw] = code
        return code

    def _row(self, line: Line) -> tuple[int, int, int, int, bool, float]:
        unit = _NO_UNIT
        if line.unit is not None:
            unit = self.units.setdefault(line.unit, len(self.units))
            if unit == len(self.unit_list):
                self.unit_list.append(line.unit)
        sensor = self.sensors.setdefault(line.sensor, len(self.sensors))
        if sensor == len(self.sensor_names):
            self.sensor_names.append(line.sensor)
        value = float("nan") if line.value is None else line.value
        if line.at is not None:
            value = float((line.at - EPOCH) // timedelta(microseconds=1))  # exact up to the year 2255
        quality = BAD if line.value is None else UNCERTAIN if line.status == "us" else GOOD
        return int(line.kind), sensor, unit, quality, line.status not in ("", "ok", "ns", "us", "na"), value


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """The sensor lines of a file in order, shape [n] each but for the stamps."""

    kind: NDArray[np.int8]
    sensor: NDArray[np.int32]
    unit: NDArray[np.int32]
    quality: NDArray[np.int8]
    value: NDArray[np.float64]
    block: NDArray[np.int32]  # 0 before the first stamp, then counting up
    stamps_us: NDArray[np.int64]
    other: int  # lines that were not understood
    alarms: int


def _scan(file: IO[bytes], lines: _Lines, name: str) -> _Found:
    """All lines of a dump; raises DataError where no sensor or time is among them, or a time cannot be used."""
    parts: list[_Found] = []
    blocks = 0
    for chunk in _chunks(file):
        try:
            codes = np.fromiter(map(lines.__getitem__, chunk), np.int64, len(chunk))
        except ValueError as error:
            hint = "write it as Timestamp: 2025-06-03 00:00:01 UTC"
            raise DataError(f"a time that cannot be used: {error}", where=name, hint=hint) from error
        part = _part(lines.table[codes], blocks)
        blocks += len(part.stamps_us)
        parts.append(part)
    if not any(len(part.kind) or len(part.stamps_us) for part in parts):
        hint = "give the output of `ipmitool sdr`, `sdr elist` or `sensor`"
        raise DataError("no line is one of a sensor", where=name, hint=hint)
    arrays = {
        key: np.concatenate([getattr(part, key) for part in parts])
        for key in ("kind", "sensor", "unit", "quality", "value", "block", "stamps_us")
    }
    return _Found(**arrays, other=sum(part.other for part in parts), alarms=sum(part.alarms for part in parts))


def _part(rows: NDArray[np.void], blocks: int) -> _Found:
    kind = rows["kind"]
    is_stamp = kind == Kind.STAMP
    block = blocks + np.cumsum(is_stamp, dtype=np.int32)
    keep = kind >= Kind.NUMBER
    kept = rows[keep]
    return _Found(
        kind=kept["kind"],
        sensor=kept["sensor"],
        unit=kept["unit"],
        quality=kept["quality"],
        value=kept["value"],
        block=block[keep],
        stamps_us=rows["value"][is_stamp].astype(np.int64),
        other=int((kind == Kind.OTHER).sum()),
        alarms=int(kept["alarm"].sum()),
    )


def _chunks(file: IO[bytes]) -> Iterator[list[bytes]]:
    """Whole lines, some megabytes at a time."""
    rest = b""
    while data := file.read(CHUNK_BYTES):
        lines = (rest + data).split(b"\n")
        rest = lines.pop()
        if len(rest) > LINE_BYTES:  # no dump: what has no line ends must not pile up
            lines.append(rest[: LINE_BYTES + 1])
            rest = b""
        if lines:
            yield lines
    if rest:
        yield [rest]


def _count(found: _Found, account: Account) -> None:
    account.count("discrete", int((found.kind == Kind.DISCRETE).sum()))
    account.count("alarms", found.alarms)
    account.count("lines not understood", found.other)


def _columns(found: _Found, stamps_us: NDArray[np.int64], lines: _Lines, host: str) -> Columns:
    """Readings of the sensors that measure, each under its point."""
    slot = _slots(found)
    keep = found.kind != Kind.DISCRETE
    slot, sensor, unit = slot[keep], found.sensor[keep], found.unit[keep]
    _first_units(slot, unit)
    key = slot.astype(np.int64) * (len(lines.unit_list) + 1) + unit + 1
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # names are given in the order of the dump
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    names = Names(host)
    points = []
    for at in first[order]:
        which = lines.unit_list[unit[at]] if unit[at] != _NO_UNIT else Unit("", "")
        points.append((names.give(lines.sensor_names[sensor[at]], which.suffix), which.symbol))
    return Columns(
        ts_us=stamps_us[found.block[keep]],
        point=rank[inverse].astype(np.int32),
        value=found.value[keep],
        quality=found.quality[keep],
        points=tuple(points),
    )


def _slots(found: _Found) -> NDArray[np.int64]:
    """A number for each sensor of a dump: many BMCs call several sensors the same, so the k-th of a name is another."""
    _, sensor = np.unique(found.sensor, return_inverse=True)
    count = int(sensor.max()) + 1
    cell = found.block.astype(np.int64) * count + sensor
    order = np.argsort(cell, kind="stable")
    ordered = cell[order]
    begins = np.flatnonzero(np.concatenate([[True], np.diff(ordered) != 0]))
    if len(begins) == len(ordered):
        return sensor.astype(np.int64)
    lengths = np.diff(np.concatenate([begins, [len(ordered)]]))
    occurrence = np.empty(len(ordered), np.int64)
    occurrence[order] = np.arange(len(ordered)) - np.repeat(begins, lengths)
    slots: NDArray[np.int64] = occurrence * count + sensor
    return slots


def _first_units(slot: NDArray[np.int64], unit: NDArray[np.int32]) -> None:
    """Give readings without a number the unit that their sensor has elsewhere in the file, in place."""
    known = np.flatnonzero(unit != _NO_UNIT)
    silent = np.flatnonzero(unit == _NO_UNIT)
    if not len(known) or not len(silent):
        return
    slots, first = np.unique(slot[known], return_index=True)
    at = np.searchsorted(slots, slot[silent]).clip(max=len(slots) - 1)
    is_known = slots[at] == slot[silent]
    unit[silent[is_known]] = unit[known[first[at[is_known]]]]
