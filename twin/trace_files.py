"""Job traces: four published forms, told apart by their header, as submit time, run time and GPUs of each job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from facility.errors import DataError
from facility.records import FloatArray
from twin.signals.table import LINE, numbers, read_table

DAY_S = 86400.0


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Jobs in the order of submission; times in seconds from the trace's own beginning, arrays of shape [n]."""

    form: str
    source: str
    submit_s: FloatArray
    duration_s: FloatArray  # run time of the whole gang
    gpus: NDArray[np.int64]
    synthetic: bool = False
    dropped: tuple[tuple[int, str], ...] = ()  # how many rows were left out, and why

    def __len__(self) -> int:
        return len(self.submit_s)

    @property
    def gpu_hours(self) -> float:
        """GPU-hours of all jobs."""
        return float(self.gpus @ self.duration_s) / 3600.0


def read_trace(path: str | Path) -> Trace:
    """A trace in PAI (GAIA), Alibaba 2023 or Philly (ElasticFlow) form; raises DataError with the headers that are
    known.

    Rows that never ran, or that want no GPU, are left out and counted in ``dropped``; other bad rows raise DataError.
    """
    path = Path(path)
    table = read_table(path)
    for form, (columns, read) in FORMS.items():
        if set(columns) <= set(table.columns):
            return _sorted(form, path, *read(table, path))
    found = ", ".join(name for name in table.columns if name != LINE)
    known = "; ".join(f"{form}: {', '.join(columns)}" for form, (columns, _) in FORMS.items())
    raise DataError(
        f"no known form of job trace, found columns {found}", where=f"{path}, line 1", hint=f"known forms: {known}"
    )


_Read = tuple[FloatArray, FloatArray, FloatArray, tuple[tuple[int, str], ...]]


def _plain(submit: str, duration: str, gpus: str) -> Callable[[pl.DataFrame, Path], _Read]:
    """A reader of forms whose three columns are the values themselves."""

    def read(table: pl.DataFrame, path: Path) -> _Read:
        columns = [_required(table, path, name) for name in (submit, duration, gpus)]
        return columns[0], columns[1], columns[2], ()

    return read


def _openb(table: pl.DataFrame, path: Path) -> _Read:
    """Alibaba 2023: pods run from scheduling to deletion; a share of one GPU counts as the whole GPU."""
    created, deleted, wanted = (_required(table, path, name) for name in ("creation_time", "deletion_time", "num_gpu"))
    scheduled = numbers(table, path, "scheduled_time")
    ran, on_gpu = ~np.isnan(scheduled), wanted >= 1
    keep = ran & on_gpu
    dropped = ((int((~ran).sum()), "never scheduled"), (int((ran & ~on_gpu).sum()), "want no GPU"))
    return created[keep], (deleted - scheduled)[keep], wanted[keep], tuple(entry for entry in dropped if entry[0])


FORMS: dict[str, tuple[tuple[str, ...], Callable[[pl.DataFrame, Path], _Read]]] = {
    "pai-gaia": (("submit_s", "duration_s", "units"), _plain("submit_s", "duration_s", "units")),
    "pai-gaia-week": (("arrival_time", "length", "cpus"), _plain("arrival_time", "length", "cpus")),
    "alibaba-2023": (("num_gpu", "creation_time", "deletion_time", "scheduled_time"), _openb),
    "philly-elasticflow": (("submit_time", "duration", "num_gpu"), _plain("submit_time", "duration", "num_gpu")),
}


def _required(table: pl.DataFrame, path: Path, name: str) -> FloatArray:
    """A column without missing or negative values."""
    value = numbers(table, path, name)
    wrong = np.flatnonzero(np.isnan(value) | (value < 0))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{name} is {table[name][row] or 'missing'}",
            where=f"{path}, line {table[LINE][row]}",
            hint="expected zero or more",
        )
    return value


def _sorted(
    form: str,
    path: Path,
    submit_s: FloatArray,
    duration_s: FloatArray,
    gpus: FloatArray,
    dropped: tuple[tuple[int, str], ...],
) -> Trace:
    """Jobs by submit time from zero on; jobs that take no time or no GPU are dropped and counted."""
    for bad, reason in ((duration_s <= 0, "take no time"), ((duration_s > 0) & (gpus < 1), "want no GPU")):
        if bad.any():
            dropped = (*dropped, (int(bad.sum()), reason))
    keep = (duration_s > 0) & (gpus >= 1)
    if not keep.any():
        raise DataError("no job runs on a GPU", where=str(path), hint="give a trace of GPU jobs")
    order = np.argsort(submit_s[keep], kind="stable")
    submitted = submit_s[keep][order]
    return Trace(
        form=form,
        source=path.name,
        submit_s=submitted,
        duration_s=duration_s[keep][order],
        gpus=gpus[keep][order].astype(np.int64),
        dropped=dropped,
    )


def synthetic_trace(seed: int = 0, jobs: int = 2000, days: float = 28.0) -> Trace:
    """Made-up jobs, labelled so: log-normal run times (median 40 min), gangs of 1 to 16, twice as many at noon as at
    midnight.
    """
    rng = np.random.default_rng([seed, 4])
    density = 1.0 - np.cos(2.0 * np.pi * (np.arange(24) + 0.5) / 24.0) / 3.0
    hour = rng.choice(24, size=jobs, p=density / density.sum())
    submit_s = np.sort(rng.integers(0, max(1, round(days)), jobs) * DAY_S + (hour + rng.random(jobs)) * 3600.0)
    duration_s = np.round(np.exp(np.log(2400.0) + 1.3 * rng.standard_normal(jobs)).clip(300.0, 3.0 * DAY_S))
    gpus = rng.choice([1, 2, 4, 8, 16], size=jobs, p=[0.5, 0.2, 0.15, 0.12, 0.03])
    return Trace(
        "synthetic", f"synthetic jobs, seed {seed}", submit_s, duration_s, gpus.astype(np.int64), synthetic=True
    )
