"""Bands that adapt: quantiles of the newest forecast errors, with the level itself corrected by what was missed.

Adaptive conformal inference (Gibbs and Candes, NeurIPS 2021) over a rolling window of signed errors. A band at issue i
knows only the errors of forecasts whose target had been measured by then.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from facility.records import FloatArray

WINDOW = 1152  # issues, four days at one each five minutes
_RATE = 0.005  # step of the level at each miss; larger ones ran into the limits at an hour ahead
_LEVELS = (0.005, 0.2)  # range of the miss rate of one side


def adaptive_band(
    errors: FloatArray, past: FloatArray, lag: int, miss: float = 0.1, window: int = WINDOW
) -> tuple[FloatArray, FloatArray]:
    """Lower and upper offset (n,) to the mean of ``n`` forecasts.

    ``errors`` (n,) are outcome minus mean, NaN where nothing was measured; ``past`` errors come before the first issue
    (from validation), newest last; the error of issue j is known from issue ``j + lag`` on. ``miss`` is shared equally
    by both sides.
    """
    start = past[np.isfinite(past)][-window:]
    if len(start) < 20:
        raise ValueError(f"{len(start)} past errors, need 20 for a band")
    history = np.concatenate([np.resize(start, window), errors[: max(len(errors) - lag, 0)]])
    windows = sliding_window_view(history, window)[: len(errors)]
    low, high = np.empty(len(errors)), np.empty(len(errors))
    alpha = np.array([miss / 2.0, miss / 2.0])
    for i in range(len(errors)):
        ordered = np.sort(windows[max(i - lag + 1, 0)])  # NaN go last
        count = int(np.isfinite(ordered).sum())
        j = i - lag
        if j >= 0 and np.isfinite(errors[j]):
            missed = np.array([errors[j] < low[j], errors[j] > high[j]])
            alpha = np.clip(alpha + _RATE * (miss / 2.0 - missed), *_LEVELS)
        if count < 20:
            low[i], high[i] = (low[i - 1], high[i - 1]) if i else (start.min(), start.max())
            continue
        low[i] = _quantile(ordered, count, alpha[0])
        high[i] = _quantile(ordered, count, 1.0 - alpha[1])
    return low, high


def _quantile(ordered: FloatArray, count: int, level: float) -> float:
    """Conformal quantile: the rank is taken of count + 1, outward."""
    rank = level * (count + 1)
    at = np.ceil(rank) if level > 0.5 else np.floor(rank)
    return float(ordered[int(np.clip(at - 1, 0, count - 1))])
