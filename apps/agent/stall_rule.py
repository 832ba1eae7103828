"""Whether a pod waits for its data: its tasks are stalled on I/O, and its GPUs have little to do.

A pod that reads ahead while its GPUs are busy is also stalled, and must not be slowed: both signs are needed. Lowered
clocks do not change either sign by themselves, so that the rule does not feed on its own effect: a starved GPU is idle
at any clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StallRule:
    """When a stall begins and when it is over; shares in percent, times in seconds."""

    begin_pct: float = 40.0  # share of time in which a task of the pod waited for I/O
    end_pct: float = 20.0
    busy_pct: float = 60.0  # GPU utilisation above which nothing waits
    begin_after_s: float = 2.0  # it has to last so long
    end_after_s: float = 2.0


@dataclass(slots=True)
class _Pod:
    is_stalled: bool = False
    since_s: float | None = None  # when the signs of a change were first seen


@dataclass(slots=True)
class StallWatch:
    """The state of each pod, from one look to the next."""

    rule: StallRule = StallRule()
    _pods: dict[str, _Pod] = field(default_factory=dict)

    def update(self, stall_pct: Mapping[str, float | None], busy_pct: Mapping[str, float | None], at_s: float) -> None:
        """A look at ``at_s`` of a steady clock; by pod. A sign that is missing says that nothing waits."""
        self._pods = {pod: self._pods.get(pod, _Pod()) for pod in stall_pct}
        for pod, known in self._pods.items():
            stall, busy = stall_pct[pod], busy_pct.get(pod)
            if stall is None or busy is None:
                self._pods[pod] = _Pod()
                continue
            limit = self.rule.end_pct if known.is_stalled else self.rule.begin_pct
            is_so = stall >= limit and busy <= self.rule.busy_pct
            self._turn(known, is_so, at_s)

    def _turn(self, known: _Pod, is_so: bool, at_s: float) -> None:
        if is_so == known.is_stalled:
            known.since_s = None
            return
        known.since_s = at_s if known.since_s is None else known.since_s
        after_s = self.rule.begin_after_s if is_so else self.rule.end_after_s
        if at_s - known.since_s >= after_s:
            known.is_stalled, known.since_s = is_so, None

    @property
    def stalled(self) -> frozenset[str]:
        """Pods that wait for their data now."""
        return frozenset(pod for pod, known in self._pods.items() if known.is_stalled)
