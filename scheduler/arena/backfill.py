"""EASY backfilling of ``scheduler.backfill`` for many halls at once.

The loop goes over the rank of the candidates, not over halls: at each rank all halls place their next candidate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scheduler.arena.arrays import BoolArray, FloatArray, IntArray, of_owner
from scheduler.arena.cluster import Cluster
from scheduler.arena.placing import place

_LATER = 1e12  # added to the key of fillers: they come after the queue


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """Who may start, arrays (B, w)."""

    start: BoolArray  # waits and may start now
    reserve: BoolArray  # one of the queue: the first of them that does not fit gets a reservation
    order: FloatArray  # smaller first


def backfill(cluster: Cluster, wanted: Wanted, start_w: FloatArray, ramp_w: float) -> None:
    """Start jobs of the queue in order, with backfilling, then the others wherever they fit.

    Jobs that add ``start_w`` (B, w) watts are held back once ``ramp_w`` is started in a hall; its first is not.
    """
    free = cluster.free()
    slots = cluster.slots
    key, candidates = _worth_trying(wanted, slots.gpus, free, cluster.node_gpus)
    count = candidates.sum(axis=1)
    rows = np.flatnonzero(count)
    if not len(rows):
        return
    order = np.argsort(np.where(candidates[rows], key[rows], np.inf), axis=1, kind="stable")
    promise, ramp = _Promise.none(free), _Ramp(start_w, np.zeros(len(free)), ramp_w)
    for rank in range(int(count.max())):
        go_on = (count[rows] > rank) & (free[rows].any(axis=1))
        rows, order = rows[go_on], order[go_on]
        if not len(rows):
            return
        _one(cluster, wanted, rows, order[:, rank], free, promise, ramp)


def _one(
    cluster: Cluster,
    wanted: Wanted,
    rows: IntArray,
    slot: IntArray,
    free: IntArray,
    promise: _Promise,
    ramp: _Ramp,
) -> None:
    """Place the next candidate of each hall of ``rows``."""
    gpus, remaining_s = cluster.slots.gpus[rows, slot], cluster.slots.remaining_s[rows, slot]
    beside = promise.made[rows] & (remaining_s > promise.after_s[rows])
    room = np.where(beside[:, None], np.minimum(free[rows], promise.left[rows]), free[rows])
    take, has_room = place(gpus, room, cluster.node_gpus)
    fits = has_room & ramp.allows(rows, slot)
    if fits.any():
        take = np.where(fits[:, None], take, 0)
        ramp.spend(rows[fits], slot[fits])
        free[rows] -= take
        promise.left[rows] -= np.where(beside[:, None], take, 0)
        cluster.start(rows[fits], slot[fits], take[fits])
    blocked = ~has_room & ~promise.made[rows] & wanted.reserve[rows, slot]
    if blocked.any():
        promise.make(cluster, rows[blocked], gpus[blocked])


def _worth_trying(wanted: Wanted, gpus: IntArray, free: IntArray, node_gpus: int) -> tuple[FloatArray, BoolArray]:
    """Keys with the fillers behind, and the candidates that fit before any has started, with the first of the queue
    that does not: no other can start, or change who does.
    """
    key = wanted.order + np.where(wanted.reserve, 0.0, _LATER)
    roomy = np.where(gpus <= node_gpus, free.max(axis=1)[:, None], free.sum(axis=1)[:, None])
    fits = wanted.start & (gpus <= roomy)
    blocked = wanted.start & wanted.reserve & ~fits
    first = np.where(blocked, key, np.inf)
    is_first = blocked & (first == first.min(axis=1, initial=np.inf)[:, None])
    some = fits.any(axis=1)
    return key, (fits | is_first) & some[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class _Promise:
    """The reservation of each hall's first blocked job."""

    made: BoolArray  # (B,)
    after_s: FloatArray  # (B,) seconds from now
    left: IntArray  # (B, N) GPUs that it will leave over

    @classmethod
    def none(cls, free: IntArray) -> _Promise:
        return cls(np.zeros(len(free), dtype=np.bool_), np.full(len(free), np.inf), np.zeros_like(free))

    def make(self, cluster: Cluster, rows: IntArray, gpus: IntArray) -> None:
        """Reserve the earliest time at which enough running jobs have ended, if nothing more is started."""
        ends = of_owner(cluster.owner[rows], cluster.slots.remaining_s[rows], 0.0)
        ends = np.where(cluster.nodes.is_open[rows][:, :, None], ends, np.inf)
        after = np.empty(len(rows))
        small = gpus <= cluster.node_gpus
        one, many = np.flatnonzero(small), np.flatnonzero(~small)
        by_node = np.sort(ends[one], axis=2)
        after[one] = by_node[np.arange(len(one)), :, gpus[one] - 1].min(axis=1)
        after[many] = np.sort(ends[many].reshape(len(many), ends[0].size), axis=1)[np.arange(len(many)), gpus[many] - 1]
        free_then = (np.isfinite(ends) & (ends <= after[:, None, None])).sum(axis=2)
        take, _ = place(gpus, free_then, cluster.node_gpus)
        self.made[rows], self.after_s[rows], self.left[rows] = True, after, free_then - take


@dataclass(frozen=True, slots=True, eq=False)
class _Ramp:
    """Watts started so far in each hall."""

    start_w: FloatArray  # (B, w)
    spent_w: FloatArray  # (B,)
    most_w: float

    def allows(self, rows: IntArray, slot: IntArray) -> BoolArray:
        spent = self.spent_w[rows]
        return np.asarray((spent == 0.0) | (spent + self.start_w[rows, slot] <= self.most_w))

    def spend(self, rows: IntArray, slot: IntArray) -> None:
        self.spent_w[rows] += self.start_w[rows, slot]
