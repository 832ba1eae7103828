"""What some minutes of running tell of a job: its power, how fast it is at two caps, and so its class and curve.

The first half runs at full power, the second under the lower cap. The class is that whose curve comes nearest to the
measured speed ratio; without steps to count, to the measured share of the highest limit that it draws. Speeds follow
the class's curve, power that curve scaled to what was measured. Results are kept by recipe (images, commands,
arguments and GPUs) and GPU type.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from facility.errors import DataError
from facility.records import FloatArray, WorkClass
from scheduler.cluster.api import Conflict, Json, Kube, KubeError, NotFound
from scheduler.cluster.codec import from_json, to_json
from scheduler.cluster.metering import Usage
from scheduler.cluster.settings import ClusterSettings, GpuType
from twin.workload import WorkCurve

CONFIG_MAP = "eco-profiles"
MOST = 1500  # profiles of some 400 bytes in a ConfigMap of at most 1 MiB
LEAST_POWER_W = 1.0


@dataclass(frozen=True, slots=True)
class Profile:
    """What was measured of a recipe on a GPU type."""

    recipe: str
    product: str
    at: datetime
    seconds: float
    high_w: float  # each GPU at full power
    low_cap_w: float
    low_w: float | None
    speed_ratio: float | None  # at the lower cap, of the speed at full power
    steps_per_s: float | None  # at full power
    utilisation: float | None
    stall_share: float | None
    work_class: WorkClass

    @property
    def key(self) -> str:
        """By which it is kept."""
        return profile_key(self.recipe, self.product)


@dataclass(frozen=True, slots=True)
class JobCurve:
    """Speed and power of one job's GPUs against their cap, with the band of its power."""

    curve: WorkCurve
    max_w: float
    scale: float = 1.0
    band: float = 0.0  # relative, of the power

    def speed(self, cap_w: float | None) -> float:
        """Relative to full power."""
        return float(self.curve.speed(self._cap(cap_w)))

    def power_w(self, cap_w: float | None) -> float:
        """Mean of each GPU."""
        return self.scale * float(self.curve.power_w(self._cap(cap_w)))

    def over(self, caps_w: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Speed and power under each of ``caps_w`` (n,), which lie in the curve's range."""
        return self.curve.speed(caps_w), self.scale * self.curve.power_w(caps_w)

    def _cap(self, cap_w: float | None) -> float:
        return self.max_w if cap_w is None else min(max(cap_w, float(self.curve.cap_knots_w[0])), self.max_w)


def profile_key(recipe: str, product: str) -> str:
    """A key that a ConfigMap takes."""
    return f"{recipe}.{''.join(c if c.isalnum() or c in '-_.' else '-' for c in product) or 'any'}"


def profile_seconds(work_s: float | None, settings: ClusterSettings) -> float | None:
    """How long to measure; None where the job is too short to be worth it."""
    if work_s is None:
        return settings.profile_s
    seconds = min(settings.profile_s, settings.profile_share * work_s)
    return None if seconds < settings.profile_least_s else seconds


def low_cap_w(gpu: GpuType, floor_w: float | None) -> float:
    """The lower cap: three fifths of the highest limit, not below what the policy or the GPU allows."""
    return min(max(0.6 * gpu.max_w, gpu.min_cap_w, floor_w or 0.0), gpu.max_w)


def make_profile(
    recipe: str,
    gpu: GpuType,
    at: datetime,
    half_s: float,
    cap_w: float,
    high: Usage,
    low: Usage,
    asked: WorkClass | None,
) -> Profile:
    """What two halves of ``half_s`` each say; raises DataError where the first has no power."""
    if high.gpu_w is None or high.gpu_w < LEAST_POWER_W:
        raise DataError("no power was measured", where=recipe, hint="does the node agent or DCGM run on its nodes?")
    ratio = low.steps / high.steps if high.steps and low.steps else None
    return Profile(
        recipe,
        gpu.product,
        at,
        2 * half_s,
        high.gpu_w,
        cap_w,
        low.gpu_w,
        ratio,
        high.steps / half_s if high.steps else None,
        high.utilisation,
        high.stall_share,
        asked or _class_of(gpu, cap_w, ratio, high.gpu_w),
    )


def _class_of(gpu: GpuType, cap_w: float, ratio: float | None, high_w: float) -> WorkClass:
    def miss(kind: WorkClass) -> float:
        curve = gpu.curve(kind)
        return abs(float(curve.speed(cap_w)) - ratio) if ratio else abs(float(curve.power_w(gpu.max_w)) - high_w)

    return min(WorkClass, key=miss)


def curve_of(gpu: GpuType, profile: Profile | None, asked: WorkClass | None) -> JobCurve:
    """The curve of a job: measured, else of the class that its owner says, else the slower one under a cap."""
    if profile is not None:
        curve = gpu.curve(profile.work_class)
        return JobCurve(curve, gpu.max_w, profile.high_w / float(curve.power_w(gpu.max_w)), 0.05)
    curve = gpu.curve(asked or WorkClass.COMPUTE_BOUND)
    return JobCurve(curve, gpu.max_w, 1.0, 0.1 + curve.power_rmse)


class Profiles:
    """Profiles by recipe and GPU type, kept in a ConfigMap beside the Lease; blocking calls."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._collection = f"/api/v1/namespaces/{namespace}/configmaps"
        self._known: dict[str, Profile] = {}

    def load(self) -> None:
        """Read what is kept; entries that cannot be read are passed over, they will be measured anew."""
        try:
            data = self._kube.get(f"{self._collection}/{CONFIG_MAP}").get("data") or {}
        except NotFound:
            return
        self._known = {}
        for key, text in data.items():
            try:
                self._known[key] = from_json(Profile, json.loads(text))
            except (ValueError, DataError):
                continue

    def get(self, recipe: str, product: str) -> Profile | None:
        """What is known of a recipe on a GPU type."""
        return self._known.get(profile_key(recipe, product))

    def keep(self, profile: Profile) -> None:
        """Remember it, here and in the cluster; raises KubeError where that does not take it."""
        self._known[profile.key] = profile
        oldest = sorted(self._known.values(), key=lambda one: one.at)[: max(0, len(self._known) - MOST)]
        data: Json = {profile.key: json.dumps(to_json(profile))}
        for one in oldest:
            del self._known[one.key]
            data[one.key] = None
        path = f"{self._collection}/{CONFIG_MAP}"
        try:
            self._kube.patch(path, {"data": data}, "application/merge-patch+json")
        except NotFound:
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}, "data": data}
            try:
                self._kube.create(self._collection, body)
            except Conflict as error:
                raise KubeError("somebody made it meanwhile", where=path, hint="it is kept at the next time") from error
