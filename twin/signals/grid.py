"""Rows with stamps onto a regular grid: order, duplicates, gaps and the marks of local time given as UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from facility.errors import DataError
from facility.records import FloatArray
from twin.signals.series import Gap
from twin.signals.table import to_time
from twin.signals.zones import ZONES, find_zone

MAX_FILL_H = 3.0  # longer gaps hide a change of the day's shape and are never filled


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Stamped values of one file as read: ``seconds`` since 1970 UTC, shape [n], values by name, the line of each
    row.
    """

    path: Path
    seconds: NDArray[np.int64]
    line: NDArray[np.int64]
    values: dict[str, FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Values on a regular grid, with the gaps that were filled."""

    start: datetime
    step_s: float
    values: dict[str, FloatArray]
    gaps: tuple[Gap, ...]


def on_grid(files: Sequence[Rows], what: str, zone: str = "", *, fill_gaps: bool = False) -> Grid:
    """Join files in the order of their first stamps and check that they form one regular grid.

    Raises DataError naming the first stamp that is missing, twice or out of order. With ``fill_gaps`` gaps of at most
    3 h are interpolated linearly and listed in the result.
    """
    files = sorted(files, key=lambda rows: int(rows.seconds[0]))
    seconds = np.concatenate([rows.seconds for rows in files])
    steps = np.diff(seconds)
    if not np.any(steps > 0):
        raise DataError(
            f"a single stamp is no series of {what}", where=str(files[0].path), hint="give at least one day"
        )
    _require_order(files, seconds, steps, zone)
    step = _usual(steps)
    if np.any(seconds[1:][steps % step != 0]):
        row = int(np.flatnonzero(steps % step)[0]) + 1
        raise DataError(
            f"{to_time(seconds[row]):%Y-%m-%d %H:%M} is off the grid of {step / 60:g} min",
            where=_where(files, row),
            hint="resample the file",
        )
    slot = (seconds - seconds[0]) // step
    count = int(slot[-1]) + 1
    values: dict[str, FloatArray] = {}
    missing = np.zeros(count, dtype=bool)
    for name in files[0].values:
        full = np.full(count, np.nan)
        full[slot] = np.concatenate([rows.values[name] for rows in files])
        missing |= np.isnan(full)
        values[name] = full
    gaps = _gaps(missing, int(seconds[0]), step)
    if gaps:
        _allow(gaps, files, what, zone, step, fill_gaps=fill_gaps)
        values = {name: _filled(full) for name, full in values.items()}
    return Grid(to_time(seconds[0]), float(step), values, gaps)


def _usual(steps: NDArray[np.int64]) -> int:
    """The commonest distance between stamps, in seconds."""
    size, count = np.unique(steps[steps > 0], return_counts=True)
    return int(size[np.argmax(count)])


def _require_order(files: Sequence[Rows], seconds: NDArray[np.int64], steps: NDArray[np.int64], zone: str) -> None:
    """Every stamp is later than the one before."""
    wrong = np.flatnonzero(steps <= 0)
    if not len(wrong):
        return
    row = int(wrong[0]) + 1
    when = to_time(seconds[row])
    twice = seconds[row] == seconds[row - 1]
    problem = "appears twice" if twice else f"comes after {to_time(seconds[row - 1]):%Y-%m-%d %H:%M}"
    hint = local_time_hint(when, zone) if twice else ""
    overlap = "the files overlap, give each span once" if _file_of(files, row) is not _file_of(files, row - 1) else ""
    raise DataError(
        f"the stamp {when:%Y-%m-%d %H:%M} UTC {problem}",
        where=_where(files, row),
        hint=hint or overlap or "sort the rows by time and keep one of each stamp",
    )


def _gaps(missing: NDArray[np.bool_], first_s: int, step: int) -> tuple[Gap, ...]:
    edge = np.diff(np.concatenate([[0], missing.astype(np.int8), [0]]))
    begins, ends = np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)
    return tuple(Gap(to_time(first_s + int(a) * step), int(b - a)) for a, b in zip(begins, ends, strict=True))


def _allow(gaps: tuple[Gap, ...], files: Sequence[Rows], what: str, zone: str, step: int, *, fill_gaps: bool) -> None:
    """Refuse gaps, or with ``fill_gaps`` those that are too long to fill."""
    refused = [gap for gap in gaps if not fill_gaps or gap.missing * step > MAX_FILL_H * 3600.0]
    if not refused:
        return
    first = refused[0]
    total = sum(gap.missing for gap in refused)
    fill = (
        f"gaps longer than {MAX_FILL_H:g} h are never filled"
        if fill_gaps
        else "or pass fill_gaps for gaps of at most 3 h"
    )
    hint = local_time_hint(first.start, zone) if first.missing * step <= 3600 else ""
    span = f"the first {first.missing} from {first.start:%Y-%m-%d %H:%M} UTC on"
    raise DataError(
        f"{total} value(s) of {what} missing in {len(refused)} gap(s), {span}",
        where=", ".join(str(rows.path) for rows in files),
        hint=hint or f"complete the file, {fill}",
    )


def _filled(full: FloatArray) -> FloatArray:
    known = ~np.isnan(full)
    index = np.arange(len(full))
    return np.interp(index, index[known], full[known])


def local_time_hint(when: datetime, zone: str) -> str:
    """A hint where the wall-clock ``when`` is the hour that daylight saving skips or repeats; empty elsewhere."""
    listed = find_zone(zone)
    clocks = [listed.timezone] if listed is not None else sorted({entry.timezone for entry in ZONES})
    naive = when.replace(tzinfo=None)
    for clock in clocks:
        tz = ZoneInfo(clock)
        if naive.replace(tzinfo=tz, fold=0).utcoffset() != naive.replace(tzinfo=tz, fold=1).utcoffset():
            return (
                f"daylight saving in {clock} changes at this hour: the stamps look like local time, convert them to UTC"
            )
    return ""


def _file_of(files: Sequence[Rows], row: int) -> Rows:
    for rows in files:
        if row < len(rows.seconds):
            return rows
        row -= len(rows.seconds)
    return files[-1]


def _where(files: Sequence[Rows], row: int) -> str:
    """The file and line of a row of the joined files."""
    for rows in files:
        if row < len(rows.seconds):
            return f"{rows.path}, line {rows.line[row]}"
        row -= len(rows.seconds)
    return str(files[-1].path)
