"""What the operator of a cluster sets: GPU types, times, and the figures that receipts are made with."""

from __future__ import annotations

from functools import cached_property

from pydantic import Field, model_validator

from facility.records import WorkClass
from facility.site import StrictModel
from twin.workload import A100_IDLE_W, A100_MAX_W, WorkCurve, work_curve


class GpuType(StrictModel):
    """One GPU type as ``nvidia.com/gpu.product`` of its nodes names it, and the limits that it takes."""

    product: str
    max_w: float = Field(gt=0)
    idle_w: float = Field(ge=0)
    min_cap_w: float = Field(gt=0)

    def curve(self, work_class: WorkClass) -> WorkCurve:
        """Speed and power against the cap."""
        return work_curve(work_class, self.max_w, self.idle_w)


# min_cap_w: caps begin where the recorded sweeps do, at half the highest limit (data/gpu_curves.toml).
A100 = GpuType(product="NVIDIA-A100-SXM4-80GB", max_w=A100_MAX_W, idle_w=A100_IDLE_W, min_cap_w=A100_MAX_W / 2)


class Embodied(StrictModel):
    """Carbon of making the hardware, for one GPU with its share of the server.

    The default is 150 kg for a GPU and 2,500 kg for a server of eight, over six years (Luccioni et al., "Estimating the
    Carbon Footprint of BLOOM", 2023, section 4.1).
    """

    kg_per_gpu: float = Field(default=150.0 + 2500.0 / 8.0, ge=0)
    lifetime_y: float = Field(default=6.0, gt=0)


class ClusterSettings(StrictModel):
    """Settings of the controller; what may be done to one job is for its owner and the EnergyPolicy to say."""

    namespace: str = "eco-system"  # of the Lease and the cached profiles
    gpu: tuple[GpuType, ...] = (A100,)
    host_w_per_gpu: float = Field(default=90.0, ge=0)  # of a baseline, where the meters have not spoken yet
    tick_s: float = Field(default=900.0, gt=0)
    pass_s: float = Field(default=15.0, gt=0)  # between two looks at the cluster
    settle_s: float = Field(default=3600.0, gt=0)  # the longest that use is not written down
    profile_s: float = Field(default=300.0, gt=0)
    profile_share: float = Field(default=0.05, gt=0, le=1)  # of a short job
    profile_least_s: float = Field(default=60.0, gt=0)
    profiling: bool = True
    cap_delay_s: float = Field(default=30.0, ge=0)  # until the agents hold a new cap
    caps: bool = True
    slowdown: float = Field(default=0.1, ge=0, le=1)  # that a cap may cost where the deadline allows it
    max_pauses: int = Field(default=6, ge=0)
    race_s: float = Field(default=60.0, ge=0)  # a job that began no longer ago is still held on first sight
    queue_s: float = Field(
        default=1800.0, ge=0
    )  # for so long a job that waits for room alone is kept from plain queueing
    max_signal_age_s: float = Field(default=4 * 3600.0, gt=0)
    max_mirror_age_s: float = Field(default=180.0, gt=0)
    budget_s: float = Field(default=1800.0, gt=0, le=7200)  # for so long a NodePowerBudget holds without the controller
    pue: float | None = Field(default=None, ge=1)  # None: receipts count IT energy alone, and say so
    market_g_kwh: float | None = Field(default=None, ge=0)  # of the site's contracts; None: no market-based figure
    embodied: Embodied = Embodied()

    @model_validator(mode="after")
    def _products_once(self) -> ClusterSettings:
        if len({one.product for one in self.gpu}) != len(self.gpu):
            raise ValueError("each GPU product stands once")
        return self

    @cached_property
    def _by_product(self) -> dict[str, GpuType]:
        return {one.product: one for one in self.gpu}

    def gpu_type(self, product: str) -> GpuType | None:
        """The type that nodes call ``product``; the only one where a cluster does not name them; None if unknown."""
        if not product:
            return self.gpu[0] if len(self.gpu) == 1 else None
        return self._by_product.get(product)
