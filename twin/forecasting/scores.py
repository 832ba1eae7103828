"""What forecasts are worth: error by day, pinball loss, coverage by quarter, and the saving that they find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from twin.forecasting.rolling import Issued

DAY = 24
QUANTILES = (0.05, 0.95)
WINDOWS = {"4h_in_24h": (4, 24), "24h_in_72h": (24, 72)}  # length of the work and its deadline, hours


@dataclass(frozen=True, slots=True)
class Score:
    """One forecaster over all issues; lists are by day ahead, None where there is no band or nothing to judge."""

    forecaster: str
    issues: int
    hours: int
    mape_pct: list[float | None]
    mae_g_kwh: list[float | None]
    bias_pct: list[float | None]
    pinball_g_kwh: list[float | None]  # mean of the losses of the 5, 50 and 95 % quantiles
    coverage_pct: list[float | None]  # of a band meant to hold 90 %
    coverage_by_quarter_pct: dict[str, list[float | None]]
    oracle_share_pct: dict[str, float | None]


def score(name: str, issued: Issued) -> Score:
    """Every figure of one forecaster; hours whose truth lies beyond the file are left out."""
    truth, value = issued.truth, issued.value
    miss = value - truth
    return Score(
        forecaster=name,
        issues=len(issued.issues),
        hours=int(np.isfinite(miss).sum()),
        mape_pct=_by_day(100.0 * np.abs(miss) / truth),
        mae_g_kwh=_by_day(np.abs(miss)),
        bias_pct=_by_day(100.0 * miss / truth),
        pinball_g_kwh=_by_day(_pinball(issued)),
        coverage_pct=_by_day(_inside(issued)),
        coverage_by_quarter_pct=_by_quarter(issued),
        oracle_share_pct={key: oracle_share(issued, *window) for key, window in WINDOWS.items()},
    )


def oracle_share(issued: Issued, length_h: int, within_h: int) -> float | None:
    """Share of the best possible saving that work of ``length_h`` hours makes, begun at the forecast's best hour.

    Saving is against a start at a random hour within the deadline; the best start is the one of perfect foresight.
    Both are summed over the issues, in per cent. None where nothing can be saved.
    """
    whole = np.isfinite(issued.truth[:, :within_h]).all(axis=1) & np.isfinite(issued.value[:, :within_h]).all(axis=1)
    truth, value = (_means(part[whole, :within_h], length_h) for part in (issued.truth, issued.value))
    if not len(truth):
        return None
    usual = truth.mean(axis=1)
    best = usual - truth.min(axis=1)
    found = usual - truth[np.arange(len(truth)), value.argmin(axis=1)]
    return round(float(100.0 * found.sum() / best.sum()), 1) if best.sum() > 0.0 else None


def _means(hours: FloatArray, length: int) -> FloatArray:
    """Mean over every run of ``length`` hours, shape [issues, starts]."""
    return np.asarray(np.lib.stride_tricks.sliding_window_view(hours, length, axis=1).mean(axis=2))


def _pinball(issued: Issued) -> FloatArray:
    """Mean pinball loss of low, value and high as the 5, 50 and 95 % quantiles, g/kWh; NaN where there is no band."""
    edges = ((QUANTILES[0], issued.low), (0.5, issued.value), (QUANTILES[1], issued.high))
    losses = []
    for share, edge in edges:
        over = issued.truth - edge
        losses.append(np.maximum(share * over, (share - 1.0) * over))
    return np.asarray(sum(losses) / len(losses))


def _inside(issued: Issued) -> FloatArray:
    """100 where the truth lay in the band, 0 where not, NaN where either is missing."""
    judged = np.isfinite(issued.truth) & np.isfinite(issued.low) & np.isfinite(issued.high)
    inside = (issued.low <= issued.truth) & (issued.truth <= issued.high)
    return np.where(judged, 100.0 * inside, np.nan)


def _by_quarter(issued: Issued) -> dict[str, list[float | None]]:
    inside = _inside(issued)
    names = np.array([f"{when.year}-Q{(when.month + 2) // 3}" for when in issued.issues.at])
    return {str(name): _by_day(inside[names == name]) for name in np.unique(names)}


def _by_day(hours: FloatArray) -> list[float | None]:
    return [_mean(hours[:, first : first + DAY]) for first in range(0, hours.shape[1], DAY)]


def _mean(part: FloatArray) -> float | None:
    known = part[np.isfinite(part)]
    return round(float(known.mean()), 2) if len(known) else None
