"""Jobs that are in the system, a slot each: arrays (B, S) in order of arrival, with room that grows when it must."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from scheduler.arena.arrays import BoolArray, FloatArray, IntArray, OwnerArray, SmallArray
from scheduler.arena.jobs import JobTable

ABSENT, QUEUED, RUNNING, SUSPENDED = 0, 1, 2, 3  # phases
_FIRST_WIDTH = 32
_KINDS = {"FloatArray": np.float64, "BoolArray": np.bool_, "IntArray": np.int64, "SmallArray": np.int16}


@dataclass(slots=True, eq=False)
class Slots:
    """Arrays (B, S); a slot of phase ABSENT holds nothing. Times in seconds from the start of the window."""

    phase: IntArray
    job: IntArray  # column of the JobTable
    gpus: IntArray
    kind: IntArray
    is_flexible: BoolArray
    remaining_s: FloatArray  # at full power
    work_s: FloatArray
    submit_s: FloatArray
    deadline_s: FloatArray
    suspend_cost_s: FloatArray
    changed_s: FloatArray  # last change of phase
    running_s: FloatArray
    first_start_s: FloatArray  # NaN until it has run
    suspensions: IntArray
    is_protected: BoolArray  # doing nothing would meet the deadline: see scheduler.shield
    plan_step: IntArray  # when the shield's schedule starts it
    plan_take: SmallArray  # (B, S, N) GPUs of each node in that schedule

    @classmethod
    def empty(cls, batch: int, nodes: int, width: int = _FIRST_WIDTH) -> Slots:
        """No jobs."""
        made: dict[str, Any] = {}
        for part in fields(cls):
            kind = _KINDS[str(part.type)]
            shape = (batch, width, nodes) if part.name == "plan_take" else (batch, width)
            made[part.name] = np.zeros(shape, dtype=kind)
        return cls(**made)

    @property
    def width(self) -> int:
        """Slots of each hall."""
        return int(self.phase.shape[1])

    def head(self, width: int) -> Slots:
        """Views of the first ``width`` slots."""
        return Slots(*(getattr(self, part.name)[:, :width] for part in fields(self)))

    def permuted(self, order: IntArray) -> None:
        """Reorder the slots of every hall by ``order`` (B, S), in place."""
        rows = np.arange(len(order))[:, None]
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name)[rows, order])

    def widened(self, width: int) -> None:
        """Room for ``width`` jobs in every hall."""
        extra = width - self.width
        for part in fields(self):
            old = getattr(self, part.name)
            pad = [(0, 0), (0, extra), (0, 0)][: old.ndim]
            setattr(self, part.name, np.pad(old, pad))

    def fill(self, row: IntArray, slot: IntArray, table: JobTable, job: IntArray) -> None:
        """Put jobs of ``table`` into slots."""
        at = (row, slot)
        self.phase[at], self.job[at], self.gpus[at] = QUEUED, job, table.gpus[row, job]
        self.kind[at], self.is_flexible[at] = table.kind[row, job], table.is_flexible[row, job]
        self.work_s[at] = self.remaining_s[at] = table.work_s[row, job]
        self.submit_s[at] = self.changed_s[at] = table.submit_s[row, job]
        self.deadline_s[at], self.suspend_cost_s[at] = table.deadline_s[row, job], table.suspend_cost_s[row, job]
        self.running_s[at], self.first_start_s[at], self.suspensions[at] = 0.0, np.nan, 0
        self.is_protected[at], self.plan_step[at], self.plan_take[at] = False, 0, 0


@dataclass(slots=True, eq=False)
class Queue:
    """The slots of B halls with the count used, and who comes in when."""

    slots: Slots
    used: IntArray  # (B,) slots in use, holes of finished jobs included

    @property
    def width(self) -> int:
        """Slots that any hall uses."""
        return int(self.used.max(initial=0)) or 1

    def admit(self, table: JobTable, row: IntArray, job: IntArray, owner: OwnerArray) -> OwnerArray:
        """Append jobs, sorted by hall; returns the owners' slots as they are then."""
        if not len(row):
            return owner
        coming = np.bincount(row, minlength=len(self.used))
        if (self.used + coming).max() > self.slots.width or self._is_sparse():
            owner = self.compacted(owner)
            needed = int((self.used + coming).max())
            if needed > self.slots.width:
                self.slots.widened(max(needed, 2 * self.slots.width))
        before = np.cumsum(coming) - coming
        slot = self.used[row] + np.arange(len(row)) - before[row]
        self.slots.fill(row, slot, table, job)
        self.used = self.used + coming
        return owner

    def compacted(self, owner: OwnerArray) -> OwnerArray:
        """Close the holes, keeping the order; ``owner`` (B, N, G) is renumbered."""
        present = self.slots.phase != ABSENT
        order = np.argsort(~present, axis=1, kind="stable")
        self.slots.permuted(order)
        self.used = present.sum(axis=1)
        place = np.cumsum(present, axis=1) - 1
        flat = owner.reshape(len(owner), -1)
        moved = np.where(flat < 0, -1, np.take_along_axis(place, np.maximum(flat, 0), axis=1))
        return moved.astype(np.int32).reshape(owner.shape)

    def _is_sparse(self) -> bool:
        """Whether half of what is looked at in each step is holes."""
        width = self.width
        return width > _FIRST_WIDTH // 2 and 2 * int((self.slots.phase[:, :width] != ABSENT).sum(axis=1).max()) < width
