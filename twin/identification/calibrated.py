"""A hall whose figures telemetry has told, with what is left unknown of each: the posterior that others draw from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from facility.errors import DataError
from facility.records import FloatArray
from facility.site import Hall, validate
from twin.identification.figures import PATHS, PRIORS, moved, value_of
from twin.identification.watch import Usual

TOLD = 0.5  # a figure is told where its spread is below this share of the prior's, or it has left the prior's band
_Z90 = 1.645


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure before and after; ``is_told`` where the recording says more of it than was known before."""

    path: str
    prior: float
    prior_low90: float
    prior_high90: float
    value: float
    low90: float
    high90: float
    is_told: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """One output on steps that the trial fit had not seen: root-mean-square errors of the hall before and after."""

    output: str
    mean: float
    rmse_before: float
    rmse_after: float
    bias_after: float  # mean of computed - measured


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedHall:
    """The hall before the fit, and the posterior N(theta, covariance) of the logarithms of its figures."""

    hall: Hall
    theta: FloatArray  # (len(PATHS),)
    covariance: FloatArray  # (len(PATHS), len(PATHS))
    figures: tuple[Figure, ...]
    comparison: tuple[Comparison, ...]
    outputs: tuple[str, ...]  # what the recording held of the physics
    notes: tuple[str, ...]
    usually: Mapping[str, Usual] = field(default_factory=dict)  # how the recording differs from it day by day

    @property
    def best(self) -> Hall:
        """The most likely hall."""
        return moved(self.hall, self.theta)

    def draws(self, size: int, seed: int) -> tuple[Hall, ...]:
        """The most likely hall, then draws of the posterior, ``size`` in all."""
        normal = np.random.default_rng(seed).standard_normal((max(size - 1, 0), len(PATHS)))
        factor = np.linalg.cholesky(self.covariance + 1e-12 * np.eye(len(PATHS)))
        return (self.best, *(moved(self.hall, self.theta + factor @ row) for row in normal))

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "hall": self.hall.model_dump(mode="json"),
            "paths": list(PATHS),
            "theta": self.theta.tolist(),
            "covariance": self.covariance.tolist(),
            "comparison": [asdict(row) for row in self.comparison],
            "outputs": list(self.outputs),
            "notes": list(self.notes),
            "usually": {name: asdict(value) for name, value in self.usually.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str) -> CalibratedHall:
        """Raises DataError where the figures are not those of this version."""
        if tuple(data["paths"]) != PATHS:
            raise DataError("other figures than this version knows", where=where, hint="calibrate again")
        hall = validate(Hall, data["hall"], where)
        theta, covariance = np.array(data["theta"]), np.array(data["covariance"])
        return cls(
            hall=hall,
            theta=theta,
            covariance=covariance,
            figures=figures_of(hall, theta, covariance),
            comparison=tuple(Comparison(**row) for row in data["comparison"]),
            outputs=tuple(data["outputs"]),
            notes=tuple(data["notes"]),
            usually={name: Usual(**value) for name, value in data["usually"].items()},
        )


def figures_of(hall: Hall, theta: FloatArray, covariance: FloatArray) -> tuple[Figure, ...]:
    """Every figure with its interval, in the order of ``PRIORS``."""
    spreads = np.sqrt(np.diag(covariance))
    best = moved(hall, theta)
    found = []
    for prior, spread in zip(PRIORS, spreads.tolist(), strict=True):
        before, value = value_of(hall, prior), value_of(best, prior)
        low, high = (float(np.clip(value * np.exp(sign * _Z90 * spread), prior.low, prior.high)) for sign in (-1, 1))
        wide = np.exp(_Z90 * prior.spread)
        is_told = spread < TOLD * prior.spread or not before / wide <= value <= before * wide
        found.append(Figure(prior.path, before, before / wide, before * wide, value, low, high, is_told))
    return tuple(found)
