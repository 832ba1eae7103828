"""The shield: no deferral, cap or parking may cost a deadline that doing nothing would meet.

For every hall it keeps a standing schedule: for each protected job that waits, a start and its nodes, at full power,
wake-up included. A job is protected from the step it comes in if there is such a schedule with it and all that are
protected already. A decision is accepted only where a new standing schedule can be drawn up from the state it leads
to. Otherwise it is amended: the jobs that are critical run, the hall at full power. Where that is not enough either,
it is undone and the old schedule's next step is carried out, with all nodes commanded on. So there is a valid schedule
at every step, and a protected job can only be late if the cluster does not do as it is told. This is
the simplex architecture (Sha, IEEE Software 18(4), 2001): any policy may decide as long as a verified one can take
over. The check is sufficient, not necessary: the greedy schedule leaves no holes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scheduler.arena.arrays import BoolArray, FloatArray, IntArray, OwnerArray, SmallArray, of_owner
from scheduler.arena.cluster import Cluster, Saved
from scheduler.arena.power import per_job
from scheduler.arena.settings import STEP_S, Limits
from scheduler.arena.slots import ABSENT, RUNNING, SUSPENDED, Slots
from scheduler.arena.witness import Ramp, Work, occupy, schedule

_RAMP_STEPS = 192  # two days: later starts are not held to the ramp in a schedule, and are drawn up again long before
_BEHIND = 1e12  # added to the key of jobs that come after all others


@dataclass(frozen=True, slots=True, eq=False)
class _Outlook:
    """Some halls as of a step, from where schedules are drawn up."""

    rows: IntArray
    step: int
    left_s: FloatArray  # (m, w) run time left at full power
    is_running: BoolArray
    waits: BoolArray
    available: OwnerArray  # (m, N, G) step from which each GPU is free, were all nodes commanded on

    def pick(self, keep: BoolArray) -> _Outlook:
        """Some of the halls."""
        return _Outlook(
            self.rows[keep],
            self.step,
            self.left_s[keep],
            self.is_running[keep],
            self.waits[keep],
            self.available[keep],
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Standing:
    """What would be done instead of a decision, for the halls ``rows``."""

    rows: IntArray
    is_protected: BoolArray  # (m, w) newcomers included
    start: IntArray  # (m, w) of every waiting job
    take: SmallArray  # (m, w, N)

    def pick(self, keep: BoolArray) -> _Standing:
        """Some of the halls."""
        return _Standing(self.rows[keep], self.is_protected[keep], self.start[keep], self.take[keep])


@dataclass(frozen=True, slots=True, eq=False)
class Guarded:
    """In which halls (B,) the decision was amended, and in which of them it was refused altogether."""

    amended: BoolArray
    refused: BoolArray


Amend = Callable[[BoolArray, BoolArray], None]  # halls (B,) to decide again, jobs (B, w) in them that must run


class Shield:
    """Guards the decisions of a batch of clusters."""

    def __init__(self, limits: Limits, full_speed: FloatArray, start_w: FloatArray) -> None:
        """``full_speed`` (1, K) is the speed of each class at the highest cap that the electrical limits allow, and
        ``start_w`` (1, K) what the start of one GPU then adds in watts.
        """
        self._limits = limits
        self._full_speed = full_speed
        self._start_w = start_w

    def guard(self, cluster: Cluster, saved: Saved, speed: FloatArray, amend: Amend) -> Guarded:
        """Check what has been decided since ``saved`` with running jobs at ``speed`` (B, w) in this step.

        Where it fails, ``amend`` decides again with the critical jobs made to run; where that fails too, everything is
        undone and the standing schedule followed. In both cases the hall's jobs run at full power.
        """
        everyone = np.arange(len(speed))
        new = self._newcomers(cluster)
        fine, critical = self._accept(cluster, everyone, speed, new)
        failing, refused = np.flatnonzero(~fine), np.zeros(len(speed), dtype=np.bool_)
        if not len(failing):
            return Guarded(refused.copy(), refused)
        amended: BoolArray = np.logical_not(fine)
        full = np.broadcast_to(per_job(self._full_speed, cluster.slots.kind), speed.shape)
        cluster.restore(saved, failing)
        amend(amended, critical & amended[:, None])
        fine, _ = self._accept(cluster, failing, full, new)
        failing = failing[~fine]
        if len(failing):
            standing = self._standing(cluster, saved, failing, new)
            lost = new[failing] & ~standing.is_protected  # what cannot be saved anyhow must not decide
            if lost.any():
                new[failing] &= standing.is_protected
                again = np.flatnonzero(lost.any(axis=1))
                keep = np.ones(len(failing), dtype=np.bool_)
                keep[again[self._accept(cluster, failing[again], full, new)[0]]] = False
                standing = standing.pick(keep)
            self._follow(cluster, saved, standing)
            refused[standing.rows] = True
        return Guarded(amended, refused)

    def _newcomers(self, cluster: Cluster) -> BoolArray:
        """Jobs that came in at this step and could meet their deadline on an empty cluster."""
        slots, now_s = cluster.slots, cluster.now_s
        came = (slots.phase != ABSENT) & (slots.submit_s > now_s - STEP_S)
        work_s = slots.work_s / per_job(self._full_speed, slots.kind)
        return np.asarray(came & (now_s + work_s <= slots.deadline_s))

    def _accept(
        self, cluster: Cluster, rows: IntArray, speed: FloatArray, new: BoolArray
    ) -> tuple[BoolArray, BoolArray]:
        """Where a schedule from the state decided upon meets every deadline, make it the standing one.

        Returns where it does (m,), and for the others the jobs (m, w) that must run no later than the first late one.
        """
        slots = cluster.slots
        after = self._outlook(cluster, rows, speed)
        must = slots.is_protected[rows] | new[rows]
        ends_s = after.step * STEP_S + after.left_s
        running_late = must & after.is_running & (ends_s > slots.deadline_s[rows] + 1e-6)
        fine: BoolArray = np.logical_not(running_late.any(axis=1))
        work = self._work(slots, after, must & after.waits & fine[:, None])
        plan = schedule(after.available, work, self._ramp(rows, after.step), stop_when_late=True)
        fine &= ~plan.late.any(axis=1)
        good = rows[fine]
        slots.is_protected[good] = must[fine]
        slots.plan_step[good], slots.plan_take[good] = plan.start[fine], plan.take[fine]
        first_late = np.where(plan.late, work.order, np.inf).min(axis=1)
        return fine, must & (work.order <= first_late[:, None])

    def _outlook(self, cluster: Cluster, rows: IntArray, speed: FloatArray | None) -> _Outlook:
        """The state now, or with ``speed`` (B, w) that of the next step."""
        slots, step = cluster.slots, cluster.step + (speed is not None)
        phase, left_s = slots.phase[rows], slots.remaining_s[rows]
        running = phase == RUNNING
        if speed is not None:
            left_s = np.maximum(left_s - np.where(running, STEP_S * speed[rows], 0.0), 0.0)
        left_s = left_s / per_job(self._full_speed, slots.kind[rows])
        ends = of_owner(cluster.owner[rows], np.ceil(left_s / STEP_S - 1e-9), 0.0) + step
        opens = cluster.nodes.available(step)[rows][:, :, None]
        available = np.maximum(ends, opens).astype(np.int32)
        return _Outlook(rows, step, left_s, running, ~running & (phase != ABSENT), available)

    def _work(self, slots: Slots, at: _Outlook, todo: BoolArray, behind: BoolArray | None = None) -> Work:
        """Jobs ``todo`` in order of the latest start that meets their deadline, those ``behind`` after all others."""
        rows = at.rows
        deadline_s, order = slots.deadline_s[rows], slots.deadline_s[rows] - at.left_s
        if behind is not None:
            order = order + np.where(behind, _BEHIND, 0.0)
        pause_s = slots.changed_s[rows] + self._limits.min_pause_s  # a pause has a shortest length
        rested = np.maximum(np.ceil(pause_s / STEP_S - 1e-9).astype(np.int64), at.step)
        release = np.where(slots.phase[rows] == SUSPENDED, rested, at.step)
        gpus = slots.gpus[rows]
        start_w = per_job(self._start_w, slots.kind[rows]) * gpus
        return Work(todo, order, gpus, at.left_s, release, deadline_s, start_w)

    def _ramp(self, rows: IntArray, step: int) -> Ramp | None:
        """Nothing started yet; None where starts are not limited."""
        if np.isinf(self._limits.ramp_w):
            return None
        return Ramp(step, np.zeros((len(rows), _RAMP_STEPS)), self._limits.ramp_w)

    def _standing(self, cluster: Cluster, saved: Saved, rows: IntArray, new: BoolArray) -> _Standing:
        """What to do in ``rows`` from this step on had nothing been decided.

        A new schedule where one holds all that are protected and all newcomers; else the standing one with newcomers
        behind it, protected where that is in time. Jobs beyond saving come last.
        """
        decided = cluster.saved(rows)
        cluster.restore(saved, rows)
        slots = cluster.slots
        now = self._outlook(cluster, rows, None)
        old = slots.is_protected[rows]
        must = now.waits & (old | new[rows])
        work = self._work(slots, now, now.waits, ~must)
        fresh = schedule(now.available.copy(), work, self._ramp(rows, now.step))
        holds: BoolArray = np.logical_not((fresh.late & must).any(axis=1))
        start, take, is_protected = fresh.start, fresh.take, old | new[rows]
        if not holds.all():
            rest = now.pick(~holds)
            behind = self._behind(slots, rest, new[rest.rows])
            start[~holds], take[~holds], is_protected[~holds] = behind.start, behind.take, behind.is_protected
        cluster.restore(decided, rows)
        return _Standing(rows, is_protected, start, take)

    def _behind(self, slots: Slots, now: _Outlook, new: BoolArray) -> _Standing:
        """The standing schedule as it is, with all others behind it."""
        rows = now.rows
        kept = now.waits & slots.is_protected[rows]
        start, take = slots.plan_step[rows].copy(), slots.plan_take[rows].copy()
        work, ramp = self._work(slots, now, now.waits & ~kept, ~new), self._ramp(rows, now.step)
        _replay(now.available, kept, _Places(start, take), work, ramp)
        plan = schedule(now.available, work, ramp)
        others = now.waits & ~kept
        start, take = np.where(others, plan.start, start), np.where(others[:, :, None], plan.take, take)
        return _Standing(rows, slots.is_protected[rows] | (new & ~plan.late), start, take)

    def _follow(self, cluster: Cluster, saved: Saved, standing: _Standing) -> None:
        """Undo the decision and carry out the standing schedule's next step, with every node commanded on."""
        rows = standing.rows
        cluster.restore(saved, rows)
        slots = cluster.slots
        slots.is_protected[rows] = standing.is_protected
        slots.plan_step[rows], slots.plan_take[rows] = standing.start, standing.take
        cluster.nodes.wake_all(rows, cluster.step)
        waits = (slots.phase[rows] != RUNNING) & (slots.phase[rows] != ABSENT)
        due = waits & (standing.start <= cluster.step)
        while due.any():
            some = np.flatnonzero(due.any(axis=1))
            slot = due[some].argmax(axis=1)
            cluster.start(rows[some], slot, standing.take[some, slot])
            due[some, slot] = False


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Starts (m, w) and GPUs (m, w, N) of a schedule that stands."""

    start: IntArray
    take: SmallArray


def _replay(available: OwnerArray, kept: BoolArray, places: _Places, work: Work, ramp: Ramp | None) -> None:
    """Occupy ``available`` and ``ramp`` with the jobs ``kept`` (m, w) of a schedule, in order of its starts."""
    available.sort(axis=2)
    order = np.argsort(np.where(kept, places.start, np.iinfo(np.int64).max), axis=1, kind="stable")
    count = kept.sum(axis=1)
    for rank in range(int(count.max(initial=0))):
        some = np.flatnonzero(count > rank)
        at = (some, order[some, rank])
        begin = places.start[at]
        until = np.ceil((begin * STEP_S + work.duration_s[at]) / STEP_S - 1e-9).astype(np.int32)
        occupy(available, some, places.take[at], begin, until)
        if ramp is not None and work.start_w is not None:
            ramp.take(some, begin, work.start_w[at])
