"""Alarms: a condition that lasts becomes one, and one whose condition stays away is over. A small list, worst first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How soon somebody must act."""

    CRITICAL = "critical"  # now: a limit is broken
    WARNING = "warning"  # today
    INFO = "info"  # when there is time


class AlarmKind(StrEnum):
    """What is wrong, in one word for programs."""

    SENSOR_FAULT = "sensor_fault"
    STALE = "stale"
    CAPACITY = "capacity"
    DRIFT = "drift"
    MISSED_SAVINGS = "missed_savings"


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is not as it should be at this moment."""

    kind: AlarmKind
    subject: str  # a point or a piece of equipment
    severity: Severity
    cause: str  # in words, with figures
    action: str  # what to do about it
    is_urgent: bool = False  # becomes an alarm at once

    @property
    def key(self) -> tuple[AlarmKind, str]:
        """What stays the same while figures change."""
        return self.kind, self.subject


@dataclass(frozen=True, slots=True)
class Alarm:
    """A condition that has lasted."""

    condition: Condition
    since: datetime  # when the condition was first seen

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        one = self.condition
        return {
            "kind": one.kind.value,
            "subject": one.subject,
            "severity": one.severity.value,
            "cause": one.cause,
            "action": one.action,
            "since": self.since.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class _Seen:
    alarm: Alarm
    last: datetime
    is_raised: bool = False


class Alarms:
    """Remembers conditions between looks: short ones are no alarm, and one that flickers is one alarm."""

    def __init__(self, after_s: float, clear_s: float) -> None:
        """A condition that lasts ``after_s`` is an alarm; it is over when it was not seen for ``clear_s``."""
        self._after_s, self._clear_s = after_s, clear_s
        self._seen: dict[tuple[AlarmKind, str], _Seen] = {}

    def look(self, conditions: Iterable[Condition], at: datetime) -> tuple[list[Alarm], list[Alarm]]:
        """Take note of what is so at ``at``; returns the alarms that were raised by it, and those that are over."""
        raised = [alarm for condition in conditions if (alarm := self._note(condition, at)) is not None]
        over = []
        for key, seen in list(self._seen.items()):
            gone_s = (at - seen.last).total_seconds()
            if gone_s > 0.0 and (not seen.is_raised or gone_s >= self._clear_s):
                del self._seen[key]
                over += [seen.alarm] if seen.is_raised else []
        return raised, over

    @property
    def standing(self) -> list[Alarm]:
        """Every alarm that is not over: the worst first, then the oldest."""
        order = list(Severity)
        found = [seen.alarm for seen in self._seen.values() if seen.is_raised]
        return sorted(found, key=lambda one: (order.index(one.condition.severity), one.since, one.condition.subject))

    def _note(self, condition: Condition, at: datetime) -> Alarm | None:
        """The alarm, where this look raises it or makes it worse."""
        known = self._seen.get(condition.key)
        since = at if known is None else known.alarm.since
        alarm = Alarm(condition, since)
        lasts = condition.is_urgent or (at - since).total_seconds() >= self._after_s
        was_raised = known is not None and known.is_raised
        self._seen[condition.key] = _Seen(alarm, at, was_raised or lasts)
        if known is not None and was_raised:
            order = list(Severity)
            is_worse = order.index(condition.severity) < order.index(known.alarm.condition.severity)
            return alarm if is_worse else None
        return alarm if lasts else None


def limited(alarms: list[Alarm], most: int) -> list[Alarm]:
    """At most ``most``: many subjects of one kind become one line that counts them."""
    if len(alarms) <= most:
        return alarms
    groups: dict[tuple[AlarmKind, Severity], list[Alarm]] = {}
    for alarm in alarms:
        groups.setdefault((alarm.condition.kind, alarm.condition.severity), []).append(alarm)
    return [_together(found) for found in groups.values()]


def _together(found: list[Alarm]) -> Alarm:
    first, more = found[0], len(found) - 1
    if not more:
        return first
    cause = f"{first.condition.cause}; and {more} more: {', '.join(one.condition.subject for one in found[1:6])}"
    return Alarm(replace(first.condition, cause=cause + (" ..." if more > 5 else "")), min(one.since for one in found))
