"""The audit row with which a run begins: its configuration, so that it can be replayed from the store alone."""

from __future__ import annotations

import platform
from datetime import datetime
from importlib import metadata

from apps.assembly import Parts
from apps.deciding import MODEL_VERSION
from apps.run_config import RunConfig
from facility.audit import SERVICE, Actor, AuditEntry

PRODUCT = "eco-orchestrator"


def started_entry(config: RunConfig, parts: Parts, at: datetime) -> AuditEntry:
    """Site, policy and versions. A site file holds references to secrets, never a secret."""
    modes, policy = parts.modes, parts.loop.decider.policy
    person = Actor(config.person, "operator") if config.person else SERVICE
    return AuditEntry(
        at=at,
        kind="run",
        subject=config.run,
        action="started" if modes.is_new else "restarted",
        actor=person,
        after=modes.mode.value,
        payload={
            "site": parts.site.model_dump(mode="json"),
            "policy": policy.name,
            "policy_version": policy.version,
            "model_version": MODEL_VERSION,
            "speed": config.speed,
            "sources": config.sources.model_dump(mode="json"),
            "product": _version(),
            "python": platform.python_version(),
        },
    )


def _version() -> str:
    try:
        return metadata.version(PRODUCT)
    except metadata.PackageNotFoundError:
        return "not installed"
