"""Loggers, and clocks that jump: points that one logger stamps share its mistakes.

A clock that jumps ahead leaves a gap as long as the jump, one that jumps back repeats as long a time. Whether it was a
jump or an outage is told by what several loggers see of the same thing: after a jump, the mechanical power at one
logger follows the chillers at another with a delay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from facility.records import FloatArray
from twin.meters import robust_lstsq
from twin.telemetry.cleaning import CleanRows
from twin.telemetry.grid import Clock, during, hold
from twin.telemetry.reading import MINUTE_US, BoolArray, IntArray, Telemetry

_SAMPLE_ROWS = 2000
_LEAST_JUMP_MIN, _MOST_JUMP_MIN = 20, 240
_COMPARE_MIN = 90  # minutes over which two beliefs are compared
_RETURN_MIN = 360  # the same once a jump is believed: what ends it leaves its own mark
_ALIKE_MIN = 5  # by which the marks at both ends of a jump may differ in length
_DECIDE_MIN = 360  # minutes after which a mark without a verdict was no jump
_REPEAT_MIN, _REPEAT_SHARE = 10, 0.5  # a clock set back repeats this share of rows over so many minutes
_BETTER = 0.5  # of the squared error, for another belief to be taken
_MUCH_BETTER = 0.2  # the same, to leave a jump without its mark
_CLEAR = 2.0  # ordinary misfits that the belief given up must have: a flat hour tells nothing
_FOLLOWS = 0.5  # share of variance of changes that other loggers must explain


@dataclass(frozen=True, slots=True)
class Witness:
    """A signal of one logger that signals of the others explain."""

    target: str
    sources: tuple[str, ...]
    beta: tuple[float, ...]
    members: tuple[str, ...]  # points of the same logger
    misfit: float = 0.0  # ordinary mean square of what the others leave unexplained within a comparison


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a jump would leave: a silence, or a repeat, that ended at minute ``end``."""

    end: int
    jump: int  # minutes ahead, negative for a clock set back


def find_loggers(telemetry: Telemetry) -> dict[str, int]:
    """Point -> number of the logger that stamps it: points of one logger have times in common."""
    stamps = {name: rows.ts_us[:_SAMPLE_ROWS] for name, rows in telemetry.rows.items()}
    leaders: list[str] = []
    logger: dict[str, int] = {}
    for name in sorted(stamps, key=lambda name: -len(stamps[name])):
        for number, leader in enumerate(leaders):
            if _share_in_common(stamps[name], telemetry.rows[leader].ts_us) > 0.4:
                logger[name] = number
                break
        else:
            logger[name] = len(leaders)
            leaders.append(name)
    return logger


def _share_in_common(stamps: IntArray, others: IntArray) -> float:
    inside = stamps[(stamps >= others[0]) & (stamps <= others[-1])]
    return float(np.isin(inside, others).mean()) if len(inside) >= 20 else 0.0


def find_witness(
    rows: Mapping[str, CleanRows], clock: Clock, loggers: Mapping[str, int], of: str, candidates: Sequence[str]
) -> Witness | None:
    """The signal of the logger of ``of`` that changes most as signals of other loggers do; None where none does."""
    members = tuple(name for name, number in loggers.items() if number == loggers[of])
    mine = [name for name in candidates if name in members]
    others = tuple(name for name in candidates if loggers.get(name) != loggers[of])
    grid = {name: _coarse(during(rows[name], clock, 30)) for name in (*mine, *others)}
    others = tuple(name for name in others if np.isfinite(grid[name]).mean() > 0.8 and np.nanstd(grid[name]) > 0.0)
    if not others:
        return None
    design = np.column_stack([_fill(_step(grid[name])) for name in others])
    best: tuple[float, Witness] | None = None
    for name in mine:
        step = _step(grid[name])
        fit = robust_lstsq(design, step, correlated=1.0)
        if fit is None or not np.isfinite(step).any():
            continue
        explained = 1.0 - np.nanmedian(np.abs(step - design @ fit.beta)) / max(np.nanmedian(np.abs(step)), 1e-9)
        if explained > _FOLLOWS / 2.0 and (best is None or explained > best[0]):
            best = (float(explained), Witness(name, others, tuple(fit.beta.tolist()), members))
    if best is None:
        return None
    return replace(best[1], misfit=_ordinary_misfit(rows, clock, best[1]))


def _ordinary_misfit(rows: Mapping[str, CleanRows], clock: Clock, witness: Witness) -> float:
    target, explained = _compared(rows, clock, witness)
    starts = range(0, clock.count - _COMPARE_MIN, _COMPARE_MIN)
    found = [_misfit(target[at : at + _COMPARE_MIN], explained[at : at + _COMPARE_MIN]) for at in starts]
    finite = [value for value in found if np.isfinite(value)]
    return float(np.median(finite)) if finite else 0.0


