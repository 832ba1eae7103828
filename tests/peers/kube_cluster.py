"""What a cluster has beside its API server, on simulated time: Job controller, scheduler, kubelets, agents and meters.

It knows nothing of the controller under test: it acts on what stands in the API alone. A pod that is deleted stays
until its kubelet says that it is gone, after the grace period in which the job saves its work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from facility.records import WorkClass
from scheduler.cluster.api import JSON_PATCH, MERGE_PATCH, Conflict, Json, Kube, KubeError, NotFound, path_of
from scheduler.cluster.kinds import JOB, POD, gpus_of
from scheduler.cluster.metering import Slot, Usage
from twin.workload import work_curve

JOB_NAME = "batch.kubernetes.io/job-name"
BUDGETS = "/apis/eco-orchestrator.io/v1alpha1/nodepowerbudgets"
HOST_W = 600.0  # of a node, whatever its GPUs do
IDLE_GPU_W = 55.0
HOST_SHARE_W = 75.0  # of the node's, that goes with each busy GPU
SLOT_S = 900.0


@dataclass(slots=True)
class Truth:
    """What a job really is; the cluster knows it, the controller does not."""

    work_s: float
    work_class: WorkClass = WorkClass.COMPUTE_BOUND
    checkpoint_s: float = 20.0  # of writing one on SIGTERM; work since then is lost if the grace is shorter
    restart_s: float = 0.0
    steps: float = 0.0
    done_s: float = 0.0
    saved_s: float = 0.0
    ended_at: datetime | None = None
    runs: int = 0


@dataclass(slots=True)
class Meters:
    """Energy by pod, by name, and of everything; what belongs to no pod is counted apart."""

    pods: dict[tuple[str, str], list[tuple[datetime, datetime, float, float, float]]] = field(default_factory=dict)
    total_wh: float = 0.0
    unallocated_wh: float = 0.0
    is_down: bool = False

    def usage(self, namespace: str, pods: Sequence[str], start: datetime, end: datetime) -> Usage:
        """The Meter port, over what the simulated meters have recorded."""
        if self.is_down:
            raise KubeError("the meters do not answer", where="simulated meters")
        slots, gpu_j, gpu_s, steps = [], 0.0, 0.0, 0.0
        moments: dict[datetime, list[float]] = {}
        for pod in pods:
            for first, last, it_w, gpu_w, rate in self.pods.get((namespace, pod), ()):
                a, b = max(first, start), min(last, end)
                while a < b:  # cut into slots
                    edge = min(b, a + timedelta(seconds=SLOT_S - a.timestamp() % SLOT_S))
                    seconds = (edge - a).total_seconds()
                    entry = moments.setdefault(a, [0.0, 0.0])
                    entry[0] += it_w * seconds / 3600.0
                    entry[1] = max(entry[1], seconds)
                    gpu_j, gpu_s, steps = gpu_j + gpu_w * seconds, gpu_s + seconds, steps + rate * seconds
                    a = edge
        for first, (wh, seconds) in sorted(moments.items()):
            slots.append(Slot(first, first + timedelta(seconds=seconds), wh, seconds))
        return Usage(tuple(slots), gpu_j / gpu_s if gpu_s else None, 0.95, 0.02, steps or None)


class SimCluster:
    """Steps the parts of a cluster to a time."""

    def __init__(self, kube: Kube, start: datetime, nodes: int, gpus: int = 8, product: str = "") -> None:
        self.kube, self.now, self.meters = kube, start, Meters()
        self.truths: dict[tuple[str, str], Truth] = {}
        self.nodes = {f"node-{index:03d}": gpus for index in range(nodes)}
        self.pod_starts = 0
        self._known: list[Json] = []
        self._is_dirty = True
        for name, count in self.nodes.items():
            make_node(kube, name, count, product)

    def submit(self, body: Json, truth: Truth, namespace: str = "default") -> None:
        """Create a Job as ``kubectl apply`` would."""
        self.truths[namespace, body["metadata"]["name"]] = truth
        self.kube.create(path_of(JOB, namespace), body)

    def step(self, to: datetime) -> None:
        """Let time pass until ``to``, then let every part react to what stands in the API."""
        jobs = [job for job in self.kube.items(path_of(JOB))[0] if not _has_ended(job)]
        pods = self._pods()
        if to > self.now:
            self._work(pods, to)
            self.now = to
        self._end_pods(pods)
        self._control(jobs, self._pods())
        self._schedule(self._pods())

    def _pods(self) -> list[Json]:
        """All pods; asked for again only after a write of ours, for nobody else makes or ends any."""
        if self._is_dirty:
            self._known, self._is_dirty = self.kube.items(path_of(POD))[0], False
        return self._known

    # Kubelets and meters ------------------------------------------------------------------------------------------

    def _work(self, pods: list[Json], to: datetime) -> None:
        caps = self._caps()
        dt_s = (to - self.now).total_seconds()
        busy = dict.fromkeys(self.nodes, 0.0)
        by_job: dict[tuple[str, str], list[Json]] = {}
        for pod in pods:
            key = (pod["metadata"]["namespace"], (pod["metadata"].get("labels") or {}).get(JOB_NAME, ""))
            if pod["status"].get("phase") == "Running" and key in self.truths:
                by_job.setdefault(key, []).append(pod)
        for key, gang in by_job.items():
            self._run(key, gang, dt_s, caps, busy)
        for name, gpus in self.nodes.items():
            idle_s = gpus * dt_s - busy[name]
            idle_wh = (idle_s * IDLE_GPU_W + HOST_W * dt_s - busy[name] * HOST_SHARE_W) / 3600.0
            self.meters.unallocated_wh += idle_wh
            self.meters.total_wh += idle_wh

    def _run(
        self,
        key: tuple[str, str],
        gang: list[Json],
        dt_s: float,
        caps: dict[tuple[str, str], float],
        busy: dict[str, float],
    ) -> None:
        """A gang's work, energy and end in one step; the most limited pod sets the pace."""
        truth = self.truths[key]
        namespace = key[0]
        curve = work_curve(truth.work_class)
        cap = min(caps.get((namespace, pod["metadata"]["name"]), 400.0) for pod in gang)
        speed, gpu_w = float(curve.speed(cap)), float(curve.power_w(cap))
        begun = max(datetime.fromisoformat(pod["status"]["startTime"]) for pod in gang)
        wait_s = max(0.0, truth.restart_s - (self.now - begun).total_seconds())
        is_ending = any("deletionTimestamp" in pod["metadata"] for pod in gang)
        work_s = 0.0 if is_ending else max(0.0, dt_s - wait_s)
        need_s = (truth.work_s - truth.done_s) / speed
        is_done = work_s >= need_s and not is_ending
        ran_s = min(dt_s, truth.checkpoint_s) if is_ending else min(dt_s, wait_s + need_s)
        truth.done_s = min(truth.work_s, truth.done_s + work_s * speed)
        end = self.now + timedelta(seconds=ran_s)
        rate = truth.steps / truth.work_s * speed * (min(work_s, need_s) / ran_s if ran_s else 0.0)
        for pod in gang:
            gpus = gpus_of(pod["spec"])
            it_w = gpus * (gpu_w + HOST_SHARE_W)
            entry = (self.now, end, it_w, gpu_w, rate / len(gang))
            self.meters.pods.setdefault((namespace, pod["metadata"]["name"]), []).append(entry)
            self.meters.total_wh += it_w * ran_s / 3600.0
            busy[pod["spec"]["nodeName"]] += gpus * ran_s
            if is_done:
                self._status(pod, {"phase": "Succeeded"})
        if is_done:
            truth.ended_at = end

    def _caps(self) -> dict[tuple[str, str], float]:
        """What the agents of the nodes hold, by pod, while their budgets last."""
        found = {}
        with contextlib.suppress(NotFound):
            for budget in self.kube.items(BUDGETS)[0]:
                if datetime.fromisoformat(budget["spec"]["expiresAt"]) > self.now:
                    for one in budget["spec"].get("pods") or ():
                        found[one["namespace"], one["name"]] = float(one["gpuCapWatts"])
        return found

    def _end_pods(self, pods: list[Json]) -> None:
        """Pods that were told to stop: their work is saved where the grace was long enough, then they are gone."""
        for pod in pods:
            if "deletionTimestamp" not in pod["metadata"]:
                continue
            key = (pod["metadata"]["namespace"], (pod["metadata"].get("labels") or {}).get(JOB_NAME, ""))
            truth = self.truths.get(key)
            grace_s = float(pod["spec"].get("terminationGracePeriodSeconds") or 30.0)
            if truth is not None:
                if truth.checkpoint_s <= grace_s:
                    truth.saved_s = truth.done_s
                else:
                    truth.done_s = truth.saved_s
            self._free(pod)

    def _free(self, pod: Json) -> None:
        self._is_dirty = True
        with contextlib.suppress(NotFound):
            self.kube.delete(self._path(pod), gracePeriodSeconds=0)

    # Job controller -----------------------------------------------------------------------------------------------

    def _control(self, jobs: list[Json], pods: list[Json]) -> None:
        by_job: dict[tuple[str, str], list[Json]] = {}
        for pod in pods:
            name = (pod["metadata"].get("labels") or {}).get(JOB_NAME, "")
            by_job.setdefault((pod["metadata"]["namespace"], name), []).append(pod)
        for job in jobs:
            key = (job["metadata"]["namespace"], job["metadata"]["name"])
            if key in self.truths:
                with contextlib.suppress(Conflict):  # as the real one, it comes back
                    self._reconcile(job, by_job.get(key, []), self.truths[key])

    def _reconcile(self, job: Json, pods: list[Json], truth: Truth) -> None:
        spec, path = job["spec"], path_of(JOB, job["metadata"]["namespace"], job["metadata"]["name"])
        if truth.ended_at is not None:
            condition = {"type": "Complete", "status": "True", "lastTransitionTime": _stamp(truth.ended_at)}
            self._job_status(job, {"completionTime": _stamp(truth.ended_at)}, condition)
            for pod in pods:
                self._free(pod)
            return
        active = [pod for pod in pods if pod["status"].get("phase") not in ("Succeeded", "Failed")]
        if spec.get("suspend"):
            if job.get("status", {}).get("startTime") is not None:  # as the real one: it begins anew at each resume
                self.kube.patch(f"{path}/status", {"status": {"startTime": None}}, MERGE_PATCH)
            for pod in active:
                if "deletionTimestamp" not in pod["metadata"]:
                    self._is_dirty = True
                    self.kube.delete(self._path(pod))
            return
        wanted = int(spec.get("parallelism", 1))
        if any("deletionTimestamp" in pod["metadata"] for pod in active):
            return  # podReplacementPolicy: Failed
        if job.get("status", {}).get("startTime") is None:
            self.kube.patch(f"{path}/status", {"status": {"startTime": _stamp(self.now)}}, MERGE_PATCH)
        if len(active) < wanted:
            truth.runs += 1
        for _ in range(wanted - len(active)):
            self.pod_starts += 1
            self._is_dirty = True
            self.kube.create(path_of(POD, job["metadata"]["namespace"]), self._pod(job))

    def _pod(self, job: Json) -> Json:
        template = job["spec"]["template"]
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}
        labels = {**(template.get("metadata", {}).get("labels") or {}), JOB_NAME: name}
        metadata = {
            "name": f"{name}-{self.pod_starts:05d}",
            "labels": labels,
            "ownerReferences": [owner],
        }
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}

    def _job_status(self, job: Json, fields: Json, condition: Json) -> None:
        path = path_of(JOB, job["metadata"]["namespace"], job["metadata"]["name"])
        known = [one for one in job.get("status", {}).get("conditions") or () if one["type"] != condition["type"]]
        self.kube.patch(f"{path}/status", {"status": {**fields, "conditions": [*known, condition]}}, MERGE_PATCH)

    # Scheduler ----------------------------------------------------------------------------------------------------

    def _schedule(self, pods: list[Json]) -> None:
        if all(pod["spec"].get("nodeName") for pod in pods):
            return
        free = dict(self.nodes)
        for node in self.kube.items("/api/v1/nodes")[0]:
            if node["spec"].get("unschedulable"):
                free.pop(node["metadata"]["name"], None)
        for pod in pods:
            node = pod["spec"].get("nodeName")
            if node in free and pod["status"].get("phase") not in ("Succeeded", "Failed"):
                free[node] -= gpus_of(pod["spec"])
        for pod in pods:
            if pod["spec"].get("nodeName") or pod["spec"].get("schedulingGates"):
                continue
            if "deletionTimestamp" in pod["metadata"]:
                continue
            gpus, wanted = gpus_of(pod["spec"]), _preferred(pod["spec"])
            fitting = [name for name, count in free.items() if count >= gpus]
            if not fitting:
                continue
            best = min(fitting, key=lambda name: (name not in wanted, free[name], name))
            free[best] -= gpus
            self._bind(pod, best)

    def _bind(self, pod: Json, node: str) -> None:
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"]}}
        self.kube.create(f"{self._path(pod)}/binding", {**body, "target": {"kind": "Node", "name": node}})
        self._status(pod, {"phase": "Running", "startTime": _stamp(self.now)})

    def _status(self, pod: Json, status: Json) -> None:
        self._is_dirty = True
        self.kube.patch(f"{self._path(pod)}/status", {"status": status}, MERGE_PATCH)

    def _path(self, pod: Json) -> str:
        return path_of(POD, pod["metadata"]["namespace"], pod["metadata"]["name"])


