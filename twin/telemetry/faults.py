"""Names the faults of a recording: which point, from when to when, and what was wrong.

Looks at the whole recording, after the fact; a forecast relies on the causal verdicts of `cleaning` alone.
Single rows that are wrong (a spike, a sentinel) are counted for each point, not listed as episodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from twin.telemetry.cleaning import CleanRows, Habits, Verdict
from twin.telemetry.clocks import Witness, clock_ahead_minutes
from twin.telemetry.grid import Clock
from twin.telemetry.reading import MINUTE_US, BoolArray, IntArray, Telemetry
from twin.telemetry.topology import Topology

HOUR_US = 60 * MINUTE_US
_EPISODE_ROWS = 20  # bad rows in a row, about, that make an episode of single rows
_WRAPS = tuple(float(2**bits) for bits in (16, 31, 32, 53)) + tuple(10.0**digits for digits in range(4, 13))
_NAMES = {
    Verdict.BAD_QUALITY: "comm_fault",
    Verdict.STUCK: "sensor_stuck",
    Verdict.WRONG_UNIT: "wrong_unit",
    Verdict.SENTINEL: "out_of_range",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One episode at one point; ``done`` is what cleaning does about it."""

    point: str
    kind: str
    start_us: int
    end_us: int
    done: str
    note: str = ""

    @property
    def hours(self) -> range:
        """Hours since 1970 that the episode touches."""
        return range(self.start_us // HOUR_US, self.end_us // HOUR_US + 1)


def find_episodes(telemetry: Telemetry, rows: Mapping[str, CleanRows], habits: Mapping[str, Habits]) -> list[Fault]:
    """Faults that each point shows by itself: bad quality, frozen, another unit, silences, roll-overs."""
    faults: list[Fault] = []
    for name, clean in rows.items():
        for verdict, kind in _NAMES.items():
            faults += _runs(name, kind, clean, clean.verdict == verdict, habits[name])
        faults += _silences(name, telemetry.rows[name].ts_us, habits[name])
    return faults


def find_rollovers(telemetry: Telemetry, topology: Topology) -> list[Fault]:
    """Counters that fell: from just below a power of two or ten it is a roll-over, else a reset."""
    faults = []
    for name in topology.counters:
        rows = telemetry.rows.get(name)
        if rows is None:
            continue
        usable = np.flatnonzero(np.isfinite(rows.value) & rows.good)
        value = rows.value[usable]
        after = np.append(value[2:], value[-1:])
        for at in np.flatnonzero(
            (value[1:] < 0.5 * value[:-1]) & (after < 0.5 * value[:-1])
        ):  # one row alone is a spike
            size = next((wrap for wrap in _WRAPS if 0.97 * wrap <= value[at] <= wrap), None)
            stamp, kind = int(rows.ts_us[usable[at + 1]]), "meter_rollover" if size else "meter_reset"
            note = f"wraps at {size:.0f}" if size else ""
            faults.append(Fault(name, kind, int(rows.ts_us[usable[at]]), stamp, "left out of differences", note))
    return faults


def find_clock_jumps(rows: Mapping[str, CleanRows], clock: Clock, witnesses: Iterable[Witness]) -> list[Fault]:
    """Loggers whose clock was ahead, at every one of their points."""
    faults = []
    for witness in witnesses:
        ahead = clock_ahead_minutes(rows, clock, witness)
        for start, end in spans(ahead != 0.0):
            jump = int(ahead[start])
            first = _resumed(rows, clock, witness.members, start)
            begin, stop = clock.start_us + first * MINUTE_US, clock.start_us + end * MINUTE_US
            note = f"{jump} min ahead"
            begin -= jump * MINUTE_US
            faults += [Fault(name, "clock_jump", begin, stop, "shifted back", note) for name in witness.members]
    return faults


def _resumed(rows: Mapping[str, CleanRows], clock: Clock, members: Sequence[str], minute: int) -> int:
    """The minute at which the logger spoke again before ``minute``."""
    stamps = (
        np.unique(np.concatenate([rows[n].ts_us // MINUTE_US for n in members if n in rows]))
        - clock.start_us // MINUTE_US
    )
    stamps = stamps[stamps <= minute]
    gaps = np.flatnonzero(np.diff(stamps) > 15)
    return int(stamps[gaps[-1] + 1]) if len(gaps) else minute


def _runs(name: str, kind: str, clean: CleanRows, wrong: BoolArray, habits: Habits) -> list[Fault]:
    """Episodes of rows of one verdict; good rows between them, up to half an hour, do not part an episode."""
    at = clean.ts_us[wrong]
    least = 5 if kind == "comm_fault" else _EPISODE_ROWS
    if len(at) < min(least, 3):
        return []
    breaks = np.flatnonzero(np.diff(at) > max(30 * MINUTE_US, 3 * habits.interval_us))
    starts, ends = at[np.append(0, breaks + 1)], at[np.append(breaks, len(at) - 1)]
    counts = np.diff(np.append(np.append(0, breaks + 1), len(at)))
    done = "converted" if kind == "wrong_unit" else "masked"
    lead = habits.stuck_us if kind == "sensor_stuck" else 0
    faults = []
    for start, end, count in zip(starts.tolist(), ends.tolist(), counts.tolist(), strict=True):
        enough = count >= least or (habits.interval_us > 5 * MINUTE_US and count >= 3)
        if enough and end - start >= 10 * MINUTE_US:
            faults.append(Fault(name, kind, start - lead, end, done))
    return faults


def _silences(name: str, ts_us: IntArray, habits: Habits) -> list[Fault]:
    apart = np.diff(ts_us)
    return [
        Fault(name, "gap", int(ts_us[i]), int(ts_us[i + 1]), "missing")
        for i in np.flatnonzero(apart > max(habits.gap_us, 30 * MINUTE_US))
    ]


def spans(flags: BoolArray) -> list[tuple[int, int]]:
    """First and last index of every run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]
