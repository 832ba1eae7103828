"""Holds named faults against a list of what truly happened: recall and precision over pairs of point and hour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from facility.errors import DataError
from facility.records import Point
from twin.telemetry.faults import HOUR_US, Fault

_COLUMNS = ("event", "layer", "start_utc", "end_utc", "target")
_SOURCE_LAYER = "data"  # events of other layers happened in the building, not in its data


@dataclass(frozen=True, slots=True)
class Score:
    """Share of true point-hours that were named, and of named point-hours that are true."""

    recall: float
    precision: float
    true: int
    named: int
    by_event: Mapping[str, float]  # recall of each event


def score_faults(
    faults: Iterable[Fault], events: Path, loggers: Mapping[str, int], points: Mapping[str, Point]
) -> Score:
    """Compares with an events.csv; a target is a point, a piece of equipment, or `logger:x`.

    An event at a logger counts at every point of the logger that fell silent when it began.
    """
    faults = list(faults)
    named = {(fault.point, hour) for fault in faults for hour in fault.hours}
    true: set[tuple[str, int]] = set()
    by_event: dict[str, float] = {}
    for event, target, start, end in _events(events):
        if target.startswith("logger:"):
            members = _logger_points(faults, loggers, start)
        else:
            members = [name for name in loggers if name == target or points[name].equipment == target]
        hours = range(start // HOUR_US, end // HOUR_US + 1)
        pairs = {(point, hour) for point in members or [target] for hour in hours}
        by_event[f"{event} {target}"] = len(pairs & named) / len(pairs)
        true |= pairs
    hit = len(true & named)
    return Score(hit / len(true) if true else 1.0, hit / len(named) if named else 1.0, len(true), len(named), by_event)


def _logger_points(faults: Iterable[Fault], loggers: Mapping[str, int], start: int) -> list[str]:
    """Points of the loggers most of whose points fell silent about when the event began."""
    silent = {f.point for f in faults if f.kind in ("gap", "clock_jump") and abs(f.start_us - start) < HOUR_US // 4}
    chosen = {
        number
        for number in set(loggers.values())
        if sum(loggers[p] == number for p in silent) > 0.5 * sum(n == number for n in loggers.values())
    }
    return [point for point, number in loggers.items() if number in chosen] or sorted(silent)


def _events(path: Path) -> list[tuple[str, str, int, int]]:
    try:
        table = pl.read_csv(path, infer_schema=False)
        rows = table.filter(pl.col("layer") == _SOURCE_LAYER).select(
            "event",
            "target",
            pl.col("start_utc").str.to_datetime(time_zone="UTC", time_unit="us").dt.epoch("us"),
            pl.col("end_utc").str.to_datetime(time_zone="UTC", time_unit="us").dt.epoch("us"),
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"not a list of events: {error}", where=str(path), hint=f"columns: {_COLUMNS}") from error
    return [(event, target, int(start), int(end)) for event, target, start, end in rows.iter_rows()]
