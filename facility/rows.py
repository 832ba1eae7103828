"""Records as rows of the store's tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from facility.audit import AuditEntry
from facility.records import Decision, Verdict
from facility.tables import VERDICTS

Judged = tuple[Verdict, float | None, str]
"""The guard's word, the value read back, and the error, where there was one."""


def decision_rows(decision: Decision, payload: Mapping[str, Any]) -> pa.Table:
    """One decision with all that it held."""
    row = {
        "ts": decision.at,
        "policy": decision.policy,
        "policy_version": decision.policy_version,
        "model_version": decision.model_version,
        "reason": decision.reason,
        "payload": json.dumps(payload, default=str),
    }
    return pa.Table.from_pylist([row])


def verdict_rows(at: datetime, verdicts: Sequence[Judged]) -> pa.Table:
    """The guard's verdicts of one moment."""
    rows = [
        {
            "ts": at,
            "point": verdict.command.point,
            "wanted": verdict.command.value,
            "value": verdict.value,
            "kind": verdict.kind.value,
            "rule": verdict.rule,
            "detail": verdict.detail,
            "read_back": read_back,
            "error": error,
        }
        for verdict, read_back, error in verdicts
    ]
    return pa.Table.from_pylist(rows, schema=VERDICTS)


def input_rows(at: datetime, content: bytes) -> pa.Table:
    """What one decision was made on."""
    return pa.Table.from_pylist([{"ts": at, "content": content}])


def event_rows(at: datetime, kind: str, subject: str, payload: Mapping[str, Any]) -> pa.Table:
    """Anything else that happened."""
    return pa.Table.from_pylist(
        [{"ts": at, "kind": kind, "subject": subject, "payload": json.dumps(payload, default=str)}]
    )


def audit_rows(entries: Sequence[AuditEntry]) -> pa.Table:
    """Acts of persons and of the service."""
    rows = [
        {
            "ts": entry.at,
            "kind": entry.kind,
            "subject": entry.subject,
            "action": entry.action,
            "person": entry.actor.name,
            "role": entry.actor.role,
            "why": entry.why,
            "before": entry.before,
            "after": entry.after,
            "payload": json.dumps(entry.payload, default=str),
        }
        for entry in entries
    ]
    return pa.Table.from_pylist(rows)
