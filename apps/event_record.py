"""One demand-response event: what was ordered, what was done, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from facility.records import JobStatus
from facility.site import StrictModel


class Phase(StrEnum):
    """Where an event is in its life."""

    SHEDDING = "shedding"  # power is held down
    RECOVERING = "recovering"  # jobs come back a few at a time
    WATCHING = "watching"  # all is back; what it draws afterwards is still measured
    DONE = "done"
    STOPPED = "stopped"  # by a person, or by a change of mode


class Touched(StrictModel):
    """A job that gave way, as it was before."""

    name: str
    deadline: datetime
    remaining_s: float
    gpu_cap_w: float | None
    is_capped: bool = False
    is_suspended: bool = False
    is_back: bool = False
    left_s: float | None = None  # work left when it was back; None where it was done by then

    @classmethod
    def of(cls, status: JobStatus) -> Touched:
        """As the cluster reports it."""
        return cls(
            name=status.job.name,
            deadline=status.job.deadline,
            remaining_s=status.remaining_s,
            gpu_cap_w=status.gpu_cap_w,
        )


class EventOrder(StrictModel):
    """What a person ordered."""

    name: str
    shed_w: float
    started_at: datetime
    until: datetime
    person: str
    role: str
    why: str
    baseline_w: float  # of the main meter when the order came


@dataclass(slots=True)
class Event:
    """An event as it goes on; kept on disk, so that a restarted service ends it."""

    order: EventOrder
    phase: Phase = Phase.SHEDDING
    jobs: dict[str, Touched] = field(default_factory=dict)
    setpoints: dict[str, float] = field(default_factory=dict)  # raised ones, by point
    errors: list[str] = field(default_factory=list)
    acted_at: datetime | None = None  # last time that more was taken off
    ended_at: datetime | None = None  # shedding was over
    back_at: datetime | None = None  # the last job was back

    @property
    def is_open(self) -> bool:
        """Whether it still holds jobs or setpoints."""
        return self.phase in (Phase.SHEDDING, Phase.RECOVERING)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be done or measured."""
        return self.phase in (Phase.DONE, Phase.STOPPED)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "order": self.order.model_dump(mode="json"),
            "phase": self.phase.value,
            "jobs": {name: one.model_dump(mode="json") for name, one in self.jobs.items()},
            "setpoints": self.setpoints,
            "errors": self.errors,
            **{key: _text(getattr(self, key)) for key in ("acted_at", "ended_at", "back_at")},
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Event:
        """What ``to_json`` gave."""
        times = {key: _time(content[key]) for key in ("acted_at", "ended_at", "back_at")}
        return cls(
            order=EventOrder.model_validate(content["order"]),
            phase=Phase(content["phase"]),
            jobs={name: Touched.model_validate(one) for name, one in content["jobs"].items()},
            setpoints=dict(content["setpoints"]),
            errors=list(content["errors"]),
            **times,
        )


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
