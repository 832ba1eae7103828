"""Personal tokens of the API: hashed in the state directory, each of one person in one role until it expires.

A token is ``eco_ID_SECRET`` with 256 random bits: SHA-256 keeps it, for there is nothing to guess.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from apps.state_dir import read_json, write_json
from facility.errors import ConfigError, DataError


class Role(StrEnum):
    """What a person may do; each may do what those before it may."""

    VIEWER = "viewer"  # look
    OPERATOR = "operator"  # set the mode, answer proposals, override, stop, order an event
    ADMIN = "admin"  # also put readings into the store

    def covers(self, other: Role) -> bool:
        """Whether this role may do what ``other`` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token; the secret itself is not."""

    id: str
    person: str
    role: Role
    made_at: datetime
    expires_at: datetime
    digest: str
    is_revoked: bool = False

    def state(self, at: datetime) -> str:
        """valid, expired or revoked."""
        return "revoked" if self.is_revoked else "expired" if at >= self.expires_at else "valid"

    def to_json(self) -> dict[str, Any]:
        """As plain data, without the digest."""
        return {
            "id": self.id,
            "person": self.person,
            "role": self.role.value,
            "made_at": self.made_at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
            "state": self.state(datetime.now(UTC)),
        }


class Tokens:
    """The tokens of one state directory; a running service sees what another process changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._known: dict[str, Token] = {}

    def create(self, person: str, role: Role, expires_at: datetime) -> tuple[str, Token]:
        """A new token: its text, shown this once, and what is kept. Raises DataError for a name or time of no use."""
        if not person.strip() or not person.isprintable():
            raise DataError("a token needs the name of a person", where=repr(person))
        now = datetime.now(UTC)
        if expires_at <= now:
            raise DataError("the token would have expired already", where=str(expires_at), hint="give a later time")
        name, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        made = Token(name, person.strip(), role, now, expires_at, _digest(secret))
        with self._changing() as known:
            known[name] = made
        return f"eco_{name}_{secret}", made

    def revoke(self, name: str) -> Token:
        """End a token; raises DataError where there is none of this ID."""
        with self._changing() as known:
            if name not in known:
                raise DataError("no token of this ID", where=name, hint="`eco token list` names them")
            known[name] = Token(**{**_fields(known[name]), "is_revoked": True})
            return known[name]

    def all(self) -> list[Token]:
        """Every token, oldest first."""
        self._refresh()
        return sorted(self._known.values(), key=lambda token: token.made_at)

    def find(self, text: str) -> Token | None:
        """The token behind its text, valid or not; None where there is none."""
        self._refresh()
        kind, _, rest = text.partition("_")
        name, _, secret = rest.partition("_")
        token = self._known.get(name) if kind == "eco" else None
        digest = _digest(secret)
        return token if token is not None and secrets.compare_digest(token.digest, digest) else None

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._known, self._stamp = {}, None
            return
        stamp = (status.st_mtime_ns, status.st_ino)  # a replaced file is another inode
        if stamp != self._stamp:
            self._known, self._stamp = _load(self._path), stamp

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Token]]:
        """The tokens as they are now, written back at the end; two commands at once do not lose each other's."""
        descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            known = _load(self._path)
            yield known
            write_json(self._path, [{**_fields(one), "role": one.role.value} for one in known.values()])
            self._path.chmod(0o600)
        finally:
            os.close(descriptor)


def _load(path: Path) -> dict[str, Token]:
    try:
        rows = read_json(path) or []
        found = [
            Token(
                row["id"],
                row["person"],
                Role(row["role"]),
                datetime.fromisoformat(row["made_at"]),
                datetime.fromisoformat(row["expires_at"]),
                row["digest"],
                bool(row["is_revoked"]),
            )
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "delete it and create the tokens anew"
        raise ConfigError(f"cannot read the tokens: {error!r}", where=str(path), hint=hint) from error
    return {token.id: token for token in found}


def _fields(token: Token) -> dict[str, Any]:
    return asdict(token)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
