"""From a simulated run to its account: one row of figures, and the series from which they recompute.

Carbon is the sum over steps of every load's energy times the intensity; it equals IT energy x PUE x effective
intensity. The main meter carries everything. A figure that is not known (no price, no tariff, a bound that has no
plant) is None, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from facility.records import FloatArray
from facility.site import Tariff
from scheduler.cluster.jobs import JobRun
from scheduler.simulate import COMPONENTS, STEP_S, Surroundings, Tracked
from twin import kpi
from twin.air import ENVELOPES
from twin.workload import WORKLOADS, steps_per_s

MONTH_H = 8766.0 / 12.0  # mean month; monthly charges are taken for the part of a month that the horizon lasts


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One policy on one grid, hall and job set. Energies and carbon are those of the whole horizon, drain included."""

    policy: str
    plant: str | None
    parking: str | None = "none"
    zone: str
    utilisation: float
    slack_h: float
    flexible: float
    it_kwh: float | None = None  # at the IT inlet, server fans included
    facility_kwh: float | None = None  # main meter
    pue: float | None = None
    effective_ci_g_kwh: float | None = None  # mean weighted by facility power
    flat_ci_g_kwh: float | None = None  # what a constant load meets
    cue_kg_kwh: float | None = None
    carbon_kg: float | None = None
    cost_usd: float | None = None
    water_l: float | None = None
    peak_kw: float | None = None  # highest 15-minute mean at the main meter
    kwh_per_job: float | None = None  # facility energy over jobs done
    wh_per_step: float | None = None  # facility energy over training steps done
    jobs: int
    late_jobs: int | None = None  # finished after their soft deadline
    mean_wait_h: float | None = None  # not running, between submission and completion
    slowdown: float | None = None  # mean of completion time over run time at full power
    stretch_pct: float | None = None  # running longer than at full power, pauses' redone work included
    envelope_violation_min: float | None = None  # warmest inlet outside 18-27 C (ASHRAE TC 9.9 recommended)
    dynamic_it_kwh: float  # DC energy above the idle cluster's
    dynamic_carbon_kg: float
    dynamic_saving_pct: float | None = None  # of dynamic carbon, against the first policy
    bound_share_pct: float | None = None  # of what the clairvoyant bound saves
    suspensions: int | None = None
    horizon_h: float
    seed: int
    synthetic: bool = False  # a signal or the trace was made up
    seeds: int = 1  # repetitions that this row is the mean of
    spread: dict[str, float] | None = None  # standard deviation over the repetitions, by field


@dataclass(frozen=True, slots=True)
class Setting:
    """What a row says about its run beside the figures."""

    plant: str
    zone: str
    utilisation: float
    slack_h: float
    flexible: float
    seed: int
    synthetic: bool


def row(tracked: Tracked, around: Surroundings, tariff: Tariff, setting: Setting) -> Row:
    """The account of one policy's run."""
    flows, intensity = tracked.flows, around.intensity_g_kwh
    it_kwh = kpi.energy_kwh(flows["it_w"], STEP_S)
    facility_kwh = kpi.energy_kwh(flows["facility_w"], STEP_S)
    carbon_kg = sum(kpi.carbon_kg(flows[name], intensity, STEP_S) for name in COMPONENTS)
    steps = training_steps(tracked.runs)
    return Row(
        policy=tracked.policy,
        plant=setting.plant,
        zone=setting.zone,
        utilisation=setting.utilisation,
        slack_h=setting.slack_h,
        flexible=setting.flexible,
        it_kwh=it_kwh,
        facility_kwh=facility_kwh,
        pue=kpi.pue(facility_kwh, it_kwh),
        effective_ci_g_kwh=kpi.effective_ci_g_kwh(flows["facility_w"], intensity),
        flat_ci_g_kwh=kpi.flat_ci_g_kwh(intensity),
        cue_kg_kwh=kpi.cue_kg_kwh(carbon_kg, it_kwh),
        carbon_kg=carbon_kg,
        cost_usd=cost_usd(flows["facility_w"], around, tariff),
        water_l=float(flows["water_l_h"].sum()) * STEP_S / 3600.0,
        peak_kw=float(flows["facility_w"].max()) / 1000.0,
        kwh_per_job=facility_kwh / len(tracked.runs) if tracked.runs else None,
        wh_per_step=1000.0 * facility_kwh / steps if steps else None,
        envelope_violation_min=_violation_min(tracked.max_inlet_c),
        dynamic_it_kwh=kpi.energy_kwh(tracked.dynamic_w, STEP_S),
        dynamic_carbon_kg=kpi.carbon_kg(tracked.dynamic_w, intensity, STEP_S),
        horizon_h=len(intensity) * STEP_S / 3600.0,
        seed=setting.seed,
        synthetic=setting.synthetic,
        **_service(tracked.runs),
    )


