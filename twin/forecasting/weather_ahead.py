"""Weather forecasts with the time at which each was issued, and the newest that was out at a moment.

The file is a CSV with ``issued_utc``, ``valid_utc`` and one column for each quantity (``wind_m_s``, ``solar_w_m2``,
``temperature_c``...), one row for each issue and hour ahead. A file without times of issue is not taken: nobody could
tell what was known when.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facility.errors import DataError
from facility.records import FloatArray
from twin.signals.table import LINE, Paths, as_paths, column, numbers, read_table, stamps, to_time

ISSUED = ("issued_utc",)
VALID = ("valid_utc",)
HOUR_S = 3600


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One run of a weather model: hourly values from ``first_s`` (seconds since 1970) on, shape [hours] each."""

    issued_s: int
    first_s: int
    value: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class WeatherAhead:
    """All runs, the oldest first."""

    names: tuple[str, ...]
    runs: tuple[Run, ...]
    source: str

    def known_at(self, now: datetime) -> WeatherAhead:
        """The runs that were out at ``now``."""
        return WeatherAhead(self.names, self.runs[: self._count(now)], self.source)

    def newest(self, now: datetime, first_s: int, hours: int) -> FloatArray:
        """Values of the newest run out at ``now`` for ``hours`` hours from ``first_s`` on, shape [hours, quantities];
        NaN beyond its reach.
        """
        found = np.full((hours, len(self.names)), np.nan)
        count = self._count(now)
        if count:
            run = self.runs[count - 1]
            for column_number, name in enumerate(self.names):
                value = run.value[name]
                at = (first_s - run.first_s) // HOUR_S + np.arange(hours)
                inside = (at >= 0) & (at < len(value))
                found[inside, column_number] = value[at[inside]]
        return found

    def _count(self, now: datetime) -> int:
        return bisect_right(self.runs, int(now.timestamp()), key=lambda run: run.issued_s)


def has_issue_times(path: Path) -> bool:
    """Whether the file's first line has the column of the time of issue."""
    with path.open("rb") as file:
        return file.readline().lstrip(b"\xef\xbb\xbf").lower().find(ISSUED[0].encode()) >= 0


def read_weather_ahead(paths: Paths) -> WeatherAhead:
    """Weather forecasts with their times of issue; raises DataError for gaps in a run, values before their issue that
    are all there is, or files of other quantities.
    """
    names: tuple[str, ...] = ()
    runs: dict[int, Run] = {}
    chosen = as_paths(paths)
    for path in chosen:
        table = read_table(path)
        issued = stamps(table, path, column(table, path, ISSUED, "the time of issue"))
        valid = stamps(table, path, column(table, path, VALID, "the time it is for"))
        found = tuple(name for name in table.columns if name not in (*ISSUED, *VALID, LINE))
        if not found or (names and found != names):
            raise DataError(
                f"quantities {', '.join(found) or 'none'}, expected {', '.join(names) or 'at least one'}",
                where=f"{path}, line 1",
                hint="give files of the same columns",
            )
        names = found
        values = {name: numbers(table, path, name) for name in names}
        for run in _runs(path, issued, valid, values):
            runs[run.issued_s] = run
    return WeatherAhead(names, tuple(runs[key] for key in sorted(runs)), ", ".join(path.name for path in chosen))


def _runs(
    path: Path, issued: NDArray[np.int64], valid: NDArray[np.int64], values: Mapping[str, FloatArray]
) -> Sequence[Run]:
    runs = []
    for when in np.unique(issued):
        rows = np.flatnonzero(issued == when)
        rows = rows[np.argsort(valid[rows], kind="stable")]
        if np.any(np.diff(valid[rows]) != HOUR_S):
            raise DataError(
                f"the run issued {to_time(when):%Y-%m-%d %H:%M} UTC is not hourly without gaps",
                where=str(path),
                hint="give one row for each hour ahead",
            )
        runs.append(Run(int(when), int(valid[rows[0]]), {name: value[rows] for name, value in values.items()}))
    return runs
