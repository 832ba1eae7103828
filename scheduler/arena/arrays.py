"""Array types of the batched simulator, and the gathers that every part of it uses."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from facility.records import FloatArray

__all__ = ["BoolArray", "FloatArray", "IntArray", "OwnerArray", "SmallArray", "first_true", "of_owner", "ranked"]

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
OwnerArray = NDArray[np.int32]
SmallArray = NDArray[np.int16]
Scalar = TypeVar("Scalar", bound=np.generic)


def of_owner(owner: OwnerArray, values: NDArray[Scalar], nobody: float) -> NDArray[Scalar]:
    """The value (m, w) of the job that holds each GPU (m, N, G), and ``nobody`` where none does."""
    wide = np.empty((len(values), values.shape[1] + 1), dtype=values.dtype)
    wide[:, 0], wide[:, 1:] = nobody, values
    return np.take(wide, owner + _base(len(values), wide.shape[1]))


@lru_cache(maxsize=64)
def _base(rows: int, width: int) -> IntArray:
    """Index of slot 0 of every row of a flattened table whose first column is nobody's, (rows, 1, 1)."""
    base: IntArray = (np.arange(rows) * width + 1)[:, None, None]
    base.setflags(write=False)
    return base


def first_true(flags: BoolArray, count: IntArray) -> BoolArray:
    """The first ``count`` (m,) true entries of each row of ``flags`` (m, n)."""
    return flags & (np.cumsum(flags, axis=1) <= count[:, None])


def ranked(flags: BoolArray, key: FloatArray, count: IntArray) -> BoolArray:
    """The ``count`` (m,) true entries of least ``key`` in each row (m, n); the first of equal ones."""
    order = np.argsort(np.where(flags, key, np.inf), axis=1, kind="stable")
    chosen = np.zeros_like(flags)
    np.put_along_axis(chosen, order, np.arange(flags.shape[1]) < count[:, None], axis=1)
    return chosen & flags
