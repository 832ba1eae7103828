"""How fast a GPU works and what it draws under a power cap, and how fast training steps go by.

The curves are fitted to measured sweeps of other GPUs (data/gpu_curves.toml, written by ``twin.curve_fit``); for
ResNet-50 and BERT-Large on the A100 they are modelled: no public A100 sweep is at hand. In the recordings BERT loses
more speed under a cap than ResNet-50 does, so BERT-Large is the compute-bound workload here and ResNet-50 the
memory-bound one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import ArrayLike

from facility.errors import DataError
from facility.records import FloatArray, WorkClass
from facility.site import StrictModel, load_toml, validate

A100_MAX_W = 400.0  # NVIDIA A100-SXM4-80GB default limit
A100_IDLE_W = 55.0  # an idle A100-SXM4-80GB reads 50-60 W in nvidia-smi; assumed, not fitted

WORKLOADS = {"resnet50": WorkClass.MEMORY_BOUND, "bert-large": WorkClass.COMPUTE_BOUND}


class _CurveModel(StrictModel):
    speed: tuple[float, ...]
    power_fraction: tuple[float, ...]
    speed_rmse: float
    power_rmse: float


class _ScalingModel(StrictModel):
    batch: int
    compute_s: float
    fixed_s: float
    hop_s: float
    largest_miss: float


class _CurveFile(StrictModel):
    cap_fraction: tuple[float, ...]
    curve: dict[WorkClass, _CurveModel]
    scaling: dict[str, _ScalingModel]


@dataclass(frozen=True, slots=True, eq=False)
class WorkCurve:
    """Speed and power of one GPU at work against its cap: piecewise linear, never falling with the cap."""

    work_class: WorkClass
    cap_knots_w: FloatArray
    speed_knots: FloatArray  # of the speed at the highest cap
    power_knots_w: FloatArray
    idle_w: float
    speed_rmse: float  # of the recorded sweeps against the fit
    power_rmse: float  # of the highest limit, likewise

    def speed(self, cap_w: ArrayLike) -> FloatArray:
        """Speed in (0, 1] under ``cap_w`` watts, any shape; raises DataError below the fitted range."""
        return np.asarray(np.interp(self._inside(cap_w), self.cap_knots_w, self.speed_knots))

    def power_w(self, cap_w: ArrayLike) -> FloatArray:
        """Mean draw of a busy GPU in watts under ``cap_w``; a cap above the highest knot changes nothing."""
        return np.asarray(np.interp(self._inside(cap_w), self.cap_knots_w, self.power_knots_w))

    def energy_ratio(self, cap_w: ArrayLike) -> FloatArray:
        """GPU energy of the same work under ``cap_w`` against the highest cap."""
        full = self.power_knots_w[-1] / self.speed_knots[-1]
        return np.asarray(self.power_w(cap_w) / self.speed(cap_w) / full)

    def _inside(self, cap_w: ArrayLike) -> FloatArray:
        cap = np.asarray(cap_w, dtype=np.float64)
        if not np.all(cap >= self.cap_knots_w[0] - 1e-9):  # also refuses NaN
            raise DataError(
                f"no measured speed at a cap of {np.min(cap):g} W",
                where=f"curve {self.work_class.value}",
                hint=f"caps begin at {self.cap_knots_w[0]:g} W",
            )
        return cap


@lru_cache(maxsize=16)
def work_curve(work_class: WorkClass, max_w: float = A100_MAX_W, idle_w: float = A100_IDLE_W) -> WorkCurve:
    """The curve of a class for a GPU with the highest limit ``max_w``, A100-80GB unless told otherwise."""
    shipped = _shipped()
    curve = shipped.curve[work_class]
    return WorkCurve(
        work_class,
        _frozen(shipped.cap_fraction, max_w),
        _frozen(curve.speed),
        _frozen(curve.power_fraction, max_w),
        idle_w,
        curve.speed_rmse,
        curve.power_rmse,
    )


def steps_per_s(workload: str, gpus: ArrayLike, speed: ArrayLike = 1.0) -> FloatArray:
    """Training steps (global batches: ResNet-50 256 images, BERT-Large 128 sequences) a second on ``gpus`` A100s.

    Modelled as 1 / (compute / gpus + fixed + hop log2(gpus)), fitted to A100 throughput by GPU count, times the
    ``speed`` under a cap. Raises DataError for an unknown workload.
    """
    scaling = _shipped().scaling.get(workload)
    if scaling is None:
        known = ", ".join(sorted(_shipped().scaling))
        raise DataError(f"no throughput of workload {workload!r}", where="workload", hint=f"known: {known}")
    count = np.asarray(gpus, dtype=np.float64)
    return np.asarray(
        np.asarray(speed, dtype=np.float64)
        / (scaling.compute_s / count + scaling.fixed_s + scaling.hop_s * np.log2(count))
    )


def gpu_wh_per_step(workload: str, gpus: int, cap_w: float = A100_MAX_W) -> float:
    """Modelled GPU energy of one training step on ``gpus`` A100s under ``cap_w``, in Wh."""
    curve = work_curve(WORKLOADS[workload]) if workload in WORKLOADS else None
    rate = steps_per_s(workload, gpus)  # first, because it names an unknown workload
    if curve is None:
        raise DataError(
            f"no work class of workload {workload!r}", where="workload", hint=f"known: {', '.join(WORKLOADS)}"
        )
    return float(gpus * curve.power_w(cap_w) / (rate * curve.speed(cap_w)) / 3600.0)


@lru_cache(maxsize=1)
def _shipped() -> _CurveFile:
    with as_file(files("data") / "gpu_curves.toml") as path:
        return validate(_CurveFile, load_toml(path), "data/gpu_curves.toml")


def _frozen(values: tuple[float, ...], scale: float = 1.0) -> FloatArray:
    array = np.array(values, dtype=np.float64) * scale
    array.setflags(write=False)
    return array