def make_node(kube: Kube, name: str, gpus: int, product: str = "") -> None:
    """A Ready node with GPUs."""
    labels = {"kubernetes.io/hostname": name, **({"nvidia.com/gpu.product": product} if product else {})}
    kube.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
    status = {"allocatable": {"nvidia.com/gpu": str(gpus)}, "conditions": [{"type": "Ready", "status": "True"}]}
    kube.patch(f"/api/v1/nodes/{name}/status", {"status": status}, MERGE_PATCH)


def training_job(
    name: str, annotations: dict[str, str], *, gpus: int = 8, pods: int = 1, image: str = "train:1", **more: Any
) -> Json:
    """A labelled Job manifest; ``more`` goes into its spec."""
    metadata = {"name": name, "labels": {"eco-orchestrator.io/managed": "true"}, "annotations": annotations}
    container = {"name": "train", "image": image, "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 60, "containers": [container]}
    spec = {"parallelism": pods, "podReplacementPolicy": "Failed", "template": {"spec": pod}, **more}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def asks(**said: str) -> dict[str, str]:
    """Annotations of ours: ``max_delay="8h"`` becomes the product's annotation ``max-delay``."""
    return {f"eco-orchestrator.io/{name.replace('_', '-')}": value for name, value in said.items()}


def set_suspend(kube: Kube, name: str, value: bool, namespace: str = "default") -> None:
    """As a user does by hand."""
    kube.patch(path_of(JOB, namespace, name), [{"op": "add", "path": "/spec/suspend", "value": value}], JSON_PATCH)


def _preferred(spec: Json) -> set[str]:
    terms = (
        spec.get("affinity", {}).get("nodeAffinity", {}).get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    )
    return {name for term in terms for one in term["preference"]["matchExpressions"] for name in one["values"]}


def _has_ended(job: Json) -> bool:
    return bool({one["type"] for one in job.get("status", {}).get("conditions") or ()} & {"Complete", "Failed"})


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
