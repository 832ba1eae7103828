"""The one place that sends changes to the API server: leadership is looked at again before each, conflicts are retried.

In a dry run nothing is sent. A conflict is retried on the newest object only while what the change was decided on
still stands; else the next look at the cluster decides anew.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from scheduler.cluster import names
from scheduler.cluster.api import STRATEGIC_PATCH, Conflict, Json, Kube, KubeError
from scheduler.cluster.change import MOST_MESSAGE, Change, Notice, merged, patch_of, stamp
from scheduler.cluster.kinds import JOB
from scheduler.cluster.workload import Workload

log = logging.getLogger("eco.writer")

RETRIES = 6
PAUSE_S = 0.05  # before the first retry, doubled for each


@dataclass(slots=True)
class Counts:
    """What was sent, for the metrics."""

    writes: int = 0
    conflicts: int = 0
    given_up: int = 0
    events: int = 0


class Writer:
    """Sends changes; blocking calls."""

    def __init__(self, kube: Kube, check_leader: Callable[[], None], *, is_dry: bool) -> None:
        """``check_leader`` raises NotLeader where another controller may be writing."""
        self._kube, self._check_leader, self.is_dry = kube, check_leader, is_dry
        self.counts = Counts()

    def send(self, change: Change, at: datetime) -> Workload | None:
        """The workload as it is after the change; None in a dry run.

        Raises Conflict where it was changed by somebody else, KubeError where the server refuses.
        """
        if self.is_dry:
            return None
        now = change
        for attempt in range(RETRIES):
            self._check_leader()
            try:
                answer = self._kube.patch(now.workload.path, patch_of(now, at))
                break
            except Conflict:
                self.counts.conflicts += 1
                if attempt == RETRIES - 1:
                    self.counts.given_up += 1
                    raise
                time.sleep(PAUSE_S * 2**attempt * random.uniform(0.5, 1.0))
                now = self._rebased(now)
        self.counts.writes += 1
        after = Workload(now.workload.kind, answer)
        self._tell(now, after, at)
        return after

    def raw(self, call: Callable[[Kube], Json]) -> Json | None:
        """Another write, under the same two rules."""
        if self.is_dry:
            return None
        self._check_leader()
        self.counts.writes += 1
        return call(self._kube)

    def event(self, workload: Workload, notice: Notice, at: datetime) -> None:
        """Tell an Event on a workload; that it could not be told is logged, and stops nothing."""
        if self.is_dry:
            return
        try:
            self._check_leader()
            self._kube.create(f"/api/v1/namespaces/{workload.namespace}/events", event_body(workload, notice, at))
            self.counts.events += 1
        except KubeError as error:
            log.warning("%s: an Event could not be told: %s", workload.key, error)

    def _rebased(self, change: Change) -> Change:
        """The change on the newest object; raises Conflict where that differs in what was decided on."""
        old = change.workload
        new = Workload(old.kind, self._kube.get(old.path))
        watched = (names.LEDGER, names.GPU_CAP_W, names.SUSPENDED_BY)
        is_same = new.is_suspended == old.is_suspended and new.outcome == old.outcome
        if not is_same or any(new.annotations.get(one) != old.annotations.get(one) for one in watched):
            raise Conflict("somebody changed it meanwhile", where=old.key, hint="it is decided anew")
        return replace(change, workload=new)

    def _tell(self, change: Change, after: Workload, at: datetime) -> None:
        for notice in change.notices:
            self.event(after, notice, at)
        if not change.conditions or after.kind is not JOB:
            return
        conditions = merged(after.annotations, change.conditions, at)
        body = {"status": {"conditions": conditions}}  # merged by type: those of the Job controller stay
        try:
            self._kube.patch(f"{after.path}/status", body, STRATEGIC_PATCH)
        except KubeError as error:
            log.warning("%s: its status takes no conditions: %s", after.key, error)


def event_body(workload: Workload, notice: Notice, at: datetime) -> Json:
    """A core/v1 Event on a workload."""
    metadata = workload.obj["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{workload.name}.{uuid.uuid4().hex[:16]}", "namespace": workload.namespace},
        "involvedObject": {
            "apiVersion": workload.kind.api_version,
            "kind": workload.kind.kind,
            "namespace": workload.namespace,
            "name": workload.name,
            "uid": metadata.get("uid", ""),
            "resourceVersion": workload.version,
        },
        "reason": notice.reason,
        "message": notice.message[:MOST_MESSAGE],
        "type": "Warning" if notice.is_warning else "Normal",
        "firstTimestamp": stamp(at),
        "lastTimestamp": stamp(at),
        "count": 1,
        "source": {"component": names.FIELD_MANAGER},
        "reportingComponent": names.FIELD_MANAGER,
        "reportingInstance": "",
    }
