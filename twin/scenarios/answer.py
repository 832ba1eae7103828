"""The answer to a what-if question: baseline against scenario over the same hours, with bands of the difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from facility.errors import DataError
from facility.site import Site
from twin.kpi import Kpi, SiteEnergy, energy_kwh, site_kpis
from twin.scenarios.account import SHUTDOWN_C, Account, Band, account, bands, difference, is_overheated
from twin.scenarios.case import Case
from twin.scenarios.catalogue import Question
from twin.scenarios.ensemble import Ensemble
from twin.scenarios.limits import Limit, binding, limits
from twin.scenarios.onsite import OnSite, on_site
from twin.scenarios.series import hourly
from twin.scenarios.simulate import Trajectory, simulate
from twin.scenarios.surroundings import World, surroundings
from twin.scenarios.transient import Loss, after_loss

QUARTER_S, HOUR_S = 900.0, 3600.0
_LONGEST_IN_QUARTERS_D = 31


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case in figures."""

    case: Case
    account: dict[str, Band | None]
    limits: tuple[Limit, ...]
    binding: str
    kpis: tuple[Kpi, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Baseline, scenario and their difference (scenario - baseline, paired draw by draw)."""

    question: Question
    hall: str
    uncertainty: str
    calibrated: str | None  # day of the calibration
    start: datetime
    days: int
    step_s: float
    signals: tuple[str, ...]
    is_synthetic: bool
    baseline: Outcome
    scenario: Outcome
    delta: dict[str, Band | None]
    loss: Loss | None
    series: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a question is asked of: the site, what is not known of it, and where it and its scenario stand."""

    site: Site
    ensemble: Ensemble
    here: World
    there: Callable[[str], World]  # the world of another zone
    start: datetime
    days: int


def ask(
    setup: Setup,
    question: Question,
    changed: dict[str, Any] | None = None,
    shared: dict[str, Any] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Answer:
    """Runs both cases over the same hours. Raises ConfigError for values out of range, DataError without signals."""
    tell = progress or (lambda _: None)
    before, after = question.cases(changed, shared)
    step_s = QUARTER_S if setup.days <= _LONGEST_IN_QUARTERS_D else HOUR_S
    baseline = _Played.of(setup, before, step_s, lambda share: tell(0.5 * share))
    scenario = _Played.of(setup, after, step_s, lambda share: tell(0.5 + 0.5 * share))
    frames = [hourly("baseline", baseline.run, baseline.site), hourly("scenario", scenario.run, scenario.site)]
    worlds = {id(one): one for one in (baseline.run.around.signals, scenario.run.around.signals)}
    sources = dict.fromkeys(series.source for signals in worlds.values() for series in signals.series)
    calibrated = setup.ensemble.calibrated
    return Answer(
        question=question,
        hall=setup.site.site.name,
        uncertainty=setup.ensemble.source,
        calibrated=None if calibrated is None else calibrated.isoformat(),
        start=setup.start,
        days=setup.days,
        step_s=step_s,
        signals=tuple(sources),
        is_synthetic=any(signals.synthetic for signals in worlds.values()),
        baseline=baseline.outcome(),
        scenario=scenario.outcome(),
        delta=bands(difference(scenario.account, baseline.account)),
        loss=after_loss(baseline.run, after),
        series=pl.concat(frames),
    )


@dataclass(frozen=True, slots=True)
class _Played:
    run: Trajectory
    site: OnSite
    account: Account

    @classmethod
    def of(cls, setup: Setup, case: Case, step_s: float, progress: Callable[[float], None]) -> _Played:
        world = setup.there(case.zone) if case.zone else setup.here
        if setup.days < 1:
            raise DataError("no hours to simulate", where="--days", hint="ask for one day or more")
        around = surroundings(world, case, setup.start, setup.days, step_s)
        run = simulate(setup.ensemble, case, around, progress)
        site = on_site(run)
        return cls(run, site, account(run, site, setup.site.tariff))

    def outcome(self) -> Outcome:
        found = limits(self.run, self.site)
        return Outcome(
            case=self.run.case,
            account=bands(self.account),
            limits=found,
            binding=binding(found),
            kpis=site_kpis(_measured(self.run, self.site, self.account)),
            notes=_notes(self.run, self.site),
        )


def _notes(run: Trajectory, site: OnSite) -> tuple[str, ...]:
    notes = []
    if site.sun:
        notes.append(f"photovoltaics: {site.sun}; what is exported earns nothing and offsets nothing")
    if run.case.battery_kwh:
        notes.append("battery: begins empty; what is left at the end is stated and not credited")
    if is_overheated(run):
        notes.append(f"inlets pass {SHUTDOWN_C:g} C: servers shut down, which is not modelled; energies are not known")
    if run.load.work_done_pct < 99.95:
        notes.append(f"the hall is too small: {run.load.work_done_pct:.1f} % of the work is done")
    notes.append(f"carbon intensity: {run.around.signals.carbon.kind or 'kind not stated'}")
    return tuple(notes)


def _measured(run: Trajectory, site: OnSite, figures: Account) -> SiteEnergy:
    """The most likely hall as its meters would show it; heat reuse, servers' benchmarks and CPUs are not modelled."""
    flows, step_s = run.flows, run.around.step_s
    cooling = ("crah_fan_w", "chiller_w", "chw_pump_w", "cw_pump_w", "tower_fan_w")

    def kwh(*names: str) -> float:
        return sum(energy_kwh(flows[name][:, 0], step_s) for name in names)

    def figure(name: str) -> float | None:
        values = figures[name]
        return None if values is None else float(values[0])

    span_h = run.around.steps * step_s / 3600.0
    if is_overheated(run):
        return SiteEnergy(span_h=span_h, coverage_pct=0.0)
    it_kwh, ups_output_w = kwh("it_w"), flows["it_w"][:, 0] + flows["pdu_loss_w"][:, 0]
    pv_used_w = site.pv_w - site.export_w
    return SiteEnergy(
        span_h=span_h,
        coverage_pct=100.0,
        facility_kwh=figure("facility_kwh"),
        it_kwh=it_kwh,
        pdu_output_kwh=it_kwh,  # the cords' loss is part of the PDU's
        ups_output_kwh=kwh("it_w", "pdu_loss_w"),
        peak_facility_kw=float(site.load_w[:, 0].max()) / 1e3,
        peak_ups_output_kw=float(ups_output_w.max()) / 1e3,
        cooling_kwh=kwh(*cooling),
        electrical_loss_kwh=kwh("pdu_loss_w", "ups_loss_w"),
        heat_removed_kwh=kwh("coil_w"),
        renewable_kwh=energy_kwh(pv_used_w[:, 0], step_s) if run.case.pv_kwp else None,
        carbon_kg=figure("carbon_kg"),
        market_carbon_kg=figure("market_carbon_kg"),
        water_l=figure("water_l"),
    )
