"""Watches the running loop for conditions that a person must know of, and tells: log, audit, webhook, API."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx

from apps.conditions import conditions, drifted, missed
from apps.deciding import ENERGY
from apps.tick import Loop
from facility.alarms import Alarm, Alarms, Condition, Severity, limited
from facility.audit import SERVICE, AuditEntry
from facility.errors import StoreError
from facility.records import Mode, State, VerdictKind
from facility.site import Site, resolve_secret
from facility.store import Store

log = logging.getLogger("eco.alarms")

DAY = timedelta(days=1)
DRIFT_EVERY = timedelta(hours=1)  # counters are compared over this, as often
DRIFT_SHARE = 0.05  # classes of meters are 1 or 2 %, and power is sampled
DRIFT_READINGS = 20  # fewer tell no integral
MOST = 20  # alarms in the list; more are told together
WEBHOOK_TIMEOUT_S = 5.0
WEBHOOK_WAITING = 100  # alarms that wait for a webhook that does not answer; older ones are in the audit
LEVELS = {Severity.CRITICAL: logging.ERROR, Severity.WARNING: logging.WARNING, Severity.INFO: logging.INFO}


class Watch:
    """Looks at every heartbeat; remembers between looks."""

    def __init__(self, site: Site, store: Store, run: str, max_age_s: float) -> None:
        """Raises ConfigError where the webhook's address is configured and cannot be had."""
        settings = site.service.alarms
        self._site, self._store, self._run, self._max_age_s = site, store, run, max_age_s
        self._alarms = Alarms(settings.after_s, settings.clear_s)
        self._webhook = "" if settings.webhook is None else resolve_secret(settings.webhook)
        self._waiting: deque[dict[str, Any]] = deque(maxlen=WEBHOOK_WAITING)
        self._sending: asyncio.Task[None] | None = None
        self._missed: deque[tuple[datetime, float, str]] = deque()  # decided at, kWh not saved, why
        self._drift: list[Condition] = []
        self._drift_at: datetime | None = None

    def now(self) -> list[dict[str, Any]]:
        """What stands, worst first; a long list is told by kind."""
        return [alarm.to_json() for alarm in limited(self._alarms.standing, MOST)]

    async def look(self, state: State, loop: Loop, at: datetime) -> list[AuditEntry]:
        """Look once; returns the audit rows of alarms that were raised and that are over."""
        await self._look_for_drift(at)
        self._note_decision(loop, at)
        limit_kwh = self._site.service.alarms.missed_savings_kwh
        lost = missed(sum(kwh for _, kwh, _ in self._missed), limit_kwh, self._why_missed())
        found = [*conditions(state, self._site, self._max_age_s), *self._drift, *lost]
        raised, over = self._alarms.look(found, at)
        for alarm in raised:
            one = alarm.condition
            log.log(LEVELS[one.severity], "%s %s: %s; %s", one.kind.value, one.subject, one.cause, one.action)
        for alarm in over:
            log.info("%s %s is over", alarm.condition.kind.value, alarm.condition.subject)
        self._tell(raised, over, at)
        return [*(_entry(one, "raised", at) for one in raised), *(_entry(one, "over", at) for one in over)]

    async def close(self) -> None:
        """Let a message that is under way end, within its time."""
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=WEBHOOK_TIMEOUT_S)

    # Savings ------------------------------------------------------------------------------------------------------

    def _note_decision(self, loop: Loop, at: datetime) -> None:
        """Once for each decision: what it would have saved and did not."""
        while self._missed and at - self._missed[0][0] > DAY:
            self._missed.popleft()
        decision = loop.last_decision
        if decision is None or (self._missed and self._missed[-1][0] >= decision.at):
            return
        saved_kwh = sum(effect.value for effect in decision.effects if effect.quantity == ENERGY)
        setpoints = [
            one for one in loop.last_written if "/" in one.verdict.command.point and one.verdict.rule != "event"
        ]
        rejected = [one.verdict.rule for one in setpoints if one.verdict.kind is VerdictKind.REJECTED]
        is_active = loop.guard.mode is Mode.ACTIVE
        why = (
            f"mode {loop.guard.mode.value}"
            if not is_active
            else f"the guard rejected by {', '.join(sorted(set(rejected)))}"
        )
        is_missed = saved_kwh > 0.0 and (not is_active or bool(rejected))
        self._missed.append((decision.at, saved_kwh if is_missed else 0.0, why if is_missed else ""))

    def _why_missed(self) -> str:
        return ", ".join(sorted({why for _, _, why in self._missed if why}))

    # Meters -------------------------------------------------------------------------------------------------------

    async def _look_for_drift(self, at: datetime) -> None:
        if self._drift_at is None:
            self._drift_at = at
        if at - self._drift_at < DRIFT_EVERY:
            return
        start, self._drift_at = self._drift_at, at
        roles = self._site.roles
        pairs = [
            (roles.facility_power_w, roles.facility_energy_wh),
            *zip(roles.it_power_w, roles.it_energy_wh, strict=False),
        ]
        try:
            found = [await asyncio.to_thread(self._compare, *pair, start, at) for pair in pairs if all(pair)]
        except StoreError as error:
            log.warning("meters cannot be compared: %s", error)
            return
        self._drift = [condition for each in found for condition in each]

    def _compare(self, power: str, energy: str, start: datetime, end: datetime) -> list[Condition]:
        """The energy of one meter by its counter, and by its power, for the time that both cover."""
        counts, powers = (self._series(point, start, end) for point in (energy, power))
        if len(counts) < 2 or len(powers) < DRIFT_READINGS:
            return []
        counted_kwh = (counts[-1][1] - counts[0][1]) / 1000.0
        if counted_kwh < 0.0:
            return []  # the counter was reset
        joules = sum(0.5 * (a[1] + b[1]) * (b[0] - a[0]).total_seconds() for a, b in itertools.pairwise(powers))
        covered_s = (powers[-1][0] - powers[0][0]).total_seconds()
        counted_s = (counts[-1][0] - counts[0][0]).total_seconds()
        if covered_s <= 0.0 or counted_s <= 0.0:
            return []
        return drifted(power, counted_kwh, joules / 3.6e6 * counted_s / covered_s, DRIFT_SHARE)

    def _series(self, point: str, start: datetime, end: datetime) -> list[tuple[datetime, float]]:
        rows = self._store.query("series", point=point, start=start, end=end, run=self._run).to_pylist()
        return [(row["ts"], row["value"]) for row in rows if row["value"] is not None]

    # Telling ------------------------------------------------------------------------------------------------------

    def _tell(self, raised: Sequence[Alarm], over: Sequence[Alarm], at: datetime) -> None:
        if not self._webhook:
            return
        for status, alarms in (("raised", raised), ("over", over)):
            self._waiting.extend(
                {"status": status, "at": at.isoformat(), "site": self._site.site.name, **one.to_json()}
                for one in alarms
            )
        if self._waiting and (self._sending is None or self._sending.done()):
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        """All that waits, in order; what is not taken waits for the next look. The address is a secret: not logged."""
        async with httpx.AsyncClient(timeout=WEBHOOK_TIMEOUT_S) as client:
            while self._waiting:
                message = self._waiting[0]
                try:
                    (await client.post(self._webhook, json=message)).raise_for_status()
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    log.warning("the webhook does not take alarms: %s", type(error).__name__)
                    return
                self._waiting.popleft()


def _entry(alarm: Alarm, action: str, at: datetime) -> AuditEntry:
    one = alarm.condition
    return AuditEntry(
        at, "alarm", f"{one.kind.value} {one.subject}", action, SERVICE, one.cause, payload=alarm.to_json()
    )
