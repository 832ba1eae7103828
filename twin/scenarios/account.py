"""What a case used, emitted, cost and suffered: one figure for each draw of the hall, so that differences pair up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from facility.records import FloatArray
from facility.site import Tariff
from twin.air import ENVELOPES
from twin.kpi import J_PER_KWH
from twin.scenarios.onsite import OnSite
from twin.scenarios.simulate import LOADS, Trajectory

SHUTDOWN_C = 45.0  # allowable limit of class A4 (ASHRAE TC 9.9, 2021): servers throttle and shut down beyond it
_SURVIVES = ("outside_recommended_h", "outside_a1_h", "economizer_h", "run_time_pct", "delay_p95_h")
MONTH_H = 8766.0 / 12.0  # mean month: monthly charges are taken for the part of it that the span lasts
Account = Mapping[str, FloatArray | None]
"""Figure by name, (B,); None where something that it needs is not known."""


@dataclass(frozen=True, slots=True)
class Band:
    """Mean over the draws, and the 5th and 95th percentile."""

    mean: float
    lo90: float
    hi90: float

    @classmethod
    def of(cls, values: FloatArray) -> Band:
        """Of one figure of all draws."""
        low, high = np.percentile(values, (5.0, 95.0))
        return cls(float(values.mean()), float(low), float(high))


def bands(account: Account) -> dict[str, Band | None]:
    """Every figure with its band."""
    return {name: None if values is None else Band.of(values) for name, values in account.items()}


def difference(scenario: Account, baseline: Account) -> dict[str, FloatArray | None]:
    """Scenario less baseline, draw by draw; None where either is not known."""
    result: dict[str, FloatArray | None] = {}
    for name, before in baseline.items():
        after = scenario.get(name)
        result[name] = None if before is None or after is None else after - before
    return result


def account(run: Trajectory, site: OnSite, tariff: Tariff) -> Account:
    """All figures of a case. Carbon is location-based, of what is imported, and the product of the three factors.

    Where servers would shut down, only hours and delays are known.
    """
    figures = _figures(run, site, tariff)
    if not is_overheated(run):
        return figures
    return {name: value if name in _SURVIVES else None for name, value in figures.items()}


def is_overheated(run: Trajectory) -> bool:
    """Whether inlets go where servers shut down, which the twin does not model: energies then mean nothing."""
    return bool(run.flows["max_inlet_c"].max(axis=0).mean() > SHUTDOWN_C)


def _figures(run: Trajectory, site: OnSite, tariff: Tariff) -> dict[str, FloatArray | None]:
    around, step_s = run.around, run.around.step_s
    energies = {f"{name.removesuffix('_w')}_kwh": _kwh(run.flows[name], step_s) for name in LOADS}
    facility = _kwh(site.load_w, step_s) + _kwh(site.battery.loss_w, step_s)
    carbon = _weighted(site.import_w, around.intensity_g_kwh, step_s) / 1e3
    market, price = run.case.market_g_kwh, around.price_usd_mwh
    imported = _kwh(site.import_w, step_s)
    water = run.flows["water_l_h"].sum(axis=0) * step_s / 3600.0
    it = energies["it_kwh"]
    return {
        "it_kwh": it,
        "pue": facility / it,
        "effective_ci_g_kwh": 1e3 * carbon / facility,
        "carbon_kg": carbon,
        "market_carbon_kg": None if market is None else imported * market / 1e3,
        "facility_kwh": facility,
        "cost_usd": bill_usd(site.import_w / 1e3, price, tariff, around.times, step_s),
        "wholesale_usd": None if price is None else _weighted(site.import_w, price, step_s) / 1e3,
        "water_l": water,
        "wue_l_kwh": water / it,
        "peak_kw": site.import_w.max(axis=0) / 1e3,
        "hottest_inlet_c": run.flows["max_inlet_c"].max(axis=0),
        **_hours(run),
        **{name: value for name, value in energies.items() if name != "it_kwh"},
        "server_fan_kwh": _kwh(run.flows["server_fan_w"], step_s),
        "leakage_kwh": _kwh(run.flows["leakage_w"], step_s),
        "import_kwh": imported,
        "export_kwh": _kwh(site.export_w, step_s),
        "pv_kwh": _kwh(site.pv_w, step_s),
        "battery_loss_kwh": _kwh(site.battery.loss_w, step_s),
        "battery_left_kwh": site.battery.stored_kwh[-1],
        **{name: np.full_like(it, value) for name, value in _work(run).items()},
    }


def bill_usd(
    import_kw: FloatArray, price_usd_mwh: FloatArray | None, tariff: Tariff, times: list[datetime], step_s: float
) -> FloatArray | None:
    """Energy at price and adder, each calendar month's peak, and fees, (B,); None where a part is not known.

    Months are counted in UTC. What is exported earns nothing.
    """
    adder, demand = tariff.energy_adder_usd_kwh, tariff.demand_charge_usd_kw_month
    if price_usd_mwh is None or adder is None or demand is None or tariff.fixed_usd_month is None:
        return None
    hours = step_s / 3600.0
    energy = (import_kw * (price_usd_mwh / 1e3 + adder)[:, None]).sum(axis=0) * hours
    months = np.array([12 * when.year + when.month for when in times])
    peaks = [
        import_kw[months == month].max(axis=0) * float((months == month).sum()) * hours / MONTH_H
        for month in np.unique(months)
    ]
    fees = tariff.fixed_usd_month * len(times) * hours / MONTH_H
    return np.asarray(energy + demand * np.sum(peaks, axis=0) + fees)


def _kwh(power_w: FloatArray, step_s: float) -> FloatArray:
    return np.asarray(power_w.sum(axis=0) * step_s / J_PER_KWH)


def _weighted(power_w: FloatArray, each_kwh: FloatArray, step_s: float) -> FloatArray:
    return np.asarray(each_kwh @ power_w * step_s / J_PER_KWH)


def _hours(run: Trajectory) -> dict[str, FloatArray]:
    """Hours in which a rack breathes air outside the recommended and the A1 range (ASHRAE TC 9.9, 2021), and in which
    the economizer takes part.
    """
    hours = run.around.step_s / 3600.0
    warm, cold = run.flows["max_inlet_c"], run.flows["min_inlet_c"]
    counted = {}
    for name, envelope in (("recommended", ENVELOPES["recommended"]), ("a1", ENVELOPES["A1"])):
        excess_k = np.maximum(envelope.excess_k(warm), envelope.excess_k(cold))
        counted[f"outside_{name}_h"] = (excess_k > 0.0).sum(axis=0) * hours
    taken = run.flows["economizer_w"] + run.flows["evaporator_w"]
    counted["economizer_h"] = (run.flows["economizer_w"] > 0.001 * taken).sum(axis=0) * hours
    return counted


def _work(run: Trajectory) -> dict[str, float]:
    load = run.load
    return {
        "work_done_pct": load.work_done_pct,
        "run_time_pct": load.run_time_pct,
        "delay_p95_h": load.delay_p95_h,
        "gpus_busy_pct": 100.0 * float(load.busy.mean()),
    }
