"""A client of the API server that misbehaves on demand: conflicts, versions that are too old, silence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scheduler.cluster.api import Conflict, Gone, Json, Kube, KubeError


class FaultyKube(Kube):
    """Wraps the calls of a real client; each fault is counted down, and said once it has happened."""

    conflicts = 0  # of the next patches, so many are refused although nobody was faster
    gone = 0  # so many watches end with 410
    is_away = False

    def patch(self, path: str, body: Any, content: str = "application/json-patch+json", **query: str) -> Json:
        """Refused while conflicts are left."""
        if self.conflicts > 0 and content == "application/json-patch+json":
            self.conflicts -= 1
            raise Conflict("a storm", where=path, status=409)
        return super().patch(path, body, content, **query)

    def watch(self, path: str, version: str, seconds: int, **query: str) -> Iterator[Json]:
        """Ends at once with 410 while some are left."""
        if self.gone > 0:
            self.gone -= 1
            raise Gone("too old", where=path, status=410)
        return super().watch(path, version, seconds, **query)

    def _send(self, method: str, path: str, query: Any, body: Any, content: str, timeout: Any) -> Any:
        if self.is_away:
            raise KubeError("cannot reach the API server: it is away", where=path)
        return super()._send(method, path, query, body, content, timeout)
