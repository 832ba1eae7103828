"""Means over any span of a series, from running sums; a later value never touches an earlier mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facility.records import FloatArray

Index = NDArray[np.int64]


class Running:
    """Sums up to each hour of ``values`` (shape [n]); NaN counts as absent."""

    def __init__(self, values: FloatArray) -> None:
        present = np.isfinite(values)
        self._sum = np.concatenate([[0.0], np.cumsum(np.where(present, values, 0.0))])
        self._count = np.concatenate([[0], np.cumsum(present)])

    def mean(self, first: Index, last: Index) -> FloatArray:
        """Mean over [first, last) of each row, NaN where nothing is in it; what lies before the series is absent."""
        low, high = (np.clip(edge, 0, len(self._sum) - 1) for edge in (first, last))
        count = self._count[high] - self._count[low]
        total = self._sum[high] - self._sum[low]
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def at(values: FloatArray, index: Index) -> FloatArray:
    """Values at ``index`` of any shape, NaN outside."""
    inside = (index >= 0) & (index < len(values))
    return np.where(inside, values[np.clip(index, 0, len(values) - 1)], np.nan)
