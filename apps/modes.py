"""Who allowed the loop to do what, and until when. ACTIVE needs the site's consent, a named person and an expiry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from apps.state_dir import read_json, write_json
from facility.audit import SERVICE, Actor, AuditEntry
from facility.errors import ConfigError, DataError
from facility.records import Mode

POWERS = (Mode.OFF, Mode.SHADOW, Mode.ADVISORY, Mode.ACTIVE)  # each may do more than those before it
NOBODY = ("", "service", "unknown", "operator", "admin", "root")  # no names of a person


@dataclass(frozen=True, slots=True)
class Grant:
    """The mode in force: since when, until when (None: for good), by whom and why."""

    mode: Mode
    since: datetime
    person: str
    role: str = "service"
    why: str = ""
    until: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "mode": self.mode.value,
            "since": self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
            "person": self.person,
            "role": self.role,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class ModeRules:
    """What a site allows. ``refusal`` says why it is never commanded; empty where it may be."""

    refusal: str = ""
    longest: timedelta = timedelta(days=31)


class Modes:
    """The grant in force, on disk: a service that is restarted goes on under the same one."""

    def __init__(self, path: Path, run: str, first: Grant, rules: ModeRules) -> None:
        """``first`` holds for a new run; what the file says, for one that was interrupted.

        Raises ConfigError where ``first`` is not allowed, or the file cannot be read.
        """
        self._path, self._run, self._rules = path, run, rules
        kept = self._load()
        self.is_new = kept is None
        if kept is None:
            check(first, rules)
        self.grant = kept or first
        self._save()

    @property
    def mode(self) -> Mode:
        """The mode in force."""
        return self.grant.mode

    def entry(self, wanted: Grant, action: str = "changed") -> AuditEntry:
        """The audit row of a change to ``wanted``; raises DataError where the site does not allow it."""
        try:
            check(wanted, self._rules)
        except ConfigError as error:
            raise DataError(error.what, where="mode", hint=error.hint) from error
        return AuditEntry(
            at=wanted.since,
            kind="mode",
            subject="mode",
            action=action,
            actor=Actor(wanted.person, wanted.role),
            why=wanted.why,
            before=self.mode.value,
            after=wanted.mode.value,
            payload={"until": wanted.to_json()["until"]},
        )

    def adopt(self, wanted: Grant) -> None:
        """``wanted`` is in force from now on, and on disk."""
        self.grant = wanted
        self._save()

    def is_raised_by(self, wanted: Mode) -> bool:
        """Whether ``wanted`` may do more than the mode in force."""
        return POWERS.index(wanted) > POWERS.index(self.mode)

    def after_expiry(self, at: datetime) -> Grant | None:
        """The grant to fall back to; None while the one in force has not run out."""
        until = self.grant.until
        if until is None or at < until:
            return None
        return Grant(Mode.SHADOW, at, SERVICE.name, SERVICE.role, f"{self.mode.value} ran out at {until.isoformat()}")

    def _load(self) -> Grant | None:
        content = read_json(self._path)
        if content is None or content.get("run") != self._run:
            return None
        try:
            until = content["until"]
            return Grant(
                Mode(content["mode"]),
                datetime.fromisoformat(content["since"]),
                content["person"],
                content["role"],
                content["why"],
                None if until is None else datetime.fromisoformat(until),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"cannot read the mode in force: {error!r}", where=str(self._path), hint="delete it: shadow is safe"
            ) from error

    def _save(self) -> None:
        write_json(self._path, {"run": self._run, **self.grant.to_json()})


def check(grant: Grant, rules: ModeRules) -> None:
    """Raise ConfigError where ``rules`` do not allow ``grant``."""
    if grant.mode in (Mode.ADVISORY, Mode.ACTIVE) and rules.refusal:
        raise ConfigError(rules.refusal, where=f"mode {grant.mode.value}", hint="run it in shadow")
    if grant.until is not None and grant.until <= grant.since:
        raise ConfigError("the expiry is past", where=f"mode {grant.mode.value}", hint="give a later one")
    if grant.mode is not Mode.ACTIVE:
        return
    if grant.person.strip().lower() in NOBODY:
        raise ConfigError("active needs a named person", where="mode active", hint="say who is responsible")
    if grant.until is None or grant.until - grant.since > rules.longest:
        days = rules.longest / timedelta(days=1)
        raise ConfigError(f"active needs an expiry within {days:g} days", where="mode active", hint="give one")
