"""Which jobs give way when the site must take less power for a while: caps first, then flexible jobs are suspended.

The least harm comes first: caps on flexible jobs, caps on the others, then suspension of flexible jobs, those with the
most slack to their deadline first. What each step takes off is counted at the servers, GPUs by their power curves and
hosts by their share of a busy GPU: conversion losses and cooling come on top, so that a plan that is enough by this
count is enough at the meter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from facility.records import JOB_GPU_CAP_W, JOB_RUN_FLAG, Command, JobPhase, JobStatus, State
from facility.site import Hall
from scheduler.cluster.curves import hall_curves


@dataclass(frozen=True, slots=True)
class Shed:
    """Commands, and what they take off at the servers."""

    commands: tuple[Command, ...]
    expected_w: float


def shed(state: State, hall: Hall, wanted_w: float, reason: str) -> Shed:
    """Commands that take ``wanted_w`` off the running jobs of ``state``, or all that can be had."""
    gpu, curves = hall.node.gpu, hall_curves(hall)
    host_w = sum(part.full_w - part.idle_w for part in hall.node.host) / gpu.per_node
    running = [one for one in state.jobs if one.phase is JobPhase.RUNNING]
    left_w = {one.job.name: _busy_w(one, curves(one.job).power_w(_cap_w(one))) for one in running}
    capped: dict[str, Command] = {}
    taken_w = 0.0
    for one in sorted(running, key=lambda status: (not status.job.flexible, -status.job.gpus, status.job.name)):
        if taken_w >= wanted_w:
            break
        name, capped_w = one.job.name, _busy_w(one, curves(one.job).power_w(gpu.cap_min_w))
        if capped_w < left_w[name]:
            capped[name] = Command(f"{name}/{JOB_GPU_CAP_W}", gpu.cap_min_w, "W", reason)
            taken_w += left_w[name] - capped_w
            left_w[name] = capped_w
    suspended: list[Command] = []
    flexible = [one for one in running if one.job.flexible]
    for one in sorted(flexible, key=lambda status: (-_slack_s(status, state), status.job.name)):
        if taken_w >= wanted_w:
            break
        name = one.job.name
        suspended.append(Command(f"{name}/{JOB_RUN_FLAG}", 0.0, "1", reason))
        capped.pop(name, None)  # what stands still needs no cap
        taken_w += left_w[name] + one.job.gpus * (host_w - gpu.idle_w)
    return Shed((*suspended, *capped.values()), taken_w)  # what takes most off is written first


def _busy_w(status: JobStatus, power_w: float) -> float:
    return status.job.gpus * power_w


def _cap_w(status: JobStatus) -> float:
    return math.inf if status.gpu_cap_w is None else status.gpu_cap_w


def _slack_s(status: JobStatus, state: State) -> float:
    """Seconds that the job can wait and still be done in time at full power."""
    return (status.job.deadline - state.at).total_seconds() - status.remaining_s - status.job.suspend_cost_s
