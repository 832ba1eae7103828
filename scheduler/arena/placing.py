"""Gang placement of ``scheduler.placement`` for many halls at once: which nodes give a gang its GPUs."""

from __future__ import annotations

import numpy as np

from scheduler.arena.arrays import BoolArray, IntArray

_FULL = 1 << 30


def place(gpus: IntArray, free: IntArray, node_gpus: int) -> tuple[IntArray, BoolArray]:
    """GPUs taken of each node (m, N) by gangs of ``gpus`` (m,) where ``free`` (m, N) are left, and whether each fits.

    A gang of up to ``node_gpus`` goes to the fullest node that holds it; a larger one takes the roomiest nodes whole
    and its remainder by best fit. Ties go to the first node. What does not fit takes nothing.
    """
    take = np.zeros_like(free)
    small = gpus <= node_gpus
    fits = np.zeros(len(gpus), dtype=np.bool_)
    if small.all():
        fits = _on_one(take, np.arange(len(gpus)), gpus, free)
    else:
        on_one, spread = np.flatnonzero(small), np.flatnonzero(~small)
        fits[on_one] = _on_one(take, on_one, gpus[on_one], free[on_one])
        fits[spread] = _on_many(take, spread, gpus[spread], free[spread])
    return take, fits


def _on_one(take: IntArray, rows: IntArray, gpus: IntArray, free: IntArray) -> BoolArray:
    room = np.where(free >= gpus[:, None], free, _FULL)
    node = room.argmin(axis=1)
    fits = room[np.arange(len(rows)), node] < _FULL
    take[rows, node] = np.where(fits, gpus, 0)
    return np.asarray(fits)


def _on_many(take: IntArray, rows: IntArray, gpus: IntArray, free: IntArray) -> BoolArray:
    order = np.argsort(-free, axis=1, kind="stable")
    count = np.take_along_axis(free, order, axis=1)
    reached = np.cumsum(count, axis=1)
    fits = reached[:, -1] >= gpus
    column, here = np.arange(free.shape[1]), np.arange(len(rows))
    last = (reached < gpus[:, None]).sum(axis=1).clip(max=free.shape[1] - 1)  # first node that could hold the rest
    rest = gpus - (reached[here, last] - count[here, last])
    given = np.where(column < last[:, None], count, 0)
    room = np.where((column >= last[:, None]) & (count >= rest[:, None]), count, _FULL)
    given[here, room.argmin(axis=1)] = rest
    wanted = np.zeros_like(given)
    np.put_along_axis(wanted, order, given, axis=1)
    take[rows] = np.where(fits[:, None], wanted, 0)
    return np.asarray(fits)
