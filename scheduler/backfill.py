"""EASY backfilling of gangs: a job may overtake only where it cannot delay the first that waits.

The first job that does not fit gets a reservation at the earliest time at which enough running jobs have ended. A job
behind it starts now if it ends before that time, or if it uses only GPUs that the reservation leaves over (Lifka
1995).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from facility.records import JobPhase, JobStatus, NodeStatus, State
from scheduler.placement import Placement, give, place, take


@dataclass(frozen=True, slots=True)
class Reservation:
    """When the first waiting job can start at the latest, in s from now, and what it will leave over."""

    job: str
    after_s: float
    left_over: dict[str, int]


@dataclass(slots=True)
class Room:
    """Free GPUs of each node, and the running jobs that will give theirs back: (s from now, placement)."""

    node_gpus: int
    free: dict[str, int]
    releases: list[tuple[float, Placement]] = field(default_factory=list)

    @classmethod
    def of(cls, state: State) -> Room:
        """The room of a state; parked nodes give none."""
        free = {node.name: node.gpus_free for node in state.nodes if not node.parked}
        running = [status for status in state.jobs if status.phase is JobPhase.RUNNING]
        return cls(_largest(state.nodes), free, [(status.remaining_s, status.placement) for status in running])

    def suspend(self, status: JobStatus) -> None:
        """Take the GPUs of a job that is about to be suspended."""
        give(self.free, status.placement)
        self.releases.remove((status.remaining_s, status.placement))

    def start(self, status: JobStatus, placement: Placement) -> None:
        """Occupy GPUs until the job's end."""
        take(self.free, placement)
        self.releases.append((status.remaining_s, placement))

    def place(self, gpus: int, free: Mapping[str, int] | None = None) -> Placement | None:
        """A placement in ``free``, by default in all that is free now."""
        return place(gpus, self.free if free is None else free, self.node_gpus)

    def reserve(self, status: JobStatus) -> Reservation:
        """The earliest start of a job that does not fit now, if nothing more is started."""
        free, wanted = dict(self.free), status.job.gpus
        ordered = sorted(self.releases, key=lambda release: release[0])
        for after_s, ending in groupby(ordered, key=lambda release: release[0]):
            for _, placement in ending:  # what ends at the same time is free together
                give(free, placement)
            found = self.place(wanted, free) if sum(free.values()) >= wanted else None
            if found is not None:
                take(free, found)
                return Reservation(status.job.name, after_s, free)
        return Reservation(status.job.name, float("inf"), free)  # nodes are parked


@dataclass(frozen=True, slots=True)
class Backfilled:
    """Who starts where, and the reservation of the first job that has to wait."""

    starts: dict[str, Placement]
    reservation: Reservation | None


def backfill(queue: Sequence[JobStatus], room: Room, fillers: Sequence[JobStatus] = ()) -> Backfilled:
    """Start jobs of ``queue`` in order, with backfilling, then ``fillers`` wherever they fit; occupies ``room``.

    Only jobs of the queue get a reservation: a filler that does not fit can wait, and keeps nobody from running.
    """
    starts: dict[str, Placement] = {}
    reservation: Reservation | None = None
    for index, status in enumerate((*queue, *fillers)):
        if not any(room.free.values()):
            break
        placement = room.place(status.job.gpus) if reservation is None else _fits_beside(status, room, reservation)
        if placement is not None:
            room.start(status, placement)
            starts[status.job.name] = placement
        elif reservation is None and index < len(queue):
            reservation = room.reserve(status)
    return Backfilled(starts, reservation)


def _fits_beside(status: JobStatus, room: Room, reservation: Reservation) -> Placement | None:
    if status.remaining_s <= reservation.after_s:
        return room.place(status.job.gpus)
    spare = {name: min(count, reservation.left_over[name]) for name, count in room.free.items()}
    placement = room.place(status.job.gpus, spare)
    if placement is not None:
        take(reservation.left_over, placement)
    return placement


def _largest(nodes: Sequence[NodeStatus]) -> int:
    return max((node.gpus_total for node in nodes), default=0)