def _compared(rows: Mapping[str, CleanRows], clock: Clock, witness: Witness) -> tuple[FloatArray, FloatArray]:
    """The witness's signal, and what signals of other loggers make of it, by minute."""
    target = hold(during(rows[witness.target], clock, 5), 15)
    explained = np.zeros(clock.count)
    for name, beta in zip(witness.sources, witness.beta, strict=True):
        if name in rows:
            explained = explained + beta * _fill(hold(during(rows[name], clock, 5), 60))
    return target, explained


def clock_ahead_minutes(rows: Mapping[str, CleanRows], clock: Clock, witness: Witness | None) -> FloatArray:
    """By how many minutes the logger's clock is ahead, as believed at each minute from the rows until then."""
    ahead = np.zeros(clock.count)
    if witness is None or witness.target not in rows:
        return ahead
    compared = _compared(rows, clock, witness)
    back = _set_back(rows, clock, witness.members)
    marks = _marks(rows, clock, witness.members, back)
    free = 0  # a mark before it closed a jump
    for number, mark in enumerate(marks):
        if mark.end <= free:
            continue
        closing = [m.end for m in marks[number + 1 :] if abs(m.jump + mark.jump) <= _ALIKE_MIN]
        if mark.jump > 0:  # a clock that is set back repeats its stamps at once
            closing += (np.flatnonzero(back[mark.end + _COMPARE_MIN :])[:1] + mark.end + _COMPARE_MIN).tolist()
        free = _follow(ahead, compared, mark, min(closing, default=clock.count), witness.misfit)
    return ahead


def _follow(
    ahead: FloatArray, compared: tuple[FloatArray, FloatArray], mark: _Mark, close: int, ordinary: float
) -> int:
    """Sets ``ahead`` once a jump at ``mark`` explains better than none, until ``close`` or until it no longer does.

    Gives the minute before which no other mark counts.
    """
    current, (target, explained) = 0, compared
    for minute in range(mark.end + 30, len(ahead), 5):
        start = max(minute - (_RETURN_MIN if current else _COMPARE_MIN), mark.end)
        still = _misfit(target[start + 1 : minute], explained[start + 1 : minute])
        first, last = start + 1 - max(-mark.jump, 0), minute - max(-mark.jump, 0)
        moved = _misfit(target[first:last], explained[first - mark.jump : last - mark.jump])
        if current == 0 and moved < _BETTER * still and still > _CLEAR * ordinary:
            current = mark.jump
        elif current and (minute >= close or (still < _MUCH_BETTER * moved and moved > _CLEAR * ordinary)):
            return minute + abs(mark.jump) if minute >= close else minute
        if current:
            ahead[minute : minute + 5] = current
        elif minute > mark.end + _DECIDE_MIN:
            break
    return mark.end


def _misfit(target: FloatArray, explained: FloatArray) -> float:
    """Mean square of the difference about its mean; infinite where there is too little."""
    away = target - explained
    away = away[np.isfinite(away)]
    return float(np.var(away)) if len(away) >= 15 else float("inf")


def _marks(rows: Mapping[str, CleanRows], clock: Clock, members: Sequence[str], back: BoolArray) -> list[_Mark]:
    """Silences of the whole logger and repeats of its stamps that are as long as a clock may jump."""
    spoke = np.zeros(clock.count, dtype=bool)
    for name in members:
        if name in rows:
            minute = (rows[name].ts_us - clock.start_us) // MINUTE_US
            spoke[minute[(minute >= 0) & (minute < clock.count)]] = True
    heard = np.flatnonzero(spoke)
    apart = np.diff(heard)
    usual = int(np.median(apart)) if len(apart) else 1
    silent = [_Mark(int(heard[i + 1]), int(n) - usual) for i, n in enumerate(apart) if n > usual]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], back.astype(np.int8), [0]])))
    repeated = [_Mark(int(end), int(begin - end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]
    possible = [mark for mark in (*silent, *repeated) if _LEAST_JUMP_MIN <= abs(mark.jump) <= _MOST_JUMP_MIN]
    return sorted(possible, key=lambda mark: mark.end)


def _set_back(rows: Mapping[str, CleanRows], clock: Clock, members: Sequence[str]) -> BoolArray:
    """Minutes at which the logger has just been repeating times that it had already stamped."""
    first, again = np.zeros(clock.count), np.zeros(clock.count)
    for name in members:
        if name in rows:
            for count, stamps in ((first, rows[name].ts_us), (again, rows[name].repeats_us)):
                minute = (stamps - clock.start_us) // MINUTE_US
                np.add.at(count, minute[(minute >= 0) & (minute < clock.count)], 1.0)
    window = np.ones(_REPEAT_MIN)
    recent = [np.convolve(np.append(0.0, count[:-1]), window)[: clock.count] for count in (first, again)]
    return np.asarray(recent[1] > _REPEAT_SHARE * np.maximum(recent[0], _REPEAT_MIN))


def _coarse(values: FloatArray) -> FloatArray:
    """Every fifth minute: changes stand out of the noise."""
    return values[::5]


def _step(values: FloatArray) -> FloatArray:
    return values[2:] - values[:-2]


def _fill(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), values, 0.0)
