"""A trained policy on unseen windows, against FCFS and the rule that it moves: same jobs, weather, grid and plant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from facility.site import Hall
from scheduler.arena.arena import Arena
from scheduler.arena.policies import ArenaFcfs
from scheduler.arena.pool import REFERENCE, STEPS_WEEK
from scheduler.arena.reward import Preference
from scheduler.arena.rule import QuantileRule
from scheduler.arena.run import Run, run, service
from scheduler.arena.scales import Scales
from scheduler.arena.scenarios import Window, world_of
from scheduler.arena.view import ArenaPolicy
from scheduler.carl import Carl, PolicyArrays
from twin.plant import plant_control

DELAY_WEIGHT = 1.0  # of the preference that is scored, beside carbon alone


@dataclass(frozen=True, slots=True)
class PolicyScore:
    """One policy over all windows. Savings are means of the windows' own, ``sd`` their deviation."""

    policy: str
    windows: int
    it_kwh: float
    pue: float  # energy over energy
    effective_ci_g_kwh: float
    carbon_kg: float
    saving_vs_fcfs_pct: float  # FCFS on the same plant control
    saving_vs_fcfs_sd_pct: float
    saving_vs_rule_pct: float
    saving_vs_rule_sd_pct: float
    worst_window_vs_rule_pct: float
    jobs: int
    late_jobs: int
    mean_wait_h: float
    slowdown: float
    stretch_pct: float
    parked_node_h: float
    hot_min: float  # hall minutes with an inlet above the limit


def score(policy: PolicyArrays, hall: Hall, windows: Sequence[Window], *, shield: bool = False) -> list[PolicyScore]:
    """Rows for fcfs, the rule and carl over ``windows``, each with its drain; the shield guards rule and agent."""
    steps = STEPS_WEEK + REFERENCE.tail_days * 96
    world = world_of(hall, windows, plant_control("optimum", hall), steps=steps)
    wish = Preference.same(len(windows), delay=DELAY_WEIGHT)
    carl = Carl(policy, world, Scales.of(windows, steps), wish)
    policies: list[ArenaPolicy] = [ArenaFcfs(), QuantileRule(policy.centre), carl]
    arenas = [Arena(world), Arena(world, shield=shield), Arena(world, shield=shield)]
    runs = run(arenas, policies, least_steps=STEPS_WEEK)
    carbon = [one.totals.sums["carbon_kg"] for one in runs]
    return [_row(one, carbon[0], carbon[1]) for one in runs]


def _row(one: Run, fcfs_kg: FloatArray, rule_kg: FloatArray) -> PolicyScore:
    sums, fared = one.totals.sums, service(one.arena)
    carbon = sums["carbon_kg"]
    vs_fcfs, vs_rule = (100.0 * (1.0 - carbon / other) for other in (fcfs_kg, rule_kg))
    many = len(carbon) > 1
    return PolicyScore(
        policy=one.policy,
        windows=len(carbon),
        it_kwh=float(sums["it_kwh"].sum()),
        pue=float(sums["facility_kwh"].sum() / sums["it_kwh"].sum()),
        effective_ci_g_kwh=float(1e3 * carbon.sum() / sums["facility_kwh"].sum()),
        carbon_kg=float(carbon.sum()),
        saving_vs_fcfs_pct=float(vs_fcfs.mean()),
        saving_vs_fcfs_sd_pct=float(vs_fcfs.std(ddof=1)) if many else 0.0,
        saving_vs_rule_pct=float(vs_rule.mean()),
        saving_vs_rule_sd_pct=float(vs_rule.std(ddof=1)) if many else 0.0,
        worst_window_vs_rule_pct=float(vs_rule.min()),
        jobs=int(fared.jobs.sum()),
        late_jobs=int(fared.late.sum()),
        mean_wait_h=float(np.average(fared.mean_wait_h, weights=fared.jobs)),
        slowdown=float(np.average(fared.slowdown, weights=fared.jobs)),
        stretch_pct=float(fared.stretch_pct.mean()),
        parked_node_h=float(sums["parked_node_h"].sum()),
        hot_min=float(sums["hot_min"].sum()),
    )
