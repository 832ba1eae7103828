"""What a run costs, hall by hall: energies, carbon, price, water and discomfort, summed step by step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scheduler.arena.arrays import BoolArray, FloatArray, IntArray
from scheduler.arena.settings import STEP_S
from twin.hall import HallFlows

STEP_H = STEP_S / 3600.0
COMPONENTS = (
    "it_w", "pdu_loss_w", "ups_loss_w", "crah_fan_w", "chiller_w", "chw_pump_w", "cw_pump_w", "tower_fan_w", "aux_w",
)  # fmt: skip
KWH = STEP_H / 1e3


@dataclass(frozen=True, slots=True, eq=False)
class StepAccount:
    """One step of every hall, arrays (B,)."""

    flows: dict[str, FloatArray]  # the loads that add up to the main meter, watts
    it_w: FloatArray
    facility_w: FloatArray
    carbon_kg: FloatArray  # sum of the loads' energies times the intensity
    cost_usd: FloatArray | None  # energy at the market's price
    water_l: FloatArray
    max_inlet_c: FloatArray
    hot_min: FloatArray  # warmest inlet above the limit
    violation_min: FloatArray  # warmest inlet outside the recommended range
    dynamic_w: FloatArray  # DC power of busy GPUs above an idle cluster's, parked nodes not counted
    gpus_busy: FloatArray
    queued: IntArray  # jobs that came in, are not done and do not run
    parked_node_h: FloatArray
    suspended: IntArray
    started: IntArray
    capped_gpu_h: FloatArray  # GPU-hours lost to caps and clocks
    waiting_gpus: FloatArray
    amended: BoolArray  # the shield changed the decision: critical jobs ran, at full power
    refused: BoolArray  # and among these: its own schedule took the decision's place
    ramp_over_w: FloatArray  # power of starts beyond the ramp


@dataclass(slots=True, eq=False)
class Totals:
    """Sums over the steps so far, (B,), by name of a StepAccount; energies in kWh."""

    sums: dict[str, FloatArray] = field(default_factory=dict)
    peak_w: FloatArray | None = None
    hottest_c: FloatArray | None = None
    steps: int = 0

    def add(self, step: StepAccount) -> None:
        """Include one step."""
        parts = {name.removesuffix("_w") + "_kwh": watts * KWH for name, watts in step.flows.items()}
        parts |= {
            "facility_kwh": step.facility_w * KWH,
            "dynamic_it_kwh": step.dynamic_w * KWH,
            "busy_gpu_h": step.gpus_busy * STEP_H,
        }
        if step.cost_usd is not None:
            parts["cost_usd"] = step.cost_usd
        for name in _PLAIN:
            parts[name] = np.asarray(getattr(step, name), dtype=np.float64)
        for name, value in parts.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.peak_w = step.facility_w if self.peak_w is None else np.maximum(self.peak_w, step.facility_w)
        self.hottest_c = step.max_inlet_c if self.hottest_c is None else np.maximum(self.hottest_c, step.max_inlet_c)
        self.steps += 1


_PLAIN = (
    "carbon_kg", "water_l", "hot_min", "violation_min", "parked_node_h", "suspended", "started", "capped_gpu_h",
    "amended", "refused", "ramp_over_w",
)  # fmt: skip


def carbon_kg(flows: HallFlows, intensity_g_kwh: FloatArray) -> FloatArray:
    """Emissions of one step, the loads' apart and then summed."""
    total = sum(getattr(flows, name) * KWH * intensity_g_kwh for name in COMPONENTS)
    return np.asarray(total) / 1e3
