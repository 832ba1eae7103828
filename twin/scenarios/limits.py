"""Which limits a case meets: for how many hours each binds, and how much of it is used at most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facility.records import FloatArray
from twin.air import ENVELOPES
from twin.power import Value
from twin.scenarios.onsite import OnSite
from twin.scenarios.simulate import Trajectory

_SLACK_K = 0.1  # a setpoint missed by less is held
_FULL = 0.999
_DEW_POINT_C = (-9.0, 15.0)  # ASHRAE TC 9.9 (2021), recommended


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit. ``hours`` is the mean over the draws; None of it, or of ``use_pct``, is what cannot be known."""

    id: str
    kind: str  # capacity: more load meets it; air: what the servers breathe; regime: how the plant runs, no limit
    words: str
    hours: float | None
    use_pct: float | None = None  # most that is used of it, mean over the draws


def limits(run: Trajectory, site: OnSite) -> tuple[Limit, ...]:
    """Every limit of a case, whether it binds or not."""
    return (*_power(run, site), *_cooling(run), *_air(run), *_regimes(run), _space(run))


def binding(found: tuple[Limit, ...]) -> str:
    """Which limit binds, in words; the nearest one where none does."""
    bound = sorted((one for one in found if one.kind != "regime" and one.hours), key=lambda one: -(one.hours or 0.0))
    if bound:
        return "; ".join(f"{one.words}: {one.hours:.0f} h" for one in bound)
    used = [one for one in found if one.kind == "capacity" and one.use_pct is not None]
    if not used:
        return "no limit binds"
    nearest = max(used, key=lambda one: one.use_pct or 0.0)
    return f"no limit binds; nearest is '{nearest.words}', used to {nearest.use_pct:.0f} %"


def _hours(run: Trajectory, is_met: NDArray[np.bool_]) -> float:
    return float(is_met.sum(axis=0).mean()) * run.around.step_s / 3600.0


def _capacity(run: Trajectory, name: str, words: str, drawn: FloatArray, most: Value) -> Limit:
    """A limit in watts: hours above it, and the highest use."""
    share = drawn / np.maximum(most, 1e-9)
    return Limit(name, "capacity", words, _hours(run, share > 1.0), 100.0 * float(share.max(axis=0).mean()))


def _power(run: Trajectory, site: OnSite) -> tuple[Limit, ...]:
    flows, hall, feeder = run.flows, run.hall, run.case.feeder_kw
    ups_w = flows["it_w"] + flows["pdu_loss_w"]
    modules, rated_w = hall.ups.modules, hall.ups.rated_w
    spare = max(modules - 1, 1)
    known = (
        _capacity(run, "ups", f"all {modules} UPS modules loaded", ups_w, modules * rated_w),
        _capacity(run, "ups-redundancy", f"UPS without its spare module ({spare})", ups_w, spare * rated_w),
        _capacity(run, "pdu", "rating of a rack's PDU", flows["max_rack_w"], hall.pdu.rated_w),
    )
    words = "rating of the feeder"
    if feeder is None:
        return (*known, Limit("feeder", "capacity", f"{words} (set feeder_kw to judge it)", None))
    return (*known, _capacity(run, "feeder", words, site.import_w, feeder * 1e3))


def _cooling(run: Trajectory) -> tuple[Limit, ...]:
    flows, hall = run.flows, run.hall
    warm_water = (flows["chw_supply_c"] > flows["chw_setpoint_c"] + _SLACK_K) & (flows["evaporator_w"] > 0.0)
    chiller_use = 100.0 * float((flows["evaporator_w"] / flows["chiller_cap_w"]).max(axis=0).mean())
    warm_air = flows["supply_air_c"] > flows["supply_setpoint_c"] + _SLACK_K
    short = flows["server_airflow_m3_s"] > (1.0 - run.params.room.bypass) * flows["airflow_m3_s"]
    left = hall.crah.count - run.case.crahs_lost
    fan_use = 100.0 * float(flows["fan_speed"].max())
    return (
        Limit("chiller", "capacity", "chillers at capacity", _hours(run, warm_water), chiller_use),
        _capacity(run, "tower", "heat above the tower's design", flows["rejected_w"], hall.tower.design_heat_w),
        Limit("coil", "capacity", "air handlers cannot hold the supply air", _hours(run, warm_air)),
        Limit("airflow", "capacity", "servers want more air than is delivered", _hours(run, short)),
        Limit(
            "crah-fan",
            "regime" if run.case.plant == "legacy" else "capacity",
            f"fans of {left} air handlers at full speed" if left else "no air handler runs",
            _hours(run, flows["fan_speed"] >= _FULL),
            fan_use,
        ),
    )


def _air(run: Trajectory) -> tuple[Limit, ...]:
    warm, cold, a1 = run.flows["max_inlet_c"], run.flows["min_inlet_c"], ENVELOPES["A1"]
    recommended = ENVELOPES["recommended"]
    dew = np.broadcast_to(run.around.dewpoint_c[:, None], warm.shape)
    damp = (dew < _DEW_POINT_C[0]) | (dew > _DEW_POINT_C[1])
    return (
        Limit("inlet-warm", "air", "an inlet above 27 C (recommended)", _hours(run, warm > recommended.high_c)),
        Limit("inlet-cold", "air", "an inlet below 18 C (recommended)", _hours(run, cold < recommended.low_c)),
        Limit("inlet-a1", "air", "an inlet above 32 C (A1 allowable)", _hours(run, warm > a1.high_c)),
        Limit("dew-point", "air", "outdoor dew point outside -9 to 15 C: humidity to be treated", _hours(run, damp)),
    )


def _regimes(run: Trajectory) -> tuple[Limit, ...]:
    """How the plant runs; the coil is dry in the twin, so hours in which it would be wet are said."""
    flows = run.flows
    taken = flows["economizer_w"] + flows["evaporator_w"]
    share = flows["economizer_w"] / np.maximum(taken, 1e-9)
    wet = flows["chw_supply_c"] < run.around.dewpoint_c[:, None]
    free, part = share >= _FULL, (share > 1.0 - _FULL) & (share < _FULL)
    return (
        Limit("free-cooling", "regime", "free cooling alone", _hours(run, free)),
        Limit("part-free-cooling", "regime", "economizer and chillers together", _hours(run, part)),
        Limit(
            "mechanical", "regime", "chillers alone, too warm outside for the economizer", _hours(run, ~free & ~part)
        ),
        Limit("tower-fan", "regime", "tower fan at full speed", _hours(run, flows["tower_fan_speed"] >= _FULL)),
        Limit("wet-coil", "regime", "chilled water below the outdoor dew point: coils may be wet", _hours(run, wet)),
    )


def _space(run: Trajectory) -> Limit:
    positions, racks = run.case.rack_positions, run.hall.racks
    if positions is None:
        return Limit("space", "capacity", "places for racks (set rack_positions to judge it)", None)
    span_h = run.around.steps * run.around.step_s / 3600.0
    words = f"{racks} racks on {positions} places"
    return Limit("space", "capacity", words, span_h if racks > positions else 0.0, 100.0 * racks / positions)
