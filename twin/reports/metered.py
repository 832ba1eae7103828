"""What a meter counted, as a function of time: registers and rates in one form, and nothing where nothing was read.

A register is read at moments and rises between them; a rate is integrated by trapezoids. Two readings further apart
than ``longest_gap_s`` have a gap between them. In a gap a rate is not known at all. A register goes on counting: how
much is known, but not when; such a gap is used whole or not at all, and never counts as covered. A roll-over loses
nothing; around a reset, and where the stamps of two clocks lie among one another, nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from facility.records import FloatArray
from twin.reports.spans import Spans

GAP_INTERVALS = 3.0  # readings further apart than so many usual intervals have a gap between them
GAP_MIN_S = 600.0  # shorter silences are none, however often a meter is read
NEAR_ROLLOVER = 1.0 / 16.0  # a fall is a roll-over where the rise behind it is at most this share of the range
_INSTANT_S = 1e-3
_LOOK_AHEAD = 5  # readings that stay below the one before a fall make it a reset; else it is disorder of stamps


@dataclass(frozen=True, slots=True, eq=False)
class Metered:
    """A running total at ``at_s`` [n], seconds since the report's beginning.

    ``read`` is when it was read at its usual pace, ``gaps`` are the times between two readings in which a register
    counted unread, each of them indivisible; ``known`` is both. All lie in the report's span.
    """

    at_s: FloatArray
    total: FloatArray
    known: Spans
    read: Spans
    gaps: Spans

    @property
    def unread(self) -> float:
        """What a register counted in its gaps."""
        return self.over(self.known) - self.over(self.read)

    def over(self, spans: Spans) -> float:
        """How much was counted in ``spans``, which must lie where that is known."""
        if not self.at_s.size:
            return 0.0
        at_end, at_start = (np.interp(edges, self.at_s, self.total) for edges in (spans.end_s, spans.start_s))
        return float(np.sum(at_end - at_start))

    def steps(self, spans: Spans, edges_s: FloatArray) -> FloatArray:
        """How much was counted in ``spans`` between each two edges, shape [edges - 1]."""
        times = np.unique(np.concatenate([self.at_s, spans.start_s, spans.end_s]))
        if times.size < 2 or not self.at_s.size:
            return np.zeros(len(edges_s) - 1)
        counted = np.diff(np.interp(times, self.at_s, self.total))
        counted[~spans.holds(0.5 * (times[:-1] + times[1:]))] = 0.0
        inside = np.concatenate([[0.0], np.cumsum(counted)])
        return np.asarray(np.diff(np.interp(edges_s, times, inside)))

    def mean(self) -> float | None:
        """The mean of a rate in its unit; None where it was never read."""
        return self.over(self.read) / self.read.length_s if self.read.length_s > 0 else None


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """When it is known what each of several meters counted, and when all of them were read."""

    known: Spans
    read: Spans

    @property
    def length_s(self) -> float:
        """Seconds that are known."""
        return self.known.length_s

    def meet(self, spans: Spans) -> Overlap:
        """The part of both in ``spans``."""
        return Overlap(self.known.meet(spans), self.read.meet(spans))


def overlap(parts: Sequence[Metered]) -> Overlap:
    """Where all meters are known together; a gap in which a register counted is there whole or not at all."""
    known, read = (reduce(Spans.meet, (getattr(part, name) for part in parts)) for name in ("known", "read"))
    while any(cut := [_cut(part.gaps, known) for part in parts]):
        for one in filter(None, cut):
            known = known.without(one)
    return Overlap(known, read)


def _cut(gaps: Spans, known: Spans) -> Spans | None:
    """Those of ``gaps`` of which only a part is in ``known``; None where there are none."""
    held_s = known.within(gaps)
    partly = (held_s > _INSTANT_S) & (held_s < gaps.end_s - gaps.start_s - _INSTANT_S)
    return Spans(gaps.start_s[partly], gaps.end_s[partly]) if partly.any() else None


def from_rate(at_s: FloatArray, value: FloatArray, span_s: float, per_s: float = 1.0) -> Metered:
    """A rate ``value`` [n] in units of which one is ``per_s`` of the total a second (kW to kWh: 1 / 3600)."""
    at_s, value = _known(at_s, value)
    steps = 0.5 * (value[1:] + value[:-1]) * np.diff(at_s) * per_s
    return _metered(at_s, steps, np.diff(at_s) <= longest_gap_s(at_s), span_s)


def from_register(
    at_s: FloatArray, value: FloatArray, span_s: float, factor: float = 1.0, rollover: float | None = None
) -> Metered:
    """A register ``value`` [n] of which one count is ``factor`` of the total; it begins again at ``rollover``."""
    at_s, value = _without_strays(*_known(at_s, value))
    rise = np.diff(value)
    is_known = np.ones(len(rise), dtype=np.bool_)
    for fall in np.flatnonzero(rise < 0):
        around = rise[fall] + (rollover or 0.0)
        if rollover is not None and 0 <= around <= NEAR_ROLLOVER * rollover:
            rise[fall] = around
        elif value[fall + 1 : fall + 1 + _LOOK_AHEAD].max() < value[fall]:
            is_known[fall] = False  # a reset
    begins = np.flatnonzero((np.diff(value) < 0) & ((rise >= 0) | ~is_known)) + 1
    astray = np.concatenate([_astray(piece) for piece in np.split(value, begins)])
    is_known &= ~(astray[:-1] | astray[1:])
    return _metered(at_s, rise * factor, is_known, span_s)


def _astray(value: FloatArray) -> NDArray[np.bool_]:
    """Readings that are above a later or below an earlier one: two clocks stamped them."""
    if not value.size:
        return np.zeros(0, dtype=np.bool_)
    highest, lowest = np.maximum.accumulate(value), np.minimum.accumulate(value[::-1])[::-1]
    return np.asarray((value < highest) | (value > lowest))


def nothing(span_s: float) -> Metered:
    """A quantity that is declared not to exist: zero, and covered throughout."""
    whole = Spans.of([(0.0, span_s)])
    return Metered(np.array([0.0, span_s]), np.zeros(2), whole, whole, Spans.of([]))


def sum_of(parts: Sequence[Metered]) -> Metered:
    """The sum, where all of them are known."""
    if len(parts) == 1:
        return parts[0]
    both = overlap(parts)
    gaps = _merged([part.gaps for part in parts])
    whole = both.known.within(gaps) > gaps.end_s - gaps.start_s - _INSTANT_S
    gaps = Spans(gaps.start_s[whole], gaps.end_s[whole])
    times = np.unique(np.concatenate([part.at_s for part in parts]))
    if not all(part.at_s.size for part in parts):
        return Metered(times[:0], times[:0], both.known, both.read, gaps)
    total = np.sum([np.interp(times, part.at_s, part.total) for part in parts], axis=0)
    return Metered(times, total, both.known, both.read, gaps)


def _merged(groups: Sequence[Spans]) -> Spans:
    """The gaps of several meters as those of their sum: what overlaps is one; what only touches is not."""
    start_s, end_s = (np.concatenate([getattr(one, name) for one in groups]) for name in ("start_s", "end_s"))
    if not start_s.size:
        return Spans.of([])
    order = np.argsort(start_s, kind="stable")
    start_s, end_s = start_s[order], np.maximum.accumulate(end_s[order])
    first = np.append(True, start_s[1:] >= end_s[:-1])
    last = np.append(first[1:], True)
    return Spans(start_s[first], end_s[last])


def mean_of(parts: Sequence[Metered]) -> Metered:
    """The mean of rates, where all of them were read."""
    summed = sum_of(parts)
    return replace(summed, total=summed.total / len(parts))


def sample(at_s: FloatArray, value: FloatArray, times_s: FloatArray) -> FloatArray:
    """A rate at other moments: linear between its readings, NaN in gaps and beyond its ends."""
    at_s, value = _known(at_s, value)
    if at_s.size < 2:
        return np.full(len(times_s), np.nan)
    gap_s = longest_gap_s(at_s)
    index = np.clip(np.searchsorted(at_s, times_s, side="right"), 1, len(at_s) - 1)
    inside = (times_s >= at_s[0]) & (times_s <= at_s[-1]) & (at_s[index] - at_s[index - 1] <= gap_s)
    return np.where(inside, np.interp(times_s, at_s, value), np.nan)


def longest_gap_s(at_s: FloatArray) -> float:
    """Seconds between two readings beyond which nothing is known of what was in between."""
    return max(GAP_INTERVALS * float(np.median(np.diff(at_s))), GAP_MIN_S) if len(at_s) > 1 else GAP_MIN_S


def _known(at_s: FloatArray, value: FloatArray) -> tuple[FloatArray, FloatArray]:
    known = np.isfinite(value)
    return at_s[known], value[known]


def _without_strays(at_s: FloatArray, value: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Without single samples that fall or leap and are taken back by the next: no register does that."""
    if value.size < 3:
        return at_s, value
    before, here, after = value[:-2], value[1:-1], value[2:]
    stray = np.zeros(value.size, dtype=np.bool_)
    stray[1:-1] = ((here < before) & (before <= after)) | ((here > after) & (after >= before))
    beside = np.concatenate([[False], stray[:-1]]) | np.concatenate([stray[1:], [False]])
    stray &= ~beside  # two readings that alternate for a while are no single ones
    return at_s[~stray], value[~stray]


def _metered(at_s: FloatArray, steps: FloatArray, is_known: NDArray[np.bool_], span_s: float) -> Metered:
    """Cut to the report's span: what is not known carries nothing, and a gap that the span cuts is not known."""
    if at_s.size < 2:
        empty = np.zeros(0)
        return Metered(empty, empty, Spans.of([]), Spans.of([]), Spans.of([]))
    start_s, end_s = at_s[:-1], at_s[1:]
    whole = Spans.of([(0.0, span_s)])
    was_read = is_known & (end_s - start_s <= longest_gap_s(at_s))
    was_not = is_known & ~was_read & (start_s >= 0.0) & (end_s <= span_s)
    total = np.concatenate([[0.0], np.cumsum(np.where(is_known, steps, 0.0))])
    return Metered(
        at_s,
        total,
        known=Spans(start_s[was_read | was_not], end_s[was_read | was_not]).meet(whole),
        read=Spans(start_s[was_read], end_s[was_read]).meet(whole),
        gaps=Spans(start_s[was_not], end_s[was_not]),
    )
