"""Records to JSON and back: what crosses the cluster's HTTP interface, shared by its server and its client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from facility.errors import DataError
from facility.records import Job, JobStatus, NodeStatus
from scheduler.placement import Placement

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClusterState:
    """Answer of ``GET /v1/cluster``: every unfinished job and every node at ``at``."""

    at: datetime
    jobs: tuple[JobStatus, ...]
    nodes: tuple[NodeStatus, ...]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Body of ``POST /v1/jobs/{name}/run``: (node, GPUs) pairs."""

    placement: Placement


@dataclass(frozen=True, slots=True)
class CapRequest:
    """Body of ``POST /v1/jobs/{name}/cap``: power limit of each GPU in W, None for no limit below the maximum."""

    gpu_cap_w: float | None


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}  # building one takes milliseconds


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def job_to_json(job: Job) -> dict[str, Any]:
    """A job as plain JSON types, as ``POST /v1/jobs`` takes it."""
    body: dict[str, Any] = to_json(job)
    return body


def job_from_json(data: Mapping[str, Any]) -> Job:
    """What ``job_to_json`` wrote; raises DataError that names what does not fit."""
    return from_json(Job, data)


def to_json(record: Any) -> Any:
    """A record as plain JSON types; times become ISO 8601 with offset."""
    return _adapter(type(record)).dump_python(record, mode="json")


def to_json_bytes(record: Any) -> bytes:
    """A record as JSON bytes; the same record gives the same bytes."""
    return _adapter(type(record)).dump_json(record)


def from_json(kind: type[T], data: Mapping[str, Any]) -> T:
    """JSON types as a record; raises DataError that names what does not fit."""
    try:
        record: T = _adapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DataError(f"key '{key}': {first['msg']}", where=kind.__name__, hint="see docs/scheduling.md") from error
    return record
