"""The rules that every command passes before it may be written; nothing here writes.

In order; each can reject a command, and range and step can clip it:

1. ``unknown_point``  some actuator serves the point
2. ``not_a_number``   the value is finite
3. ``not_writable``   the point may be written at all
4. ``override``       no person holds the point
5. ``schedule``       the site allows writing at this hour
6. ``blind``          enough of the watched readings (rack inlets) are good and fresh
7. ``hot``            no watched reading is above its limit, unless the command takes load away
8. ``stale``          the point's own reading is good and fresh
9. ``range``          clipped to the point's limits
10. ``step``          clipped to the largest change that is allowed in ``rate_s``, from the value measured before it
11. what the actuator itself says

A person's own value passes 4, 5, 8 and 10: the person wins at once, within what the device and the hall bear.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from facility.overrides import Overrides
from facility.records import JOB_GPU_CAP_W, JOB_RUN_FLAG, Actuator, Command, Point, Quality, State, Verdict, VerdictKind
from facility.site import Window


class Authority(StrEnum):
    """On whose word a command comes."""

    LOOP = "loop"  # the policy's
    CONSENT = "consent"  # the policy's or an event's, which a person accepted or ordered
    OVERRIDE = "override"  # a person's own value


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """What the guard holds every write to."""

    max_age_s: float = 300.0
    watch: tuple[str, ...] = ()  # readings without which nothing is written to a device
    watch_share: float = 0.5  # at least this share of them must be good and fresh
    watch_max: float = math.inf  # above this is heat: the plant is left to the building, no job starts
    watch_calm: float = 1.0  # so far below watch_max must all of them fall again
    rate_s: float = 0.0  # a point's max_step is for so long; 0: for each write
    windows: tuple[Window, ...] = ()  # local hours in which devices may be commanded; none: always
    timezone: str = "UTC"
    hold_s: float = 2250.0  # heartbeats hold a device for so long after its last decided setpoint
    write_deadline_s: float = 5.0  # wall seconds for one write with its read-back
    read_back_tolerance: float = 0.02  # of the value, or absolute below 1


class Checks:
    """What the rules say of a command, given the points of all actuators and what is known now."""

    def __init__(self, actuators: Sequence[Actuator], limits: GuardLimits, overrides: Overrides | None = None) -> None:
        self._overrides = overrides
        self._actuators = tuple(actuators)
        self._limits = limits
        self._hot: set[str] = set()  # watched readings that were too hot and have not been seen calm since
        self._zone = ZoneInfo(limits.timezone)
        self._taken_over: dict[str, datetime] = {}  # an earlier run may have moved these just before
        self._moved: dict[str, tuple[float, datetime]] = {}  # by point: the value before its last move, and when

    def owner(self, point: str) -> Actuator | None:
        """The actuator that serves ``point``."""
        return next((actuator for actuator in self._actuators if point in actuator.points), None)

    def check(self, command: Command, state: State, authority: Authority = Authority.LOOP) -> Verdict:
        """The guard's word on ``command`` given what is known in ``state``; writes nothing."""
        actuator = self.owner(command.point)
        if actuator is None:
            return _rejected(command, "unknown_point", "no actuator serves this point")
        point = actuator.points[command.point]
        rejection = self._rejection(command, point, state, authority)
        if rejection is not None:
            return rejection
        is_own = authority is Authority.OVERRIDE
        clipped = self._clip(command, replace(point, max_step=None) if is_own else point, state)
        said = actuator.check(replace(command, value=clipped.value))
        return clipped if said.kind is VerdictKind.ACCEPTED else replace(said, command=command)

    def _rejection(self, command: Command, point: Point, state: State, authority: Authority) -> Verdict | None:
        if command.value is not None and not math.isfinite(command.value):
            return _rejected(command, "not_a_number", f"{command.value!r} is no value")
        if not point.writable:
            return _rejected(command, "not_writable", "the profile marks this point as read only")
        is_own = authority is Authority.OVERRIDE
        if not is_own and (held := self._held(command)) is not None:
            return held
        if command.value is None:
            return None  # giving back is always allowed
        if point.kind == "job":  # a job is in the state or unknown to its actuator: its point is not measured
            return (
                None if self._lightens(command, state) else self._blind(command, state) or self._too_hot(command, state)
            )
        safety = (self._blind, self._too_hot)
        rules = safety if is_own else (self._off_schedule, *safety, self._stale)
        return next((found for rule in rules if (found := rule(command, state)) is not None), None)

    def _held(self, command: Command) -> Verdict | None:
        override = None if self._overrides is None else self._overrides.of(command.point)
        if override is None:
            return None
        where = "at the device" if override.is_found else f"by {override.person}"
        return _rejected(command, "override", f"held {where} since {override.since:%Y-%m-%d %H:%M} UTC: {override.why}")

    def taken_over(self, points: Iterable[str], at: datetime) -> None:
        """An earlier run moved these at a time that nobody knows: they stay as they are for ``rate_s``."""
        self._taken_over |= dict.fromkeys(points, at)

    def _may_step(self, point: Point, state: State) -> float:
        """How far the point may go; not at all while an earlier run's last move may be too near."""
        since = self._taken_over.get(point.name)
        is_near = since is not None and (state.at - since).total_seconds() < self._limits.rate_s
        return 0.0 if is_near or point.max_step is None else point.max_step

    def moved(self, point: str, state: State) -> None:
        """``point`` was just written: what it may be changed by counts from the value before, for ``rate_s``."""
        before = state.points.get(point)
        if before is not None and before.value is not None and self._recent(point, state) is None:
            self._moved[point] = (before.value, state.at)

    def _recent(self, point: str, state: State) -> float | None:
        """The value before a move that is less than ``rate_s`` old; a tick that comes a little early is forgiven."""
        value, at = self._moved.get(point, (0.0, None))
        is_recent = at is not None and (state.at - at).total_seconds() < 0.9 * self._limits.rate_s
        return value if is_recent else None

    def off_schedule(self, at: datetime) -> str:
        """Why the site does not allow writing at ``at``, in words; empty where it does."""
        local = at.astimezone(self._zone)
        if not self._limits.windows or any(window.holds(local) for window in self._limits.windows):
            return ""
        return f"the site allows no command on {local:%a %H:%M} local time"

    def _off_schedule(self, command: Command, state: State) -> Verdict | None:
        why = self.off_schedule(state.at)
        return _rejected(command, "schedule", why) if why else None

    def blindness(self, state: State) -> str:
        """Why too little can be seen to be in command, in words; empty where enough is seen."""
        watch = self._limits.watch
        seen = [name for name in watch if name in state.points and state.points[name].is_usable(self._limits.max_age_s)]
        if not watch or len(seen) >= self._limits.watch_share * len(watch):
            return ""
        return f"only {len(seen)} of {len(watch)} watched readings are good and fresh"

    def heat(self, state: State) -> str:
        """Which watched reading is above its limit, in words; empty where none is, and all that were have calmed down.

        A sensor that was hot and is lost stays hot: silence is no sign of cool air. A high value counts also where
        its quality is in doubt.
        """
        limit, calm = self._limits.watch_max, self._limits.watch_max - self._limits.watch_calm
        for name in self._limits.watch:
            reading = state.points.get(name)
            if reading is None or reading.value is None or reading.age_s > self._limits.max_age_s:
                continue
            if reading.value > limit:
                self._hot.add(name)
            elif reading.value <= calm and reading.quality is Quality.GOOD:
                self._hot.discard(name)
        if not self._hot:
            return ""
        known = {name: state.points[name].value for name in sorted(self._hot) if name in state.points}
        said = ", ".join(f"{name} {'unknown' if value is None else f'{value:.1f}'}" for name, value in known.items())
        return f"too hot: {said}; the limit is {limit:g}"

    def _blind(self, command: Command, state: State) -> Verdict | None:
        why = self.blindness(state)
        return _rejected(command, "blind", why) if why else None

    def _too_hot(self, command: Command, state: State) -> Verdict | None:
        why = self.heat(state)
        return _rejected(command, "hot", why) if why else None

    def _lightens(self, command: Command, state: State) -> bool:
        """Whether the command takes load away: a job is held, or its cap lowered. The plant is the building's now."""
        job, _, quantity = command.point.rpartition("/")
        if quantity == JOB_RUN_FLAG:
            return command.value == 0.0
        if quantity != JOB_GPU_CAP_W or command.value is None:
            return False
        cap_w = next((status.gpu_cap_w for status in state.jobs if status.job.name == job), None)
        return cap_w is None or command.value <= cap_w

    def _stale(self, command: Command, state: State) -> Verdict | None:
        reading = state.points.get(command.point)
        if reading is None:
            return _rejected(command, "stale", "the point was never read")
        actuator = self.owner(command.point)
        if actuator is not None and actuator.points[command.point].may_be_unset and reading.value is None:
            reading = replace(reading, value=math.inf, quality=Quality.GOOD)  # no limit is in force: its age counts
        if not reading.is_usable(self._limits.max_age_s):
            age = f"{reading.age_s:.0f} s old, quality {reading.quality.value}"
            return _rejected(
                command, "stale", f"its reading is {age}; at most {self._limits.max_age_s:.0f} s is allowed"
            )
        return None

    def _clip(self, command: Command, point: Point, state: State) -> Verdict:
        value, rule, detail = command.value, "", ""
        if value is None:
            return Verdict(command, VerdictKind.ACCEPTED, None)
        low = -math.inf if point.min is None else point.min
        high = math.inf if point.max is None else point.max
        if not low <= value <= high:
            rule, detail = "range", f"{value:g} is outside {low:g}..{high:g} {point.unit}"
            value = min(max(value, low), high)
        now = state.points.get(command.point)
        if point.max_step is not None and now is not None and now.value is not None:
            recent = self._recent(command.point, state)
            origin = now.value if recent is None else recent
            step = self._may_step(point, state)
            nearest = min(max(value, origin - step), origin + step)
            nearest = min(max(nearest, low), high)  # from outside its range a point is brought to the nearest end
            if nearest != value:
                rule = "step"
                detail = f"{value:g} is more than {step:g} {point.unit} from {origin:g}"
                value = nearest
        kind = VerdictKind.CLIPPED if rule else VerdictKind.ACCEPTED
        return Verdict(command, kind, value, rule, detail)


def _rejected(command: Command, rule: str, detail: str) -> Verdict:
    return Verdict(command, VerdictKind.REJECTED, None, rule, detail)
