"""The straight part of the learned forecast: ridge regression, which goes on where trees repeat their last leaf."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray

SHRINK = 1000.0  # ridge penalty on standardised columns
FARTHEST = 4.0  # standard deviations: beyond them an input counts as this far out
HOURS = 24


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Coefficients of standardised columns, each alone and times the lead, and one profile by hour likewise."""

    hour: int  # which column holds the local hour
    lead: int  # which one the hours ahead
    mean: FloatArray
    scale: FloatArray
    reach: float  # the largest lead, by which leads are measured
    weight: FloatArray
    level: float

    def predict(self, columns: FloatArray) -> FloatArray:
        """Value for each row of ``columns`` (n, k); a missing input counts as its mean."""
        design = _design(columns, self.hour, self.lead, self.mean, self.scale, self.reach)
        return np.asarray(design @ self.weight + self.level)


def straight(columns: FloatArray, target: FloatArray, hour: int, lead: int) -> Line:
    """Ridge regression of ``target`` (n,) on ``columns`` (n, k)."""
    present = np.isfinite(columns)
    count = np.maximum(present.sum(axis=0), 1)
    mean = np.where(present, columns, 0.0).sum(axis=0) / count
    variance = np.where(present, columns - mean, 0.0) ** 2
    scale = np.sqrt(variance.sum(axis=0) / count)
    scale = np.where(scale > 1e-9, scale, 1.0)
    reach = max(float(columns[:, lead].max()), 1.0)
    design = _design(columns, hour, lead, mean, scale, reach)
    middle, level = design.mean(axis=0), float(target.mean())
    centred = design - middle
    gram = centred.T @ centred + SHRINK * np.eye(centred.shape[1])
    weight = np.linalg.solve(gram, centred.T @ (target - level))
    return Line(hour, lead, mean, scale, reach, weight, level - float(middle @ weight))


def _design(columns: FloatArray, hour: int, lead: int, mean: FloatArray, scale: FloatArray, reach: float) -> FloatArray:
    """Shape [n, 2 k + 48]."""
    standard = np.clip(np.where(np.isfinite(columns), (columns - mean) / scale, 0.0), -FARTHEST, FARTHEST)
    profile = np.eye(HOURS)[columns[:, hour].astype(np.int64)]
    both = np.hstack([standard, profile])
    return np.hstack([both, both * (columns[:, lead] / reach)[:, None]])
