"""The jobs of B halls as padded arrays, in order of submission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from facility.errors import DataError
from facility.records import Job, WorkClass
from scheduler.arena.arrays import BoolArray, FloatArray, IntArray
from scheduler.arena.settings import STEP_S

KINDS = (WorkClass.COMPUTE_BOUND, WorkClass.MEMORY_BOUND)  # index of ``JobTable.kind``


_COLUMNS: dict[str, Any] = {
    "submit_s": np.float64,
    "work_s": np.float64,
    "deadline_s": np.float64,
    "gpus": np.int64,
    "kind": np.int64,
    "is_flexible": np.bool_,
    "suspend_cost_s": np.float64,
}


@dataclass(frozen=True, slots=True, eq=False)
class JobTable:
    """Arrays (B, J); entries from ``count`` on are padding. Times in seconds from the start of the window."""

    count: IntArray  # (B,)
    submit_s: FloatArray
    work_s: FloatArray  # run time of the whole gang at full power
    deadline_s: FloatArray
    gpus: IntArray
    kind: IntArray  # index of KINDS
    is_flexible: BoolArray
    suspend_cost_s: FloatArray
    names: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, halls: Sequence[Sequence[Job]], start: Sequence[datetime]) -> JobTable:
        """The jobs of each hall, whose window begins at its ``start``."""
        rows = [sorted(jobs, key=lambda job: (job.submitted_at, job.name)) for jobs in halls]
        shape = (len(rows), max([1, *(len(jobs) for jobs in rows)]))
        table = {name: np.zeros(shape, dtype=kind) for name, kind in _COLUMNS.items()}
        for row, (jobs, first) in enumerate(zip(rows, start, strict=True)):
            for name, column in _columns(jobs, first).items():
                table[name][row, : len(jobs)] = column
        count = np.array([len(jobs) for jobs in rows], dtype=np.int64)
        return cls(count=count, names=tuple(tuple(job.name for job in jobs) for jobs in rows), **table)

    def require_fit(self, gpus_total: int) -> None:
        """Raise DataError for a gang that the hall can never hold, or a job without work."""
        real = np.arange(self.gpus.shape[1]) < self.count[:, None]
        wrong = real & ((self.gpus > gpus_total) | (self.gpus < 1) | (self.work_s <= 0.0))
        if wrong.any():
            row, column = (int(index[0]) for index in np.nonzero(wrong))
            raise DataError(
                f"a gang of {self.gpus[row, column]} GPUs for {self.work_s[row, column]:g} s in a hall of {gpus_total}",
                where=f"job {column} of hall {row}",
                hint="scale the trace to the hall",
            )

    def rows(self, index: IntArray) -> JobTable:
        """The jobs of some halls, repeats allowed."""
        picked = {name: getattr(self, name)[index] for name in _COLUMNS}
        return JobTable(count=self.count[index], names=tuple(self.names[int(row)] for row in index), **picked)

    def arrivals(self) -> Arrivals:
        """Which jobs become visible at which step: the first that begins at or after the submission."""
        row, job = np.nonzero(np.arange(self.gpus.shape[1]) < self.count[:, None])
        step = np.ceil(self.submit_s[row, job] / STEP_S).astype(np.int64)
        order = np.lexsort((job, row, step))
        return Arrivals(step[order], row[order], job[order])


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Jobs by the step at which they become visible, arrays (n,) in order of step, hall and submission."""

    step: IntArray
    row: IntArray
    job: IntArray

    def at(self, step: int) -> tuple[IntArray, IntArray]:
        """Hall and job of those that come in at ``step``."""
        first, last = np.searchsorted(self.step, (step, step + 1))
        return self.row[first:last], self.job[first:last]


def _columns(jobs: Sequence[Job], first: datetime) -> dict[str, list[Any]]:
    """The jobs of one hall, column by column, times from its ``first`` moment."""
    return {
        "submit_s": [(job.submitted_at - first).total_seconds() for job in jobs],
        "work_s": [job.work_s for job in jobs],
        "deadline_s": [(job.deadline - first).total_seconds() for job in jobs],
        "gpus": [job.gpus for job in jobs],
        "kind": [KINDS.index(job.work_class) for job in jobs],
        "is_flexible": [job.flexible for job in jobs],
        "suspend_cost_s": [job.suspend_cost_s for job in jobs],
    }
