"""What the agent writes into the status of its node's budget."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from apps.agent.snapshot import GpuNow, Snapshot
from apps.agent.wanted import POWER

APPLIED = "Applied"  # type of the condition
TEXT_MAX = 1024  # of a message, as the schema allows


class Statuses:
    """Makes a status that changes only where something has changed: times stand still until then."""

    def __init__(self) -> None:
        self._condition: dict[str, Any] = {}
        self._since: datetime | None = None
        self._body: dict[str, Any] = {}
        self._at: datetime | None = None

    def of(self, now: Snapshot, budget: Mapping[str, Any] | None) -> dict[str, Any]:
        """The status for what the last round found and did; ``budget`` is the object that it answers."""
        metadata, spec = ((budget or {}).get(part) or {} for part in ("metadata", "spec"))
        condition = _condition(now)
        if self._since is None or condition["status"] != self._condition.get("status"):
            self._since = now.at
        self._condition = condition
        body = {
            "restored": not now.limited,
            "gpus": [_gpu(gpu, now) for gpu in now.gpus],
            "conditions": [
                {
                    **condition,
                    "lastTransitionTime": stamp(self._since),
                    "observedGeneration": metadata.get("generation", 0),
                }
            ],
            **({"planId": spec["planId"]} if "planId" in spec else {}),
        }
        if body != self._body or self._at is None:
            self._body, self._at = body, now.at
        return {**self._body, "appliedAt": stamp(self._at)}


def _condition(now: Snapshot) -> dict[str, str]:
    trouble = [f"{gpu.name}: {gpu.refused}" for gpu in now.gpus if gpu.refused]
    by_hand = [f"{gpu.name} was set by hand and is left so" for gpu in now.gpus if gpu.is_overridden]
    trouble += [*by_hand, *now.problems]
    reason = "Overridden" if by_hand else "Incomplete" if trouble else "Limited" if now.limited else "Free"
    message = "; ".join(trouble) or f"{len(now.limited)} limits in force"
    return {"type": APPLIED, "status": str(not trouble), "reason": reason, "message": message[:TEXT_MAX]}


def _gpu(gpu: GpuNow, now: Snapshot) -> dict[str, Any]:
    """One GPU; its power is for meters to tell: here it would make every status another."""
    body: dict[str, Any] = {"uuid": gpu.identity.uuid}
    if gpu.holder is not None:
        body |= {"namespace": gpu.holder.namespace, "pod": gpu.holder.pod}
    cap_w = now.limited.get(f"{gpu.name}/{POWER}")
    if cap_w is not None:
        body["capWatts"] = cap_w
    return body | ({"refused": gpu.refused[:TEXT_MAX]} if gpu.refused else {})


def stamp(at: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
