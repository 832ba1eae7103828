"""Sets of intervals of time: when a meter was read, and when several were."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facility.records import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Disjoint intervals [start, end) in order of time, in seconds since the report's beginning; shape [n] each."""

    start_s: FloatArray
    end_s: FloatArray

    @classmethod
    def of(cls, pieces: Iterable[tuple[float, float]]) -> Spans:
        """From pairs; empty ones are dropped."""
        kept = [(start, end) for start, end in pieces if end > start]
        pairs = np.asarray(kept, dtype=np.float64).reshape(-1, 2)
        return cls(pairs[:, 0], pairs[:, 1])

    @property
    def length_s(self) -> float:
        """Seconds in all of them."""
        return float(np.sum(self.end_s - self.start_s))

    def holds(self, at_s: FloatArray) -> NDArray[np.bool_]:
        """Whether each moment lies in one of them."""
        index = np.searchsorted(self.start_s, at_s, side="right") - 1
        if not self.start_s.size:
            return np.zeros(np.shape(at_s), dtype=np.bool_)
        return np.asarray((index >= 0) & (at_s < self.end_s[np.maximum(index, 0)]))

    def meet(self, other: Spans) -> Spans:
        """Where both are."""
        edges = np.unique(np.concatenate([self.start_s, self.end_s, other.start_s, other.end_s]))
        middle = 0.5 * (edges[:-1] + edges[1:])
        return _joined(edges, self.holds(middle) & other.holds(middle))

    def without(self, other: Spans) -> Spans:
        """Where this one is and the other is not."""
        edges = np.unique(np.concatenate([self.start_s, self.end_s, other.start_s, other.end_s]))
        middle = 0.5 * (edges[:-1] + edges[1:])
        return _joined(edges, self.holds(middle) & ~other.holds(middle))

    def within(self, other: Spans) -> FloatArray:
        """Seconds of this one in each interval of the other, shape [intervals]."""
        return self.seconds_before(other.end_s) - self.seconds_before(other.start_s)

    def seconds_before(self, edges_s: FloatArray) -> FloatArray:
        """Seconds of them before each edge, shape [edges]."""
        if not self.start_s.size:
            return np.zeros(len(edges_s))
        corners = np.column_stack([self.start_s, self.end_s]).ravel()
        lengths = np.column_stack([np.zeros_like(self.start_s), self.end_s - self.start_s]).ravel()
        return np.asarray(np.interp(edges_s, corners, np.cumsum(lengths)))


def _joined(edges: FloatArray, inside: NDArray[np.bool_]) -> Spans:
    """Neighbouring pieces between ``edges`` [n + 1] that are ``inside`` [n], as one each."""
    change = np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8))
    return Spans(edges[np.flatnonzero(change == 1)], edges[np.flatnonzero(change == -1)])
