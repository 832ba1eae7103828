"""What the controller allows the pods of this node, and until when.

The node's ``NodePowerBudget`` names pods with the cap of each of their GPUs, and perhaps a cap for all others. A pod's
annotations add clocks to it, and a lower cap; with a deadline of their own they are a budget by themselves. After its
deadline nothing is allowed any more, and every limit goes back. What cannot be read allows nothing and is told: a pod
is never harmed by a mistake in an annotation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from scheduler.cluster import names

REST = ""  # stands for the GPUs of a node that no budget names
OBJECT = "NodePowerBudget"


@dataclass(frozen=True, slots=True)
class PodBudget:
    """What is allowed to one pod's GPUs, each of them; None is no limit."""

    where: str  # namespace/pod, or REST
    expires_at: datetime
    cap_w: float | None = None
    clock_mhz: float | None = None  # highest clock at any time
    stall_clock_mhz: float | None = None  # highest clock while the pod waits for data
    issued_at: datetime | None = None  # by the clock that wrote ``expires_at``
    source: str = ""  # which object says so


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of this node as the API server has it."""

    namespace: str
    name: str
    uid: str
    annotations: Mapping[str, str]

    @property
    def where(self) -> str:
        """namespace/name."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Said:
    """What an object was understood to say, and what of it could not be understood."""

    budgets: tuple[PodBudget, ...] = ()
    problems: tuple[str, ...] = ()


def from_pods(pods: Iterable[Pod]) -> Said:
    """The budgets in the annotations of pods; a pod without the deadline has none."""
    budgets, problems = [], []
    for pod in pods:
        if names.BUDGET_EXPIRES_AT not in pod.annotations:
            continue
        try:
            budgets.append(_from_annotations(pod))
        except ValueError as error:
            problems.append(f"pod {pod.where}: {error}; nothing is limited")
    return Said(tuple(budgets), tuple(problems))


def _from_annotations(pod: Pod) -> PodBudget:
    expires_at = moment(pod.annotations[names.BUDGET_EXPIRES_AT], names.BUDGET_EXPIRES_AT)
    return _refined(PodBudget(pod.where, expires_at, source=f"pod {pod.where}"), pod)


def _refined(budget: PodBudget, pod: Pod) -> PodBudget:
    """With what the pod's annotations ask for; raises ValueError."""
    said = pod.annotations
    return replace(
        budget,
        cap_w=lowest(budget.cap_w, positive(said.get(names.GPU_CAP_W), names.GPU_CAP_W)),
        clock_mhz=lowest(budget.clock_mhz, positive(said.get(names.SM_CLOCK_MHZ), names.SM_CLOCK_MHZ)),
        stall_clock_mhz=lowest(
            budget.stall_clock_mhz, positive(said.get(names.STALL_CLOCK_MHZ), names.STALL_CLOCK_MHZ)
        ),
    )


def from_object(body: Mapping[str, Any] | None, pods: Iterable[Pod]) -> Said:
    """The budgets in a ``NodePowerBudget``: of the ``pods`` that it names, and of the REST where it has a cap for it.

    An entry for a pod of another UID is for one that has ended. What cannot be read is in ``problems``.
    """
    if body is None:
        return Said()
    spec, where = body.get("spec") or {}, f"{OBJECT} {(body.get('metadata') or {}).get('name', '')}"
    try:
        issued_at = None if spec.get("issuedAt") is None else moment(spec["issuedAt"], "spec.issuedAt")
        whole = PodBudget(REST, moment(spec.get("expiresAt"), "spec.expiresAt"), issued_at=issued_at, source=where)
        rest = replace(whole, cap_w=positive(spec.get("gpuCapWatts"), "spec.gpuCapWatts"))
    except ValueError as error:
        return Said(problems=(f"{where}: {error}; nothing is limited",))
    known = {pod.where: pod for pod in pods}
    budgets, problems = [rest] if rest.cap_w is not None else [], []
    for index, entry in enumerate(spec.get("pods") or ()):
        try:
            budget = _from_entry(entry, whole, known)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            problems.append(f"{where}: spec.pods[{index}]: {error!r}; that pod is not limited")
        else:
            budgets += [budget] if budget is not None else []
    return Said(tuple(budgets), tuple(problems))


def _from_entry(entry: Mapping[str, Any], whole: PodBudget, known: Mapping[str, Pod]) -> PodBudget | None:
    where = f"{entry['namespace']}/{entry['name']}"
    pod = known.get(where)
    if pod is not None and entry.get("uid") not in (None, pod.uid):
        return None
    cap_w, clock_mhz, stall_mhz = (
        positive(entry.get(key), key) for key in ("gpuCapWatts", "smClockMhz", "stallClockMhz")
    )
    budget = replace(whole, where=where, cap_w=cap_w, clock_mhz=clock_mhz, stall_clock_mhz=stall_mhz)
    return budget if pod is None else _refined(budget, pod)


def moment(text: object, key: str) -> datetime:
    """An aware time; raises ValueError that names ``key``."""
    try:
        when = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise ValueError(f"{key} is {text!r}, write for example 2026-06-01T12:00:00Z")
    return when


def positive(text: object, key: str) -> float | None:
    """A positive number, or None where there is none; raises ValueError that names ``key``."""
    if text is None:
        return None
    try:
        value = float(text) if isinstance(text, str | int | float) and not isinstance(text, bool) else math.nan
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f"{key} is {text!r}, not a positive number")
    return value


def lowest(*limits: float | None) -> float | None:
    """The lowest of some limits; None where there is none."""
    return min((limit for limit in limits if limit is not None), default=None)


def strictest(budgets: Iterable[PodBudget]) -> dict[str, PodBudget]:
    """One budget a pod: the lowest of each limit of all that hold for it, until the first of them ends."""
    found: dict[str, PodBudget] = {}
    for budget in budgets:
        known = found.get(budget.where)
        if known is not None:
            budget = PodBudget(
                budget.where,
                min(known.expires_at, budget.expires_at),
                lowest(known.cap_w, budget.cap_w),
                lowest(known.clock_mhz, budget.clock_mhz),
                lowest(known.stall_clock_mhz, budget.stall_clock_mhz),
                source=f"{known.source}; {budget.source}",
            )
        found[budget.where] = budget
    return found


class Leases:
    """Which budgets are in force, by a steady clock.

    A deadline is counted from when it was first seen, for no longer than its writer gave it by the writer's own clock,
    and never for longer than ``max_hold_s``: a clock that is wrong or is set, here or there, holds no node for ever.
    """

    def __init__(self, max_hold_s: float) -> None:
        self._max_hold_s = max_hold_s
        self._ends: dict[tuple[str, datetime], float] = {}  # by source and deadline: end on the steady clock

    def in_force(self, budgets: Iterable[PodBudget], now: datetime, steady_s: float) -> list[PodBudget]:
        """Those whose deadline has not passed; ``steady_s`` is on a clock that is never set."""
        seen = {(budget.source, budget.expires_at): budget for budget in budgets}
        for key in seen:
            if key not in self._ends:
                self._ends[key] = steady_s + self._length_s(seen[key], now)
        self._ends = {key: end for key, end in self._ends.items() if key in seen}
        return [budget for budget in budgets if self._ends[budget.source, budget.expires_at] > steady_s]

    def _length_s(self, budget: PodBudget, now: datetime) -> float:
        left_s = (budget.expires_at - now).total_seconds()
        issued_at = budget.issued_at
        given_s = math.inf if issued_at is None else (budget.expires_at - issued_at).total_seconds()
        return min(left_s, given_s, self._max_hold_s)
