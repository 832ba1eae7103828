"""All that is wrong with a recording, in one go: loggers, episodes at each point, and counts of single wrong rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from twin.telemetry.cleaning import CleanRows, Verdict, clean, learn_habits
from twin.telemetry.clocks import Witness, find_loggers, find_witness
from twin.telemetry.drift import find_drifts
from twin.telemetry.faults import Fault, find_clock_jumps, find_episodes, find_rollovers
from twin.telemetry.grid import Clock
from twin.telemetry.reading import Telemetry
from twin.telemetry.topology import infer_topology

WITNESS_KINDS = ("power", "temperature", "flow")


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What a recording's data is like."""

    faults: tuple[Fault, ...]  # by point and start
    single_rows: Mapping[str, Mapping[str, int]]  # point -> verdict, `late` or `duplicate` -> rows
    loggers: Mapping[str, int]


def survey(telemetry: Telemetry) -> Survey:
    """Looks at the whole recording, after the fact."""
    topology = infer_topology(telemetry.points, telemetry.rows)
    habits = learn_habits(telemetry)
    rows = clean(telemetry, habits)
    clock, loggers = Clock.over(telemetry.start_us, telemetry.end_us), find_loggers(telemetry)
    faults = find_episodes(telemetry, rows, habits) + find_rollovers(telemetry, topology)
    faults += find_drifts(rows, clock, telemetry.points)
    faults += find_clock_jumps(rows, clock, witnesses(telemetry, rows, clock, loggers))
    ordered = tuple(sorted(faults, key=lambda fault: (fault.point, fault.start_us)))
    return Survey(ordered, {name: _counts(telemetry, name, part) for name, part in rows.items()}, loggers)


def witnesses(
    telemetry: Telemetry, rows: Mapping[str, CleanRows], clock: Clock, loggers: Mapping[str, int]
) -> list[Witness]:
    """For each logger, if there is one, the signal that others explain."""
    candidates = [name for name in rows if telemetry.points[name].kind in WITNESS_KINDS]
    first = {number: name for name, number in reversed(list(loggers.items()))}
    found = [find_witness(rows, clock, loggers, name, candidates) for name in first.values()]
    return [witness for witness in found if witness is not None]


def _counts(telemetry: Telemetry, name: str, rows: CleanRows) -> dict[str, int]:
    raw = telemetry.rows[name]
    counts = {verdict.name.lower(): int((rows.verdict == verdict).sum()) for verdict in Verdict if verdict}
    counts |= {"late": raw.late, "duplicate": len(raw.repeats_us)}
    return {key: count for key, count in counts.items() if count}
