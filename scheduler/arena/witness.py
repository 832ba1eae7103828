"""A schedule of gangs at full power, greedy and without holes: the witness that a decision still meets deadlines.

Time is in whole steps. ``available`` (m, N, G) is the step from which each GPU of each node is free for ever. Jobs are
placed in a given order, each at the earliest step at which a node (or, for a gang larger than a node, so many whole
nodes) is free for it; its GPUs are then busy until the step in which it ends is over. What is placed never moves, so
the result is a schedule that can be carried out as it stands. The loop goes over the rank of the jobs, not over halls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scheduler.arena.arrays import BoolArray, FloatArray, IntArray, OwnerArray, SmallArray
from scheduler.arena.settings import STEP_S

_TICK = 1e-9  # of a step: rounding is none


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Jobs to be placed, arrays (m, w)."""

    todo: BoolArray
    order: FloatArray  # smaller first
    gpus: IntArray
    duration_s: FloatArray  # at full power
    release: IntArray  # first step at which it may start
    deadline_s: FloatArray
    start_w: FloatArray | None = None  # power that its start adds


@dataclass(frozen=True, slots=True, eq=False)
class Ramp:
    """Power started in each step from ``first`` on, (m, steps), of which one step takes no more than ``most_w``; only
    a gang that starts alone may exceed it.
    """

    first: int
    spent_w: FloatArray
    most_w: float

    def begin(self, rows: IntArray, start: IntArray, start_w: FloatArray) -> IntArray:
        """The first step from ``start`` on with room for ``start_w``; it is taken. Beyond the last step all have."""
        steps = self.spent_w.shape[1]
        spent = self.spent_w[rows]
        room = (spent == 0.0) | (spent + start_w[:, None] <= self.most_w)
        room &= np.arange(steps) >= (start - self.first)[:, None]
        begin = np.where(room.any(axis=1), room.argmax(axis=1), np.maximum(start - self.first, steps))
        self.take(rows, begin + self.first, start_w)
        return begin + self.first

    def take(self, rows: IntArray, start: IntArray, start_w: FloatArray) -> None:
        """Count ``start_w`` at ``start``."""
        step = start - self.first
        inside = step < self.spent_w.shape[1]
        self.spent_w[rows[inside], step[inside]] += start_w[inside]


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """When and where jobs start, arrays (m, w) and (m, w, N); ``late`` those that end after their deadline."""

    start: IntArray
    take: SmallArray
    late: BoolArray


def schedule(available: OwnerArray, work: Work, ramp: Ramp | None = None, *, stop_when_late: bool = False) -> Schedule:
    """Place every job of ``work``; ``available`` and ``ramp`` are used up in place, nodes sorted.

    With ``stop_when_late`` a row is left as it is at its first late job.
    """
    shape = work.todo.shape
    made = Schedule(
        np.zeros(shape, dtype=np.int64),
        np.zeros((*shape, available.shape[1]), dtype=np.int16),
        np.zeros(shape, dtype=np.bool_),
    )
    count = work.todo.sum(axis=1)
    rows = np.flatnonzero(count)
    if not len(rows):
        return made
    available.sort(axis=2)
    rows = rows[np.argsort(-count[rows], kind="stable")]  # the longest first: each rank is a leading part
    most = int(count[rows[0]])
    order = np.argsort(np.where(work.todo[rows], work.order[rows], np.inf), axis=1, kind="stable")[:, :most]
    left, fine = count[rows], np.ones(len(rows), dtype=np.bool_)
    for rank in range(most):
        many = int(np.searchsorted(-left, -rank, side="left"))
        go_on = np.flatnonzero(fine[:many])
        if not len(go_on):
            break
        slot = order[go_on, rank]
        late = _place(available, work, made, ramp, rows[go_on], slot)
        if stop_when_late:
            fine[go_on] = ~late
    return made


def _place(
    available: OwnerArray, work: Work, made: Schedule, ramp: Ramp | None, rows: IntArray, slot: IntArray
) -> BoolArray:
    """Place one job of each row; returns whether it is late."""
    at = (rows, slot)
    gpus, ahead = work.gpus[at], available[rows]
    small = gpus <= available.shape[2]
    if small.all():
        start, take = _on_one(ahead, gpus, work.release[at])
    else:
        start, take = np.empty_like(gpus), np.empty(ahead.shape[:2], dtype=np.int16)
        for part, place in ((np.flatnonzero(small), _on_one), (np.flatnonzero(~small), _on_many)):
            start[part], take[part] = place(ahead[part], gpus[part], work.release[at][part])
    if ramp is not None and work.start_w is not None:
        start = ramp.begin(rows, start, work.start_w[at])
    ends_s = start * STEP_S + work.duration_s[at]
    occupy(available, rows, take, start, np.ceil(ends_s / STEP_S - _TICK).astype(np.int32))
    late: BoolArray = ends_s > work.deadline_s[at] + 1e-6
    made.start[at], made.take[at], made.late[at] = start, take, late
    return late


def _on_one(ahead: OwnerArray, gpus: IntArray, release: IntArray) -> tuple[IntArray, SmallArray]:
    """Earliest start on one node; of those free by then, the one that was busy longest."""
    here = np.arange(len(gpus))
    ready = ahead[here, :, gpus - 1]
    start = np.maximum(ready.min(axis=1), release)
    node = np.where(ready <= start[:, None], ready, -1).argmax(axis=1)
    take = np.zeros(ready.shape, dtype=np.int16)
    take[here, node] = gpus
    return start, take


def _on_many(ahead: OwnerArray, gpus: IntArray, release: IntArray) -> tuple[IntArray, SmallArray]:
    """Earliest start on whole nodes, the last of them taken in part."""
    node_gpus = ahead.shape[2]
    here = np.arange(len(gpus))
    ready = ahead[:, :, -1]
    wanted = -(-gpus // node_gpus)
    order = np.argsort(ready, axis=1, kind="stable")
    start = np.maximum(ready[here, order[here, wanted - 1]], release)
    given = np.where(np.arange(ahead.shape[1]) < wanted[:, None], node_gpus, 0).astype(np.int16)
    given[here, wanted - 1] = gpus - (wanted - 1) * node_gpus
    take = np.zeros_like(given)
    np.put_along_axis(take, order, given, axis=1)
    return start, take


def occupy(available: OwnerArray, rows: IntArray, take: SmallArray, start: IntArray, until: OwnerArray) -> None:
    """Keep ``take`` (m, N) GPUs of halls ``rows`` (m,), free by ``start`` (m,), busy up to ``until`` (m,).

    Of the GPUs of a node that are free by then, those that became so last are taken: the others can serve earlier.
    Only the nodes concerned are touched; they stay sorted.
    """
    row, node = np.nonzero(take)
    hall = rows[row]
    ahead = available[hall, node]
    free = (ahead <= start[row][:, None]).sum(axis=1)
    column = np.arange(ahead.shape[1])
    mine = (column >= (free - take[row, node])[:, None]) & (column < free[:, None])
    after = np.where(mine, until[row][:, None], ahead)
    after.sort(axis=1)
    available[hall, node] = after
