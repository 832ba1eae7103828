"""What perfect foresight could save at most: a linear programme over hours, as a lower bound on dynamic carbon at
full power.

Each job's GPU-hours are spread over the hours from its submission to its deadline, or to its latest completion among
the runs it is compared with where that is later; a job that may not be deferred has only the latter. Gangs are fluid,
suspending is free, the future is known, and hours at both ends count whole: all of this only helps, so no schedule at
full power that keeps those windows emits less. Idle power does not depend on the schedule and is left out. Jobs of the
same window and power are one variable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from facility.errors import EcoError
from facility.records import FloatArray, Job

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Bound:
    """The least dynamic carbon, and when the GPUs work in it."""

    dynamic_kwh: float
    dynamic_carbon_kg: float
    gpus_busy: FloatArray  # mean of each hour, (hours,)


@dataclass(slots=True)
class _Group:
    """Jobs that may run in the same hours [first, end) with the same power."""

    first: int
    end: int
    gpu_w: float
    gpu_h: float = 0.0
    gpus: int = 0


def clairvoyant_bound(
    jobs: Iterable[Job],
    completed_at: Mapping[str, datetime],
    intensity_g_kwh: FloatArray,
    *,
    start: datetime,
    gpus_total: int,
    gpu_w: Callable[[Job], float],
) -> Bound:
    """The least dynamic carbon of ``jobs``; ``intensity_g_kwh`` is hourly from ``start`` on, up to the end of the
    runs compared.

    ``completed_at`` is each job's latest completion among the runs compared, ``gpu_w`` the power that one of its GPUs
    adds when busy. Raises EcoError where the programme has no solution, which a completed run rules out.
    """
    groups = _groups(jobs, completed_at, start, len(intensity_g_kwh), gpu_w)
    hours = np.concatenate([np.arange(group.first, group.end) for group in groups])
    owner = np.concatenate([np.full(group.end - group.first, index) for index, group in enumerate(groups)])
    width = np.array([group.gpus for group in groups], dtype=np.float64)[owner]
    power_w = np.array([group.gpu_w for group in groups])[owner]
    kg_per_gpu_h = power_w * intensity_g_kwh[hours] / 1e6
    ones, columns = np.ones(len(hours)), np.arange(len(hours))
    use = coo_array((ones, (hours, columns)), shape=(len(intensity_g_kwh), len(hours))).tocsr()
    work = coo_array((ones, (owner, columns)), shape=(len(groups), len(hours))).tocsr()
    wanted = np.array([group.gpu_h for group in groups])
    # Without integer variables milp solves the linear programme; its interface takes sparse matrices by type.
    solved = milp(
        kg_per_gpu_h,
        constraints=[LinearConstraint(use, 0.0, float(gpus_total)), LinearConstraint(work, wanted, wanted)],
        bounds=Bounds(0.0, width),
    )
    if not solved.success:
        raise EcoError(f"the bound has no solution: {solved.message}", where="clairvoyant bound")
    kwh = float(np.dot(solved.x, power_w)) / 1000.0
    return Bound(kwh, float(solved.fun), np.asarray(use @ solved.x, dtype=np.float64))


def _groups(
    jobs: Iterable[Job],
    completed_at: Mapping[str, datetime],
    start: datetime,
    hours: int,
    gpu_w: Callable[[Job], float],
) -> list[_Group]:
    groups: dict[tuple[int, int, float], _Group] = {}
    for job in jobs:
        end = max(job.deadline, completed_at[job.name]) if job.flexible else completed_at[job.name]
        first = math.floor((job.submitted_at - start).total_seconds() / HOUR_S)
        last = min(hours, math.ceil((end - start).total_seconds() / HOUR_S))
        key = (first, last, gpu_w(job))
        group = groups.setdefault(key, _Group(*key))
        group.gpu_h += job.gpus * job.work_s / HOUR_S
        group.gpus += job.gpus
    return list(groups.values())
