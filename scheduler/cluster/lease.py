"""Who may write: a Lease of the cluster, held by one of several controllers and looked at again before each write.

Times of the other side are never compared with this side's clock: a Lease is free when its record has not changed for
its duration on a steady clock of our own. Clocks that differ by minutes do no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from scheduler.cluster import names
from scheduler.cluster.api import Conflict, Json, Kube, KubeError, NotFound

BASE = "/apis/coordination.k8s.io/v1"


class NotLeader(KubeError):  # noqa: N818 - names the state
    """Another controller holds the Lease, or it cannot be read: nothing is written."""


class Leadership:
    """Takes, renews and checks one Lease; blocking calls."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        identity: str,
        *,
        duration_s: float = 15.0,
        name: str = names.LEASE,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``identity`` is unique to this process; ``steady`` is a clock that is never set."""
        self._kube, self.identity, self._duration_s, self._steady = kube, identity, duration_s, steady
        self._collection = f"{BASE}/namespaces/{namespace}/leases"
        self._path, self._name = f"{self._collection}/{name}", name
        self._seen: Json = {}
        self._seen_s = 0.0
        self._renewed_s: float | None = None

    @property
    def is_leader(self) -> bool:
        """Whether the Lease was ours when last renewed, and that is not too long ago."""
        return self._renewed_s is not None and self._steady() - self._renewed_s < self._duration_s * 2 / 3

    def try_lead(self) -> bool:
        """Take the Lease where it is free, or renew it where it is ours; call it every third of its duration."""
        try:
            lease = self._kube.get(self._path)
        except NotFound:
            return self._create()
        spec = lease.get("spec") or {}
        if spec != self._seen:
            self._seen, self._seen_s = spec, self._steady()
        holder = spec.get("holderIdentity") or ""
        is_free = not holder or self._steady() - self._seen_s >= float(spec.get("leaseDurationSeconds") or 0)
        if holder != self.identity and not is_free:
            self._renewed_s = None
            return False
        return self._take(lease, holder)

    def check(self) -> None:
        """Look at the Lease again; raises NotLeader where it is not ours any more."""
        if not self.is_leader:
            raise NotLeader("the Lease was not renewed in time", where=self._path, hint="another controller may lead")
        spec: dict[str, Any] = self._kube.get(self._path).get("spec") or {}
        if spec.get("holderIdentity") != self.identity:
            self._renewed_s = None
            raise NotLeader(f"{spec.get('holderIdentity') or 'nobody'} holds the Lease", where=self._path)

    def resign(self) -> None:
        """Give the Lease up, so that another may lead at once."""
        if self._renewed_s is None:
            return
        self._renewed_s = None
        lease = self._kube.get(self._path)
        if (lease.get("spec") or {}).get("holderIdentity") == self.identity:
            lease["spec"]["holderIdentity"] = ""
            self._kube.replace(self._path, lease)

    def _create(self) -> bool:
        metadata = {"name": self._name}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": self._spec(0)}
        return self._sent(lambda: self._kube.create(self._collection, body))

    def _take(self, lease: Json, holder: str) -> bool:
        changes = int((lease.get("spec") or {}).get("leaseTransitions") or 0) + (holder != self.identity)
        begun = (lease.get("spec") or {}).get("acquireTime") if holder == self.identity else None
        lease["spec"] = self._spec(changes, begun)
        return self._sent(lambda: self._kube.replace(self._path, lease))

    def _spec(self, changes: int, begun: str | None = None) -> Json:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._duration_s)),
            "acquireTime": begun or now,
            "renewTime": now,
            "leaseTransitions": changes,
        }

    def _sent(self, send: Callable[[], Json]) -> bool:
        asked_s = self._steady()  # the duration counts from before the request
        try:
            answer = send()
        except Conflict:
            self._renewed_s = None
            return False
        self._renewed_s, self._seen, self._seen_s = asked_s, answer.get("spec") or {}, self._steady()
        return True
