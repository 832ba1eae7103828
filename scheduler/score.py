"""A trained plant policy on unseen weeks, against the rule and the optimum table: same weather, load and grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from facility.site import Hall
from scheduler.carl import RESIDUALS, PolicyArrays
from scheduler.trial import STEP_S, STEPS_WEEK, Halls, Index, World, utilisations
from twin.air import ENVELOPES
from twin.plant import plant_control

_BASELINES = ("rule", "optimum")
_LOAD_STREAM = 77  # keeps the loads of the score apart from those of training under the same seed


@dataclass(frozen=True, slots=True)
class PlantScore:
    """One control over all unseen weeks. Savings are the mean over weeks of each week's, ``sd`` their deviation."""

    control: str
    weeks: int
    it_kwh: float
    facility_kwh: float
    pue: float  # energy over energy
    carbon_kg: float
    saving_vs_rule_pct: float
    saving_vs_rule_sd_pct: float
    saving_vs_optimum_pct: float
    saving_vs_optimum_sd_pct: float
    worst_week_vs_optimum_pct: float
    hot_min: float  # hall minutes with any inlet above 27 C
    max_inlet_c: float


@dataclass(frozen=True, slots=True)
class _Weeks:
    """Sums of each week, (W,)."""

    it_kwh: FloatArray
    facility_kwh: FloatArray
    carbon_kg: FloatArray
    hot_min: FloatArray
    max_inlet_c: FloatArray


def score(policy: PolicyArrays, hall: Hall, world: World, seed: int = 0) -> list[PlantScore]:
    """Rows for rule, optimum and carl over the weeks after the split of ``world``; deterministic in ``seed``."""
    first = world.unseen_weeks()
    load = utilisations(len(first), np.random.default_rng([seed, _LOAD_STREAM]))
    runs = {name: _run(Halls(hall, world, plant_control(name, hall)), None, first, load) for name in _BASELINES}
    runs["carl"] = _run(Halls(hall, world, plant_control(policy.base, hall)), policy, first, load)
    return [_row(name, run, runs["rule"], runs["optimum"]) for name, run in runs.items()]


def _run(halls: Halls, policy: PolicyArrays | None, first: Index, load: FloatArray) -> _Weeks:
    halls.start(first, load)
    idle = np.zeros((len(first), len(RESIDUALS)))
    total = np.zeros((4, len(first)))  # in the order of _Weeks
    hottest = np.full(len(first), -np.inf)
    for _ in range(STEPS_WEEK):
        flows = halls.step(idle if policy is None else policy.act(halls.observe()))
        inlet = flows.max_inlet_c
        hot = (inlet > ENVELOPES["recommended"].high_c) * STEP_S / 60.0
        kwh = STEP_S / 3.6e6
        total += np.stack([flows.it_w * kwh, flows.facility_w * kwh, halls.carbon_kg(flows), hot])
        hottest = np.maximum(hottest, inlet)
    it_kwh, facility_kwh, carbon_kg, hot_min = total
    return _Weeks(it_kwh, facility_kwh, carbon_kg, hot_min, hottest)


def _row(name: str, run: _Weeks, rule: _Weeks, optimum: _Weeks) -> PlantScore:
    vs_rule, vs_optimum = (100.0 * (1.0 - run.carbon_kg / other.carbon_kg) for other in (rule, optimum))
    return PlantScore(
        control=name,
        weeks=len(run.carbon_kg),
        it_kwh=float(run.it_kwh.sum()),
        facility_kwh=float(run.facility_kwh.sum()),
        pue=float(run.facility_kwh.sum() / run.it_kwh.sum()),
        carbon_kg=float(run.carbon_kg.sum()),
        saving_vs_rule_pct=float(vs_rule.mean()),
        saving_vs_rule_sd_pct=float(vs_rule.std(ddof=1)),
        saving_vs_optimum_pct=float(vs_optimum.mean()),
        saving_vs_optimum_sd_pct=float(vs_optimum.std(ddof=1)),
        worst_week_vs_optimum_pct=float(vs_optimum.min()),
        hot_min=float(run.hot_min.sum()),
        max_inlet_c=float(run.max_inlet_c.max()),
    )
