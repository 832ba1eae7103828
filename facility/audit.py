"""Who did what, when and why: the rows of the append-only audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Actor:
    """A person or a part of the product that acts, and in which role."""

    name: str
    role: str  # viewer, operator, admin; or "service"


SERVICE = Actor("service", "service")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act. ``before`` and ``after`` are the states of ``subject``, in words or figures; empty where it has none."""

    at: datetime
    kind: str  # mode, proposal, override, event, token, run
    subject: str
    action: str
    actor: Actor
    why: str = ""
    before: str = ""
    after: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
