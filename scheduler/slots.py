"""Which forecast slots a deferrable job runs in: the cheapest before its deadline, where the cluster has room."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from facility.records import FloatArray, Forecast, JobStatus

Slots = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Choice:
    """The slots chosen for one job (ascending, from now on) and the dearest value among them."""

    slots: Slots
    threshold: float

    @property
    def holds_now(self) -> bool:
        """Whether the running slot is one of them."""
        return bool(len(self.slots)) and int(self.slots[0]) == 0


class SlotPlan:
    """Slots from now on with their forecast value, and the GPUs already given out in each."""

    def __init__(self, forecast: Forecast, now: datetime, capacity_gpus: int) -> None:
        """``forecast`` is cut to start with the slot that holds ``now``."""
        past = max(0, math.floor((now - forecast.start).total_seconds() / forecast.step_s))
        self.now = now
        self.step_s = forecast.step_s
        self.value: FloatArray = forecast.value[past:]
        self._cheapest_first: Slots = np.argsort(self.value, kind="stable")
        self._load = np.zeros(len(self.value))
        self._capacity = capacity_gpus

    def occupy(self, gpus: int, until_s: float) -> None:
        """GPUs taken from now until ``until_s`` seconds ahead."""
        self._load[: math.ceil(until_s / self.step_s)] += gpus

    def choose(self, status: JobStatus, work_s: float, window_s: float) -> Choice:
        """The cheapest slots with room within ``window_s`` that hold ``work_s`` and the pauses' cost.

        The slots' GPUs are taken. A window beyond the forecast is served in proportion: the share of the job's work
        that the forecast's span has of the window is planned now. Where room is short the cheapest slots are taken
        without it, and the cluster will sort it out.
        """
        window = max(1, math.floor(window_s / self.step_s))
        span = min(window, len(self.value))
        share = span / window if span < window else 1.0
        slots = self._pick(status.job.gpus, span, math.ceil(work_s * share / self.step_s))
        pauses = int(np.count_nonzero(np.diff(np.sort(slots)) > 1))
        if pauses and status.job.suspend_cost_s:
            work_s += pauses * status.job.suspend_cost_s
            slots = self._pick(status.job.gpus, span, math.ceil(work_s * share / self.step_s))
        self._load[slots] += status.job.gpus
        return Choice(np.sort(slots), float(self.value[slots[-1]]) if len(slots) else math.inf)

    def windows(self, choice: Choice) -> tuple[tuple[datetime, datetime], ...]:
        """The chosen slots as contiguous times [start, end)."""
        slots = choice.slots
        breaks = np.flatnonzero(np.diff(slots) > 1)
        first = slots[np.concatenate(([0], breaks + 1))].tolist()
        last = slots[np.concatenate((breaks, [len(slots) - 1]))].tolist()
        return tuple((self._time(a), self._time(b + 1)) for a, b in zip(first, last, strict=True))

    def _pick(self, gpus: int, span: int, wanted: int) -> Slots:
        order = self._cheapest_first[self._cheapest_first < span]
        roomy = order[self._load[order] + gpus <= self._capacity]
        return roomy[:wanted] if len(roomy) >= wanted else order[:wanted]

    def _time(self, slot: int) -> datetime:
        return self.now + timedelta(seconds=slot * self.step_s)
