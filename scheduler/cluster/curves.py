"""Power curves of a hall's GPUs, looked up once for each class and cap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from facility.records import Job, WorkClass
from facility.site import Hall
from scheduler.cluster.jobs import PowerCurve
from twin.workload import WorkCurve, work_curve

Curves = Callable[[Job], PowerCurve]


@dataclass(frozen=True, slots=True)
class KnownCurve:
    """A curve that remembers its answers: a cluster asks for the same few caps at every step."""

    curve: WorkCurve
    _speed: dict[float, float] = field(default_factory=dict)
    _power_w: dict[float, float] = field(default_factory=dict)

    def speed(self, cap_w: float) -> float:
        """Speed relative to full power; raises DataError below the fitted range."""
        if cap_w not in self._speed:
            self._speed[cap_w] = float(self.curve.speed(cap_w))
        return self._speed[cap_w]

    def power_w(self, cap_w: float) -> float:
        """Mean power of one busy GPU in W."""
        if cap_w not in self._power_w:
            self._power_w[cap_w] = float(self.curve.power_w(cap_w))
        return self._power_w[cap_w]


def hall_curves(hall: Hall) -> Curves:
    """The curve of a job on the hall's GPUs, by its work class."""
    gpu = hall.node.gpu
    known = {kind: KnownCurve(work_curve(kind, gpu.max_w, gpu.idle_w)) for kind in WorkClass}
    return lambda job: known[job.work_class]
