"""Tokens are made and revoked by another process, on the command line: the running service puts that into the audit."""

from __future__ import annotations

from datetime import datetime

from apps.tokens import Tokens
from facility.audit import SERVICE, AuditEntry
from facility.store import Store

MOST = 100_000


class TokenAudit:
    """Remembers which tokens and revocations the audit has already, across restarts."""

    def __init__(self, tokens: Tokens, store: Store) -> None:
        self._tokens = tokens
        rows = store.query("audit", kind="token", limit=MOST).to_pylist()
        self._known = {(row["subject"], row["action"]) for row in rows}

    def news(self, at: datetime) -> list[AuditEntry]:
        """Rows of what has changed since the last look; raises ConfigError where the tokens cannot be read."""
        found = []
        for token in self._tokens.all():
            actions = ("created", "revoked") if token.is_revoked else ("created",)
            for action in actions:
                if (token.id, action) not in self._known:
                    self._known.add((token.id, action))
                    found.append(AuditEntry(at, "token", token.id, action, SERVICE, payload=token.to_json()))
        return found
