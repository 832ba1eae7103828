"""Kubernetes Jobs that opted in by label: list them, suspend them, and resume those that we suspended.

A Job takes part with the label ``eco-orchestrator.io/managed=true``. Suspending is a JSON patch of ``spec.suspend``
that tests resourceVersion and the old value, so that nobody's change is overwritten, and that records in the same
patch who suspended and why. Only a Job that carries this mark is resumed. A Job that Kueue owns is never touched:
Kueue uses ``spec.suspend`` itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubernetes.client import ApiClient, ApiException, BatchV1Api
from urllib3.exceptions import HTTPError

from facility.errors import DeviceError

PREFIX = "eco-orchestrator.io"
MANAGED = f"{PREFIX}/managed"
SUSPENDED_BY = f"{PREFIX}/suspended-by"
REASON = f"{PREFIX}/reason"
KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
JSON_PATCH = "application/json-patch+json"
CONFLICTS = (409, 422)  # somebody changed the object; a test of the patch failed
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class KubernetesJob:
    """A managed Job as the API server has it."""

    namespace: str
    name: str
    resource_version: str
    suspend: bool
    is_finished: bool
    annotations: Mapping[str, str]
    kueue_queue: str | None

    @property
    def suspended_by(self) -> str | None:
        """Who suspended it, where that was one of us."""
        return self.annotations.get(SUSPENDED_BY)

    @property
    def where(self) -> str:
        """namespace/name."""
        return f"{self.namespace}/{self.name}"


class KubernetesJobs:
    """Suspends and resumes managed Jobs in the name of ``owner``; blocking calls."""

    def __init__(self, client: ApiClient, owner: str = "eco-orchestrator") -> None:
        """``client`` is a configured client of the official library; ``owner`` goes into the annotation."""
        self._batch = BatchV1Api(client)
        self.owner = owner

    def managed(self) -> tuple[KubernetesJob, ...]:
        """Every managed Job of all namespaces; raises DeviceError where the server does not answer."""
        # Plain dicts: the client's models refuse whole lists for one unexpected field.
        answer = self._call(
            "list jobs",
            self._batch.list_job_for_all_namespaces,
            label_selector=f"{MANAGED}=true",
        )
        return tuple(_job(item) for item in answer.get("items", []))

    def suspend(self, job: KubernetesJob, reason: str) -> None:
        """Suspend a running Job; raises DeviceError where it has changed since, or must not be touched."""
        if job.suspend or job.is_finished or job.kueue_queue is not None:
            why = "it is owned by Kueue" if job.kueue_queue is not None else "it is suspended or finished already"
            raise DeviceError(f"will not suspend: {why}", where=job.where)
        marks = {SUSPENDED_BY: self.owner, REASON: reason}
        self._patch(job, True, [{"op": "add", "path": _path(key), "value": text} for key, text in marks.items()])

    def resume(self, job: KubernetesJob) -> None:
        """Resume a Job that this owner suspended; raises DeviceError where it was another, or it has changed."""
        if not job.suspend or job.suspended_by != self.owner:
            raise DeviceError(f"will not resume: suspended by {job.suspended_by or 'somebody else'}", where=job.where)
        marks = [key for key in (SUSPENDED_BY, REASON) if key in job.annotations]
        self._patch(job, False, [{"op": "remove", "path": _path(key)} for key in marks])

    def _patch(self, job: KubernetesJob, suspend: bool, marks: list[dict[str, Any]]) -> None:
        body: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": job.resource_version},
        ]
        if not job.annotations:
            body.append({"op": "add", "path": "/metadata/annotations", "value": {}})
        if job.suspend:
            body.append({"op": "test", "path": "/spec/suspend", "value": True})
        body += [*marks, {"op": "add", "path": "/spec/suspend", "value": suspend}]
        self._call(
            f"{'suspend' if suspend else 'resume'} {job.where}",
            self._batch.patch_namespaced_job,
            job.name,
            job.namespace,
            body,
            field_manager=self.owner,
            _content_type=JSON_PATCH,
        )

    def _call(self, what: str, method: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            answer = method(*args, **kwargs, _preload_content=False, _request_timeout=TIMEOUT_S)
            body = bytes(answer.data)
            if answer.status >= 400:
                raise ApiException(status=answer.status, reason=body.decode(errors="replace")[:300])
        except ApiException as error:
            hint = "the Job has changed: list again" if error.status in CONFLICTS else ""
            raise DeviceError(f"HTTP {error.status}: {error.reason}", where=f"kubernetes: {what}", hint=hint) from error
        except HTTPError as error:
            raise DeviceError(f"cannot reach the API server: {error}", where=f"kubernetes: {what}") from error
        parsed: dict[str, Any] = json.loads(body)
        return parsed


def _path(annotation: str) -> str:
    """JSON pointer of an annotation, escaped after RFC 6901."""
    return "/metadata/annotations/" + annotation.replace("~", "~0").replace("/", "~1")


def _job(item: Mapping[str, Any]) -> KubernetesJob:
    metadata, status = item["metadata"], item.get("status") or {}
    ended = {one.get("type") for one in status.get("conditions") or () if one.get("status") == "True"}
    return KubernetesJob(
        namespace=metadata["namespace"],
        name=metadata["name"],
        resource_version=metadata["resourceVersion"],
        suspend=bool(item["spec"].get("suspend", False)),
        is_finished=bool(ended & {"Complete", "Failed"}),
        annotations=metadata.get("annotations") or {},
        kueue_queue=(metadata.get("labels") or {}).get(KUEUE_QUEUE),
    )
