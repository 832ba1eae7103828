"""A power curve and jobs that are easy to compute by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from facility.records import Job, WorkClass

START = datetime(2023, 5, 1, tzinfo=UTC)


@dataclass(frozen=True)
class LinearCurve:
    """400 W at full speed; a cap of 200 W halves the speed."""

    full_w: float = 400.0

    def speed(self, cap_w: float) -> float:
        return min(1.0, cap_w / self.full_w)

    def power_w(self, cap_w: float) -> float:
        return min(self.full_w, cap_w)


def linear(job: Job) -> LinearCurve:
    return LinearCurve()


def job(
    name: str, gpus: int = 1, hours: float = 1.0, after_h: float = 0.0, slack_h: float = 24.0, **more: object
) -> Job:
    """A job handed in ``after_h`` hours after START with ``slack_h`` hours to spare."""
    submitted = START + timedelta(hours=after_h)
    fields: dict[str, object] = {
        "deadline": submitted + timedelta(hours=hours + slack_h),
        "flexible": True,
        "work_class": WorkClass.COMPUTE_BOUND,
        "suspend_cost_s": 300.0,
    }
    return Job(name, submitted, gpus, hours * 3600.0, **(fields | more))  # type: ignore[arg-type]
