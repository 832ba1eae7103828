"""Array types of the batched simulator, and the gathers that every part of it uses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facility.records import FloatArray

__all__ = ["BoolArray", "FloatArray", "IntArray", "OwnerArray", "SmallArray", "first_true", "of_owner", "ranked"]

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
OwnerArray = NDArray[np.int32]
SmallArray = NDArray[np.int16]


def of_owner(owner: OwnerArray, values: FloatArray, nobody: float) -> FloatArray:
    """The value (m, w) of the job that holds each GPU (m, N, G), and ``nobody`` where none does."""
    flat = owner.reshape(len(owner), -1)
    wide = np.concatenate([values, np.full((len(values), 1), nobody)], axis=1)  # index -1 reads the last column
    return np.take_along_axis(wide, flat, axis=1).reshape(owner.shape)


def first_true(flags: BoolArray, count: IntArray) -> BoolArray:
    """The first ``count`` (m,) true entries of each row of ``flags`` (m, n)."""
    return flags & (np.cumsum(flags, axis=1) <= count[:, None])


def ranked(flags: BoolArray, key: FloatArray, count: IntArray) -> BoolArray:
    """The ``count`` (m,) true entries of least ``key`` in each row (m, n); the first of equal ones."""
    order = np.argsort(np.where(flags, key, np.inf), axis=1, kind="stable")
    chosen = np.zeros_like(flags)
    np.put_along_axis(chosen, order, np.arange(flags.shape[1]) < count[:, None], axis=1)
    return chosen & flags
