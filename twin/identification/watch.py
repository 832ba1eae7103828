"""Has the building changed since it was calibrated? Its meters against the calibrated hall, day by day.

Daily means of measured less computed are standardised by those of the training window and summed in two cumulative sums
(Page, Biometrika 41, 1954): reference half a spread, alarm at eight, which a building that stays as it was passes less
than once in ten thousand days and output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from twin.identification.observed import OUTPUTS
from twin.identification.operation import STEP_S, Operation

DAY = round(86_400.0 / STEP_S)  # steps
REFERENCE, ALARM = 0.5, 8.0  # in spreads
LEAST_SHARE = 0.25  # of a day's steps must be known
LEAST_SPREAD, LEAST_SPREAD_K = 0.01, 0.1  # of daily means: share of the power (class 1 meters), kelvin


@dataclass(frozen=True, slots=True)
class Usual:
    """How an output usually differs from the calibrated hall: mean and spread of daily means, measured - computed."""

    mean: float
    spread: float


@dataclass(frozen=True, slots=True)
class Drift:
    """An output that has left the calibrated hall for good."""

    output: str
    since_step: int  # of the operation: when the sum began to grow
    alarm_step: int
    change: float  # mean since then, beyond what is usual, W or K
    change_pct: float | None  # of what the hall computes; None for temperatures


def daily_misses(
    measured: FloatArray, computed: FloatArray, known: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> FloatArray:
    """Mean of measured - computed of each whole day, NaN where too little of it is known; each argument (T,)."""
    days = len(measured) // DAY
    miss = np.where(known, measured - computed, np.nan)[: days * DAY].reshape(days, DAY)
    count = np.isfinite(miss).sum(axis=1)
    total = np.where(np.isfinite(miss), miss, 0.0).sum(axis=1)
    return np.where(count >= LEAST_SHARE * DAY, total / np.maximum(count, 1), np.nan)


def usual(
    measured: Mapping[str, FloatArray],
    computed: Mapping[str, FloatArray],
    run: Operation,
    later: Mapping[str, float] | None = None,
) -> dict[str, Usual]:
    """Of every output with a week of days.

    No spread is smaller than what the meters are good for, or than ``later``: by how much a hall fitted to the first of
    the days was off on the days after them, when nothing had changed but weather and load.
    """
    found = {}
    for name, values in measured.items():
        days = daily_misses(values, computed[name], run.known)
        days = days[np.isfinite(days)]
        if len(days) >= 7:
            least = max(_floor(name, computed[name]), (later or {}).get(name, 0.0))
            found[name] = Usual(float(days.mean()), max(float(days.std(ddof=1)), least))
    return found


def _floor(name: str, computed: FloatArray) -> float:
    return LEAST_SPREAD_K if name.endswith("C") else LEAST_SPREAD * max(float(np.mean(np.abs(computed))), 1.0)


def watch(
    measured: Mapping[str, FloatArray],
    computed: Mapping[str, FloatArray],
    run: Operation,
    usually: Mapping[str, Usual],
) -> list[Drift]:
    """Outputs that drift over the days of ``run``, in the order of ``OUTPUTS``; no day looks at a later one."""
    found = []
    for name in OUTPUTS:
        if name in measured and name in usually:
            days = daily_misses(measured[name], computed[name], run.known)
            drift = _page(name, days, usually[name], computed[name])
            if drift is not None:
                found.append(drift)
    return found


def _page(name: str, days: FloatArray, usually: Usual, computed: FloatArray) -> Drift | None:
    above = below = 0.0
    began = {1: 0, -1: 0}
    for day, miss in enumerate(days):
        if not np.isfinite(miss):
            continue
        z = (miss - usually.mean) / usually.spread
        if above == 0.0:
            began[1] = day
        if below == 0.0:
            began[-1] = day
        above, below = max(0.0, above + z - REFERENCE), max(0.0, below - z - REFERENCE)
        if max(above, below) > ALARM:
            since = began[1 if above > below else -1]
            change = float(np.nanmean(days[since:])) - usually.mean
            level = float(np.mean(computed[since * DAY :]))
            share = None if name.endswith("C") or not level else 100.0 * change / level
            return Drift(name, since * DAY, (day + 1) * DAY, change, share)
    return None
