"""The clusters of B halls in one batch: who holds which GPU, how far every job is, which nodes are on."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from facility.records import FloatArray
from scheduler.arena.arrays import BoolArray, IntArray, OwnerArray, of_owner
from scheduler.arena.jobs import JobTable
from scheduler.arena.nodes import Nodes
from scheduler.arena.settings import STEP_S, Parking
from scheduler.arena.slots import ABSENT, RUNNING, SUSPENDED, Queue, Slots

NOBODY = -1
_DONE_S = 1e-6  # a microsecond of work is none


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What became of every job, arrays (B, J); NaN where it is not done. Times in seconds from the window's start."""

    finished_s: FloatArray
    first_start_s: FloatArray
    running_s: FloatArray
    suspensions: IntArray
    was_protected: BoolArray

    @classmethod
    def of(cls, table: JobTable) -> Outcomes:
        """Nothing has happened yet."""
        shape = table.gpus.shape
        nan = np.full(shape, np.nan)
        return cls(nan, nan.copy(), np.zeros(shape), np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class Worked:
    """What the running jobs of a step did."""

    busy_w: FloatArray  # (B, N) mean power of the busy GPUs of each node
    busy_gpus: FloatArray  # (B, N) mean number of busy GPUs
    done: BoolArray  # (B, w) jobs that ended within the step


class Cluster:
    """B clusters of N nodes with G GPUs each. A gang runs whole or not at all; GPUs freed within a step are given out
    at the next.
    """

    def __init__(self, table: JobTable, nodes: int, node_gpus: int, parking: Parking) -> None:
        """Empty, with every node on."""
        batch = len(table.count)
        self.table = table
        self.node_gpus = node_gpus
        self.owner: OwnerArray = np.full((batch, nodes, node_gpus), NOBODY, dtype=np.int32)
        self.nodes = Nodes.all_on(batch, nodes, parking)
        self.outcomes = Outcomes.of(table)
        self.step = 0
        self._queue = Queue(Slots.empty(batch, nodes), np.zeros(batch, dtype=np.int64))
        self._arrivals = table.arrivals()
        self._left = table.count.copy()
        self._slots: Slots
        self._admit()

    @property
    def slots(self) -> Slots:
        """Views of the slots in use, in order of arrival; good until the next step."""
        return self._slots

    @property
    def now_s(self) -> float:
        """Seconds since the start of the window."""
        return self.step * STEP_S

    @property
    def is_drained(self) -> BoolArray:
        """Halls whose every job is done, those still to come included, (B,)."""
        return np.asarray(self._left == 0)

    def free(self) -> IntArray:
        """GPUs of each open node that nobody holds, (B, N)."""
        return np.where(self.nodes.is_open, (self.owner == NOBODY).sum(axis=2), 0)

    def held(self) -> IntArray:
        """GPUs of each node that a job holds, (B, N)."""
        return np.asarray((self.owner != NOBODY).sum(axis=2))

    def start(self, rows: IntArray, slot: IntArray, take: IntArray) -> None:
        """Give each hall of ``rows`` (m,) the job in ``slot`` (m,) the GPUs ``take`` (m, N), which must be free."""
        row, node = np.nonzero(take)
        at = (rows[row], node)
        owner = self.owner[at]
        free = owner == NOBODY
        mine = free & (np.cumsum(free, axis=1) <= take[row, node][:, None])
        self.owner[at] = np.where(mine, slot[row][:, None].astype(np.int32), owner)
        slots = self._slots
        slots.phase[rows, slot], slots.changed_s[rows, slot] = RUNNING, self.now_s
        first = slots.first_start_s[rows, slot]
        slots.first_start_s[rows, slot] = np.where(np.isnan(first), self.now_s, first)

    def suspend(self, chosen: BoolArray) -> None:
        """Take the GPUs of the running jobs ``chosen`` (B, w); the work since their last checkpoint is lost."""
        slots = self.slots
        slots.phase[chosen], slots.changed_s[chosen] = SUSPENDED, self.now_s
        slots.remaining_s[chosen] += slots.suspend_cost_s[chosen]
        slots.suspensions[chosen] += 1
        self._release(chosen)

    def advance(self, speed: FloatArray, power_w: FloatArray) -> Worked:
        """One step: running jobs work at ``speed`` (B, w) drawing ``power_w`` (B, w) a GPU, until done.

        The energy of the step is exact: what is given back is the mean over it.
        """
        slots = self.slots
        running = slots.phase == RUNNING
        worked_s = np.where(running, np.minimum(STEP_S, slots.remaining_s / speed), 0.0)
        slots.remaining_s[...] = np.maximum(slots.remaining_s - worked_s * speed, 0.0)
        slots.running_s[...] += worked_s
        done = running & (slots.remaining_s <= _DONE_S)
        busy = worked_s / STEP_S
        busy_gpus, busy_w = self._by_node(busy, busy * power_w)
        self._finish(done, worked_s)
        return Worked(busy_w, busy_gpus, done)

    def next_step(self) -> None:
        """Time moves on: booted nodes open, new jobs come in."""
        self.step += 1
        self.nodes.woken(self.step)
        self._admit()

    def saved(self, rows: IntArray | None = None) -> Saved:
        """A copy of what a decision may change, of some halls or of all."""
        picked = slice(None) if rows is None else rows
        return Saved(
            rows,
            self.owner[picked].copy(),
            {name: getattr(self.slots, name)[picked].copy() for name in _DECIDED},
            {name: getattr(self.nodes, name)[picked].copy() for name in _NODE_PARTS},
        )

    def restore(self, saved: Saved, rows: IntArray) -> None:
        """Undo what has been decided in ``rows`` since ``saved``, which holds all halls or just these."""
        picked = slice(None) if saved.rows is not None else rows
        self.owner[rows] = saved.owner[picked]
        for name, value in saved.slots.items():
            getattr(self.slots, name)[rows] = value[picked]
        for name, kept in saved.nodes.items():
            getattr(self.nodes, name)[rows] = kept[picked]

    def _by_node(self, busy: FloatArray, watts: FloatArray) -> tuple[FloatArray, FloatArray]:
        return of_owner(self.owner, busy, 0.0).sum(axis=2), of_owner(self.owner, watts, 0.0).sum(axis=2)

    def _finish(self, done: BoolArray, worked_s: FloatArray) -> None:
        row, slot = np.nonzero(done)
        if not len(row):
            return
        slots, outcomes = self.slots, self.outcomes
        at = (row, slots.job[row, slot])
        outcomes.finished_s[at] = self.now_s + worked_s[row, slot]
        outcomes.first_start_s[at] = slots.first_start_s[row, slot]
        outcomes.running_s[at] = slots.running_s[row, slot]
        outcomes.suspensions[at] = slots.suspensions[row, slot]
        outcomes.was_protected[at] = slots.is_protected[row, slot]
        slots.phase[row, slot] = ABSENT
        self._left -= np.bincount(row, minlength=len(self._left))
        self._release(done)

    def _release(self, gone: BoolArray) -> None:
        rows = np.flatnonzero(gone.any(axis=1))
        if len(rows):
            owner = self.owner[rows]
            self.owner[rows] = np.where(of_owner(owner, gone[rows], False), NOBODY, owner)

    def _admit(self) -> None:
        row, job = self._arrivals.at(self.step)
        self.owner = self._queue.admit(self.table, row, job, self.owner)
        self._slots = self._queue.slots.head(self._queue.width)


_DECIDED = ("phase", "remaining_s", "changed_s", "first_start_s", "suspensions")
_NODE_PARTS = tuple(part.name for part in fields(Nodes) if part.name != "rules")


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """A copy of what decisions change; ``rows`` None: of all halls."""

    rows: IntArray | None
    owner: OwnerArray
    slots: dict[str, FloatArray]
    nodes: dict[str, IntArray]
