"""A lumped physical model of a building's overhead and inlets, with few parameters, from its telemetry.

Overhead (facility less IT power) follows the heat that reaches the plant, which is IT power behind one thermal mass:
``q = it / (1 + tau s)``. Fans follow the speed setpoint to the third power, pumps the pressure setpoint to 3/2, losses
the IT power, and the plant the heat and its product with the wet bulb (lift), for each machine that runs.
An inlet is the supply setpoint plus recirculation, which grows with the heat of its zone over fan speed.
The forecast adds the modelled change to the newest measurement: the last innovation is carried over the horizon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from twin.meters import Fit, robust_lstsq

_PRIOR_SHARE = 1e-3  # weight of the prior against the rows
TAUS_MIN = (5.0, 8.0, 12.0, 18.0, 27.0, 40.0)


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A fitted linear model; an input that is missing does not change the value."""

    names: tuple[str, ...]
    mean: FloatArray
    fit: Fit

    def change(self, now: Mapping[str, FloatArray], then: Mapping[str, FloatArray]) -> FloatArray:
        """Modelled value ``then`` less modelled value ``now``, (n,)."""
        total = 0.0
        for name, beta in zip(self.names, self.fit.beta, strict=True):
            if name in then and name in now:
                step = then[name] - now[name]
                total = total + beta * np.where(np.isfinite(step), step, 0.0)
        return np.asarray(total)


def fit_linear(columns: Mapping[str, FloatArray], target: FloatArray) -> Linear | None:
    """Robust least squares on the columns that are there and vary; a constant is added.

    Columns are scaled to unit spread and held by a weak normal prior, so that two that move together share what
    neither shows alone instead of growing against each other.
    """
    usable = {n: v for n, v in columns.items() if np.isfinite(v).mean() > 0.8 and _varies(v)}
    if not usable:
        return None
    mean = np.array([np.nanmean(value) for value in usable.values()])
    spread = np.array([np.nanstd(value) for value in usable.values()])
    scaled = [np.where(np.isfinite(v), v - m, 0.0) / s for v, m, s in zip(usable.values(), mean, spread, strict=True)]
    centre = float(np.nanmedian(target))
    prior = np.sqrt(_PRIOR_SHARE * np.isfinite(target).sum()) * np.eye(len(scaled), len(scaled) + 1)
    design = np.vstack([np.column_stack([*scaled, np.ones(len(target))]), prior])
    fit = robust_lstsq(design, np.concatenate([target - centre, np.zeros(len(scaled))]))
    if fit is None:
        return None
    covariance = fit.covariance[:-1, :-1] / np.outer(spread, spread)
    return Linear(tuple(usable), mean, Fit(fit.beta[:-1] / spread, covariance, fit.residual))


def _varies(values: FloatArray) -> bool:
    """Whether a column is away from its median for at least 2 % of the time."""
    finite = values[np.isfinite(values)]
    return bool(np.mean(np.abs(finite - np.median(finite)) > 1e-6) > 0.02)


def overhead_columns(
    it: FloatArray, heat: FloatArray, setpoints: Mapping[str, FloatArray], modes: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Inputs of the overhead: ``modes`` are machines running and the weather, held over the horizon."""
    wet = modes.get("wetbulb", np.full(len(it), np.nan))
    columns = {"it": it, "it^2": it**2 / 1e3, "heat": heat, "heat*wetbulb": heat * wet / 10.0, "wetbulb": wet}
    for name, value in modes.items():
        if name.endswith(":running"):
            columns |= {name: value, f"heat*{name}": heat * value / 100.0, f"wetbulb*{name}": wet * value / 10.0}
    for name, value in setpoints.items():
        if name.endswith("_pct"):
            columns[f"{name}^3"] = (value / 100.0) ** 3
        elif name.endswith("_kpa"):
            columns[f"{name}^1.5"] = (value / 100.0) ** 1.5
        else:
            columns |= {name: value, f"heat*{name}": heat * value / 100.0}
    return columns


def inlet_columns(heat: FloatArray, setpoints: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Inputs of one inlet: setpoints and the heat of its zone over fan speed."""
    columns = {"heat": heat, "heat^2": heat**2 / 1e2}
    for name, value in setpoints.items():
        columns[name] = value
        if name.endswith("_pct"):
            columns |= {
                f"heat/{name}": heat / np.maximum(value, 20.0),
                f"heat^2/{name}": (heat / np.maximum(value, 20.0)) ** 2,
            }
    return columns
