"""Adaptive conformal bands: quantiles of the latest misses, lead by lead, at a level that follows the coverage seen.

A miss is the truth's distance from the forecast in log intensity, divided by the model's own width. Misses enter when
their truth is public. The level of either side is moved after each: up where the truth stayed inside, down where it did
not (Gibbs and Candes, "Adaptive conformal inference under distribution shift", NeurIPS 2021, with both sides apart).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from twin.forecasting.running import Index

MISS_SHARE = 0.10  # outside the band, both sides together
WINDOW = 1600  # newest misses of a lead, 400 days of four issues a day: every season has its own, and all count
LEAST = 40  # fewer misses give no band
PACE = 0.01  # by which one miss moves the level
LEVELS = (0.002, 0.25)  # a side's level stays within


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Edges of the band in widths, shape [issues, leads]; NaN where too few misses are known."""

    low: FloatArray
    high: FloatArray


def adaptive_edges(scores: FloatArray, origin: Index) -> Edges:
    """Edges of every issue from the ``scores`` (issues, leads) whose hour lies before the issue's ``origin``.

    Issues are in order of time; a score not known yet may hold anything, it is not looked at.
    """
    issues, leads = scores.shape
    low, high = np.full(scores.shape, np.nan), np.full(scores.shape, np.nan)
    level = np.full((2, leads), MISS_SHARE / 2.0)
    lead = np.arange(leads)
    seen = np.zeros(leads, np.int64)
    for issue in range(issues):
        mature = np.searchsorted(origin[:issue], origin[issue] - lead, side="left")
        _follow(level, scores, low, high, seen, mature)
        seen = mature
        low[issue], high[issue] = _edges(scores, mature, level)
    return Edges(low, high)


def _follow(
    level: FloatArray, scores: FloatArray, low: FloatArray, high: FloatArray, seen: Index, mature: Index
) -> None:
    """Move the levels by the misses that have become public, [seen, mature) of each lead."""
    for step in range(int((mature - seen).max(initial=0))):
        chosen = np.flatnonzero(seen + step < mature)
        row = seen[chosen] + step
        score, below, above = scores[row, chosen], low[row, chosen], high[row, chosen]
        judged = np.isfinite(score) & np.isfinite(below)
        at = chosen[judged]
        level[0, at] += PACE * (MISS_SHARE / 2.0 - (score[judged] < below[judged]))
        level[1, at] += PACE * (MISS_SHARE / 2.0 - (score[judged] > above[judged]))
    np.clip(level, *LEVELS, out=level)


def _edges(scores: FloatArray, mature: Index, level: FloatArray) -> tuple[FloatArray, FloatArray]:
    row = mature[None, :] - 1 - np.arange(WINDOW)[:, None]
    newest = np.where(row >= 0, scores[np.maximum(row, 0), np.arange(len(mature))[None, :]], np.nan)
    newest.sort(axis=0)  # NaN go last
    count = np.isfinite(newest).sum(axis=0)
    enough = count >= LEAST
    low, high = _ranked(newest, count, level[0]), _ranked(newest, count, 1.0 - level[1])
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def _ranked(ordered: FloatArray, count: Index, share: FloatArray) -> FloatArray:
    """The value of rank share (n + 1) of each column of n ordered values, interpolated."""
    rank = np.clip(share * (count + 1) - 1.0, 0.0, np.maximum(count - 1, 0))
    below = np.floor(rank).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    lead = np.arange(len(count))
    return np.asarray(ordered[below, lead] + (rank - below) * (ordered[above, lead] - ordered[below, lead]))
