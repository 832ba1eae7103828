"""Who asks: a bearer token becomes an actor with a role, or the request is refused."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from apps.tokens import Role, Tokens
from facility.audit import Actor

_BEARER = HTTPBearer(auto_error=False)
_ASK = {"WWW-Authenticate": "Bearer"}
LOCAL = "api.token"  # how the audit names who has it: a program of this machine, or a person at it


class Gate:
    """Knows the personal tokens, and that of the run itself."""

    def __init__(self, own: str, own_role: Role, tokens: Tokens) -> None:
        """``own`` is the run's token in the role that it gives: on a real site acts need the token of a person."""
        self._own, self._own_role, self._tokens = own, own_role, tokens

    def requires(self, role: Role) -> Callable[..., Actor]:
        """A dependency that gives the actor; it answers 401 for no good token and 403 for too low a role."""

        def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> Actor:
            actor, held = self._actor(given)
            if not held.covers(role):
                raise HTTPException(403, f"this needs the role {role.value}; {actor.name} is {held.value}")
            return actor

        return check

    def may_ingest(self) -> Callable[..., Actor]:
        """A dependency for who may put readings into the store: an admin, and programs of this machine."""

        def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> Actor:
            actor, held = self._actor(given)
            if actor.name != LOCAL and not held.covers(Role.ADMIN):
                raise HTTPException(403, f"this needs the role {Role.ADMIN.value}; {actor.name} is {held.value}")
            return actor

        return check

    def _actor(self, given: HTTPAuthorizationCredentials | None) -> tuple[Actor, Role]:
        if given is None:
            raise HTTPException(401, "a bearer token is needed: see `eco token create`", _ASK)
        if secrets.compare_digest(given.credentials.encode(), self._own.encode()):
            return Actor(LOCAL, self._own_role.value), self._own_role
        token = self._tokens.find(given.credentials)
        if token is None:
            raise HTTPException(401, "this token is not known here: see `eco token list`", _ASK)
        if (state := token.state(datetime.now(UTC))) != "valid":
            raise HTTPException(401, f"this token is {state}: see `eco token create`", _ASK)
        return Actor(token.person, token.role.value), token.role
