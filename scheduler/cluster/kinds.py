"""The kinds of workload that can be held back, as data: where each says suspend, how many GPUs it asks, when it ended.

Sources: the API types of batch/v1, JobSet v1alpha2, Kubeflow Trainer v1alpha1 and Training Operator v1, MPI Operator
v2beta1 and KubeRay v1. A path is a tuple of keys; ``*`` stands for every element of a list or value of a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from scheduler.cluster import names

Path = tuple[str, ...]


class PlaceBy(StrEnum):
    """How a kind lets its pods' place be proposed before it has started."""

    AFFINITY = "affinity"  # the template's node affinity may change while suspended and never started
    NOTHING = "nothing"  # its own controller or its users place the pods


@dataclass(frozen=True, slots=True)
class Gang:
    """Pods that are alike: where their template is, and the counts whose product is how many there are."""

    each: Path  # to every object that holds a template and its counts
    template: Path  # from there to the pod template; empty: the object names its resources itself
    counts: tuple[Path, ...] = ()  # from there; an absent count is 1
    resources: Path = ()  # from there, where there is no template


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of workload."""

    kind: str
    group: str
    version: str
    plural: str
    suspend: Path  # empty: a bare pod, which a scheduling gate holds before its first start only
    gangs: tuple[Gang, ...]
    pod_label: str  # on its pods; "" where the object is the pod
    pod_label_value: Path = ("metadata", "name")
    succeeded: tuple[str, ...] = ("Complete",)  # condition types, or values of ``phase``
    failed: tuple[str, ...] = ("Failed",)
    phase: Path = ()  # where a word in the status takes the place of conditions
    place_by: PlaceBy = PlaceBy.NOTHING

    @property
    def api_version(self) -> str:
        """``batch/v1``, or ``v1`` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def base(self) -> str:
        """Path of the group and version on the API server."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def is_pod(self) -> bool:
        """Whether it is a bare pod."""
        return not self.suspend


_POD_TEMPLATE = ("spec", "template")
JOB = Kind(
    "Job",
    "batch",
    "v1",
    "jobs",
    ("spec", "suspend"),
    (Gang(("spec",), ("template",), (("parallelism",),)),),
    "batch.kubernetes.io/job-name",
    place_by=PlaceBy.AFFINITY,
)
JOBSET = Kind(
    "JobSet",
    "jobset.x-k8s.io",
    "v1alpha2",
    "jobsets",
    ("spec", "suspend"),
    (
        Gang(
            ("spec", "replicatedJobs", "*"),
            ("template", "spec", "template"),
            (("replicas",), ("template", "spec", "parallelism")),
        ),
    ),
    "jobset.sigs.k8s.io/jobset-name",
    succeeded=("Completed",),
)
TRAINJOB = Kind(
    "TrainJob",
    "trainer.kubeflow.org",
    "v1alpha1",
    "trainjobs",
    ("spec", "suspend"),
    (Gang(("spec", "trainer"), (), (("numNodes",),), ("resourcesPerNode",)),),
    "jobset.sigs.k8s.io/jobset-name",  # the trainer names the JobSet as the TrainJob
)
RAYJOB = Kind(
    "RayJob",
    "ray.io",
    "v1",
    "rayjobs",
    ("spec", "suspend"),
    (
        Gang(("spec", "rayClusterSpec", "headGroupSpec"), ("template",)),
        Gang(("spec", "rayClusterSpec", "workerGroupSpecs", "*"), ("template",), (("replicas",),)),
    ),
    "ray.io/cluster",
    ("status", "rayClusterName"),
    succeeded=("Complete",),
    phase=("status", "jobDeploymentStatus"),
)
PYTORCHJOB = Kind(
    "PyTorchJob",
    "kubeflow.org",
    "v1",
    "pytorchjobs",
    ("spec", "runPolicy", "suspend"),
    (Gang(("spec", "pytorchReplicaSpecs", "*"), ("template",), (("replicas",),)),),
    "training.kubeflow.org/job-name",
    succeeded=("Succeeded",),
)
MPIJOB = Kind(
    "MPIJob",
    "kubeflow.org",
    "v2beta1",
    "mpijobs",
    ("spec", "runPolicy", "suspend"),
    (Gang(("spec", "mpiReplicaSpecs", "*"), ("template",), (("replicas",),)),),
    "training.kubeflow.org/job-name",
    succeeded=("Succeeded",),
)
POD = Kind("Pod", "", "v1", "pods", (), (), "", succeeded=("Succeeded",), phase=("status", "phase"))

KINDS = (JOB, JOBSET, TRAINJOB, RAYJOB, PYTORCHJOB, MPIJOB, POD)
BY_NAME = {kind.kind: kind for kind in KINDS}


def dig(obj: Any, path: Path) -> Any:
    """The value at ``path`` (without ``*``), or None where any part is missing."""
    for key in path:
        if not isinstance(obj, Mapping):
            return None
        obj = obj.get(key)
    return obj


def each(obj: Any, path: Path) -> Iterator[Any]:
    """Every value at ``path``; ``*`` goes into each element of a list or value of a map."""
    if not path:
        yield obj
        return
    key, rest = path[0], path[1:]
    if key == "*":
        items = obj.values() if isinstance(obj, Mapping) else obj if isinstance(obj, list) else ()
        for item in items:
            yield from each(item, rest)
    elif isinstance(obj, Mapping) and key in obj:
        yield from each(obj[key], rest)


def templates(obj: Mapping[str, Any], kind: Kind) -> list[tuple[dict[str, Any], int]]:
    """Pod specs of a workload with how many pods each gives; a TrainJob's trainer counts as one container."""
    if kind.is_pod:
        return [(dict(obj.get("spec") or {}), 1)]
    found = []
    for gang in kind.gangs:
        for holder in each(obj, gang.each):
            count = 1
            for path in gang.counts:
                said = dig(holder, path)
                count *= said if isinstance(said, int) else 1
            if gang.template:
                spec = dig(holder, (*gang.template, "spec")) or {}
            else:
                resources = {"resources": dig(holder, gang.resources) or {}}
                spec = {
                    "containers": [{**{k: holder[k] for k in ("image", "command", "args") if k in holder}, **resources}]
                }
            found.append((dict(spec), count))
    return found


def gpus_of(pod_spec: Mapping[str, Any]) -> int:
    """GPUs that a pod's containers ask for together; requests of extended resources equal their limits."""
    total = 0
    for container in pod_spec.get("containers") or ():
        resources = container.get("resources") or {}
        said = (resources.get("limits") or {}).get(names.GPU, (resources.get("requests") or {}).get(names.GPU, 0))
        total += int(said) if str(said).isdigit() else 0
    return total
