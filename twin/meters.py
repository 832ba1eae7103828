"""Makes the meters of a building agree: gains of power meters from what must balance.

Three balances need no knowledge of the building: the register of the utility meter counts what its power reading
integrates to; what leaves the UPS is what the PDUs meter plus a transformer's loss (constant plus a square of the load:
core and copper, no proportional part); zones with far more air than they need differ by their sensors alone.
Each says how two instruments differ, not which one errs: the difference is shared by their prior uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray

METER_STD = 0.005  # of a power meter's gain, IEC 62053-22 class 0.5 with its transformers
SENSOR_STD_K = 0.35  # of an air temperature sensor in place (thermistor, +-0.5 K at 90 %)
_ZONE_STD_K = 0.25  # assumed: by how much inlets differ in truth where air is plenty
_MAX_GAIN = 0.03  # a larger disagreement is a fault or another scope, not a gain


@dataclass(frozen=True, slots=True)
class Gain:
    """A factor by which a reading is multiplied, with its standard uncertainty."""

    value: float = 1.0
    std: float = METER_STD


def register_gain(ts_h: FloatArray, register_kwh: FloatArray, power_kw: FloatArray) -> Gain:
    """Gain of a power reading against the register of the same meter.

    ``power_kw`` is the mean power of the interval that ends at each ``ts_h``, NaN where it is not whole.
    The register is trusted (billing). Without at least 200 usable intervals nothing is corrected.
    """
    hours, counted = np.diff(ts_h), np.diff(register_kwh)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = counted / (hours * power_kw[1:])
        ratio = ratio[np.isfinite(ratio) & (np.abs(ratio - 1.0) < _MAX_GAIN) & (hours < 1.0)]
    if len(ratio) < 200:
        return Gain()
    middle = float(np.median(ratio))
    spread = 1.4826 * float(np.median(np.abs(ratio - middle)))
    return Gain(middle, max(1.25 * spread / np.sqrt(len(ratio)), 2e-4))


def pdu_gain(ups_kw: FloatArray, it_kw: FloatArray) -> Gain:
    """Gain of the sum of the PDUs against the UPS output, of which both are equally uncertain.

    Fits ``ups = constant + gain x it + copper x it^2`` robustly and gives IT half of the gain.
    """
    fit = robust_lstsq(np.column_stack([np.ones_like(it_kw), it_kw, it_kw**2]), ups_kw)
    if fit is None:
        return Gain()
    difference = float(fit.beta[1]) - 1.0
    if abs(difference) > _MAX_GAIN or fit.std[1] > METER_STD:
        return Gain()
    return Gain(1.0 + 0.5 * difference, METER_STD / np.sqrt(2.0))


def inlet_offsets(above_supply_k: FloatArray, air_ratio: FloatArray) -> FloatArray:
    """Offset of each inlet sensor, kelvin, to be taken off; zero where it cannot be told.

    ``above_supply_k`` (T, N) is inlet over supply air, ``air_ratio`` (T, N) IT power over fan speed of the same zone.
    Where air is most plenty (the lowest 10 % of the ratio) recirculation vanishes and inlets of one height agree.
    """
    count = above_supply_k.shape[1]
    floor = np.full(count, np.nan)
    for column in range(count):
        ratio, above = air_ratio[:, column], above_supply_k[:, column]
        both = np.isfinite(ratio) & np.isfinite(above)
        if both.sum() >= 1000:
            plenty = both & (ratio <= np.quantile(ratio[both], 0.1))
            floor[column] = np.median(above[plenty])
    if np.isfinite(floor).sum() < 3:
        return np.zeros(count)
    trust = SENSOR_STD_K**2 / (SENSOR_STD_K**2 + _ZONE_STD_K**2)
    return np.asarray(np.nan_to_num(trust * (floor - np.nanmedian(floor))))


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A robust linear fit: coefficients, their standard errors and covariance, and the residual's spread."""

    beta: FloatArray
    covariance: FloatArray
    residual: float

    @property
    def std(self) -> FloatArray:
        """Standard error of each coefficient."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))


def robust_lstsq(design: FloatArray, target: FloatArray, correlated: float = 60.0) -> Fit | None:
    """Least squares, rows beyond four spreads left out, with the Laplace covariance of the coefficients.

    Residuals a minute apart are alike: the covariance is inflated by ``correlated``, the rows that say one thing.
    None where there are fewer rows than five times the columns, or the columns do not tell apart.
    """
    kept = np.isfinite(design).all(axis=1) & np.isfinite(target)
    usable = kept.copy()
    scale = np.maximum(np.abs(design[usable]).max(axis=0, initial=0.0), 1e-12)
    beta, spread = np.zeros(design.shape[1]), 0.0
    for _ in range(6):
        if kept.sum() < 5 * design.shape[1]:
            return None
        beta = np.linalg.lstsq(design[kept] / scale, target[kept], rcond=1e-8)[0] / scale
        away = np.where(usable, np.abs(target - np.where(usable[:, None], design, 0.0) @ beta), np.inf)
        spread = 1.4826 * float(np.median(away[kept]))
        kept = away <= max(4.0 * spread, 1e-9)
    normal = (design[kept] / scale).T @ (design[kept] / scale)
    inverse = np.linalg.pinv(normal, rcond=1e-10)
    return Fit(beta, inverse * spread**2 * correlated / np.outer(scale, scale), spread)