def cost_usd(facility_w: FloatArray, around: Surroundings, tariff: Tariff) -> float | None:
    """Energy at price and adder, each calendar month's peak, and fixed fees; None where a part is not known."""
    price, adder = around.price_usd_mwh, tariff.energy_adder_usd_kwh
    demand, fixed = tariff.demand_charge_usd_kw_month, tariff.fixed_usd_month
    if price is None or adder is None or demand is None or fixed is None:
        return None
    step_h = STEP_S / 3600.0
    energy = float(np.dot(facility_w / 1000.0 * step_h, price / 1000.0 + adder))
    months = np.array([(when.year, when.month) for when in _times(around.start, len(facility_w))])
    peaks = 0.0
    for month in np.unique(months, axis=0):
        inside = np.all(months == month, axis=1)
        peaks += float(facility_w[inside].max()) / 1000.0 * inside.sum() * step_h / MONTH_H
    return energy + demand * peaks + fixed * len(facility_w) * step_h / MONTH_H


def series(tracked: Tracked, around: Surroundings) -> pl.DataFrame:
    """Every step of a run: time, each load, intensity, price, water, use of the cluster."""
    count = len(around.intensity_g_kwh)
    price = around.price_usd_mwh
    frame = pl.DataFrame({"ts": _times(around.start, count), "policy": [tracked.policy] * count})
    return frame.with_columns(
        *(pl.Series(name, tracked.flows[name]) for name in (*COMPONENTS, "facility_w")),
        pl.Series("intensity_g_kwh", around.intensity_g_kwh),
        pl.Series("price_usd_mwh", [None] * count if price is None else price.tolist(), dtype=pl.Float64),
        pl.Series("water_l", tracked.flows["water_l_h"] * STEP_S / 3600.0),
        pl.Series("gpus_busy", tracked.gpus_busy),
        pl.Series("queued", tracked.queued),
        pl.Series("max_inlet_c", tracked.max_inlet_c),
        pl.Series("dynamic_w", tracked.dynamic_w),
    )


def training_steps(runs: tuple[JobRun, ...]) -> float | None:
    """Training steps of all jobs; None where a job's workload has no known throughput."""
    if not runs or any(run.job.workload not in WORKLOADS for run in runs):
        return None
    return sum(run.job.work_s * float(steps_per_s(run.job.workload, run.job.gpus)) for run in runs)


def _service(runs: tuple[JobRun, ...]) -> dict[str, Any]:
    """How the jobs fared, as fields of Row."""
    done = [(run, run.finished_at) for run in runs if run.finished_at is not None]
    if not done:
        return {"jobs": 0}
    taken_s = np.array([(end - run.job.submitted_at).total_seconds() for run, end in done])
    running_s = np.array([run.running_s for run, _ in done])
    work_s = np.array([run.job.work_s for run, _ in done])
    return {
        "jobs": len(done),
        "late_jobs": sum(end > run.job.deadline for run, end in done),
        "mean_wait_h": float((taken_s - running_s).mean()) / 3600.0,
        "slowdown": float((taken_s / work_s).mean()),
        "stretch_pct": 100.0 * (float(running_s.sum() / work_s.sum()) - 1.0),
        "suspensions": sum(run.suspensions for run, _ in done),
    }


def _violation_min(max_inlet_c: FloatArray) -> float:
    outside = ENVELOPES["recommended"].excess_k(max_inlet_c) > 0.0
    return float(outside.sum()) * STEP_S / 60.0


def _times(start: datetime, count: int) -> list[datetime]:
    return [start + timedelta(seconds=STEP_S * index) for index in range(count)]
