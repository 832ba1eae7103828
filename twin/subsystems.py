"""Physical parameters of a building's subsystems, each from its own meters, with a posterior.

Every law is linear in its parameters after a change of variables; the posterior is normal about the robust least
squares solution (Laplace). A subsystem whose meters are missing has no entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from twin.air import WATER_CP_J_KG_K
from twin.meters import robust_lstsq

_LEAST_ROWS = 500


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: mean and standard deviation of its posterior."""

    name: str
    value: float
    std: float
    law: str


def fit_subsystems(state: Mapping[str, FloatArray], it_kw: FloatArray) -> list[Parameter]:
    """Parameters of every subsystem whose columns are in ``state`` (see `twin.features`), all of shape (T,)."""
    found: list[Parameter] = []
    for fan, speed, name in (
        ("crah/fan_power_kw", "crah/fan_pct", "crah_fan"),
        ("tower/fan_kw", "tower/fan_pct", "tower_fan"),
        ("chw/pump_kw", "chw/pump_pct", "chw_pump"),
    ):
        if fan in state and speed in state:
            found += _affinity(name, state[fan], state[speed])
    if "ups/input_kw" in state and "ups/output_kw" in state:
        load = state["ups/output_kw"]
        columns = [np.ones_like(load), load, load**2 / 1e3]
        names = ("ups_no_load_kw", "ups_proportional", "ups_square_per_mw")
        found += _linear(names, columns, state["ups/input_kw"] - load, "input - output = a + b x + c x^2")
    return found + _chiller(state) + _tower(state, it_kw)


def _affinity(name: str, power_kw: FloatArray, speed_pct: FloatArray) -> list[Parameter]:
    """``power = rated (speed / 100)^n``: fans and pumps (ASHRAE Handbook, HVAC Systems and Equipment, ch. 21)."""
    runs = (power_kw > 0.3) & (speed_pct > 15.0)
    if np.sum(runs & (np.abs(speed_pct - np.nanmedian(speed_pct)) > 3.0)) < _LEAST_ROWS:
        return []
    share = np.log(np.where(runs, speed_pct, np.nan) / 100.0)
    fit = robust_lstsq(np.column_stack([np.ones_like(share), share]), np.log(np.where(runs, power_kw, np.nan)))
    if fit is None:
        return []
    rated, law = float(np.exp(fit.beta[0])), "power = rated x (speed/100)^exponent"
    return [
        Parameter(f"{name}_rated_kw", rated, rated * float(fit.std[0]), law),
        Parameter(f"{name}_exponent", float(fit.beta[1]), float(fit.std[1]), law),
    ]


def _chiller(state: Mapping[str, FloatArray]) -> list[Parameter]:
    """``power = a n + Q (b + c lift)``; Q is what the evaporators take, lift is tower water over chilled water."""
    needed = ("ch/power_kw", "ch:running", "chw/flow_lps", "chw/return_c", "chw/supply_c", "tower/supply_c")
    if any(name not in state for name in needed):
        return []
    warm = state.get("wse/leaving_c", state["chw/return_c"])
    heat = state["chw/flow_lps"] * WATER_CP_J_KG_K / 1e3 * (warm - state["chw/supply_c"])
    units = max(1.0, float(np.nanmax(state["ch:running"])))
    lift = state["tower/supply_c"] - state["chw/supply_c"]
    settled = (state["ch:running"] > 0) & (state.get("ch:running:age", np.full(len(heat), 60.0)) > 30)
    power = np.where(settled, units * state["ch/power_kw"], np.nan)
    law = "power = a x running + heat x (b + c x lift)"
    names = ("chiller_fixed_kw", "chiller_kw_per_kw", "chiller_kw_per_kw_k")
    return _linear(names, [state["ch:running"], heat, heat * lift], power, law)


def _tower(state: Mapping[str, FloatArray], it_kw: FloatArray) -> list[Parameter]:
    """``basin - wet bulb = a + b IT``: approach at full fan speed."""
    if any(name not in state for name in ("tower/supply_c", "wetbulb", "tower/fan_pct")):
        return []
    full = state["tower/fan_pct"] > 95.0
    approach = np.where(full, state["tower/supply_c"] - state["wetbulb"], np.nan)
    names = ("tower_approach_k", "tower_approach_k_per_mw")
    return _linear(
        names, [np.ones_like(it_kw), it_kw / 1e3], approach, "basin - wet bulb = a + b x IT, fan at full speed"
    )


def _linear(names: Sequence[str], columns: Sequence[FloatArray], target: FloatArray, law: str) -> list[Parameter]:
    fit = robust_lstsq(np.column_stack(list(columns)), target)
    if fit is None:
        return []
    values = zip(names, fit.beta.tolist(), fit.std.tolist(), strict=True)
    return [Parameter(name, value, std, law) for name, value, std in values]
