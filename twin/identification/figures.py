"""Figures of a hall that telemetry may tell, how well they are known before, and how a vector of them makes a hall.

A figure x is searched as theta = ln(x / x0) with the prior theta ~ N(0, spread^2); x0 is that of the site file, or of
the reference hall scaled to the recording.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from facility.site import Hall
from twin.halls import edited, figure

_RECIRCULATION = "room.recirculation"  # best and worst rack move together


@dataclass(frozen=True, slots=True)
class Prior:
    """One figure: ``spread`` is the standard deviation of its logarithm; ``low`` and ``high`` are hard limits."""

    path: str
    spread: float
    low: float = 0.0
    high: float = np.inf


PRIORS = (
    Prior("crah.rated_airflow_m3_s", 0.3),
    Prior("crah.rated_fan_w", 0.5),
    Prior("crah.fan_exponent", 0.15, 1.5, 3.5),
    Prior("crah.static_share", 0.7, 0.0, 0.6),
    Prior("crah.coil_ua_w_k", 0.4),
    Prior("chilled_water.volume_m3", 0.6),
    Prior("chilled_water.pump_rated_w", 0.5),
    Prior("chilled_water.pump_exponent", 0.3, 0.5, 3.5),
    Prior("economizer.effectiveness", 0.15, 0.2, 0.98),
    Prior("chiller.rated_cop", 0.25, 2.0, 12.0),
    Prior("chiller.no_load_share", 0.5, 0.0, 0.5),
    Prior("tower.design_approach_k", 0.4),
    Prior("tower.fan_rated_w", 0.5),
    Prior("tower.fan_exponent", 0.15, 1.5, 3.5),
    Prior("tower.pump_rated_w", 0.5),
    Prior("ups.no_load", 0.5, 0.0, 0.1),
    Prior("ups.proportional", 0.7, 0.0, 0.1),
    Prior("ups.square", 0.7, 0.0, 0.1),
    Prior("pdu.no_load", 0.7, 0.0, 0.05),
    Prior("pdu.proportional", 0.7, 0.0, 0.05),
    Prior("pdu.square", 0.7, 0.0, 0.05),
    Prior("room.thermal_mass_j_k", 0.7),
    Prior("room.envelope_ua_w_k", 0.7),
    Prior("room.bypass", 0.7, 0.0, 0.6),
    Prior(_RECIRCULATION, 0.7, 0.0, 0.6),
    Prior("room.aux_w", 0.7),
    Prior("node.fans.rated_airflow_m3_s", 0.3),
)
PATHS = tuple(prior.path for prior in PRIORS)
SPREADS: FloatArray = np.array([prior.spread for prior in PRIORS])


def value_of(hall: Hall, prior: Prior) -> float:
    """The figure of ``prior`` in ``hall``; of recirculation the worst rack's."""
    return figure(hall, "room.recirculation_worst" if prior.path == _RECIRCULATION else prior.path)


def moved(hall: Hall, theta: FloatArray) -> Hall:
    """``hall`` with every figure times exp(theta), held to its limits; ``theta`` is (len(PRIORS),)."""
    for prior, shift in zip(PRIORS, theta.tolist(), strict=True):
        old = value_of(hall, prior)
        new = float(np.clip(old * np.exp(shift), prior.low, prior.high))
        if prior.path == _RECIRCULATION:
            best = min(hall.room.recirculation_best * (new / old if old else 1.0), new)
            hall = edited(edited(hall, "room.recirculation_best", best), "room.recirculation_worst", new)
        else:
            hall = edited(hall, prior.path, new)
    return hall
