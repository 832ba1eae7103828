"""Adaptive bands: they hold what they promise, follow a change, and look at nothing that is not known yet."""

from __future__ import annotations

import numpy as np
import pytest

from twin.forecasting.bands import adaptive_edges

ISSUES, LEADS = 1200, 12
ORIGIN = np.arange(ISSUES) * 6


def coverage(scores: np.ndarray[tuple[int, int], np.dtype[np.float64]], first: int, last: int) -> float:
    edges = adaptive_edges(scores, ORIGIN)
    part = slice(first, last)
    return float(np.mean((scores >= edges.low)[part] & (scores <= edges.high)[part]))


def test_nine_in_ten_lie_inside() -> None:
    scores = np.random.default_rng(0).standard_t(4, (ISSUES, LEADS))
    assert coverage(scores, 300, ISSUES) == pytest.approx(0.90, abs=0.01)


def test_a_doubled_spread_is_followed() -> None:
    scores = np.random.default_rng(1).normal(size=(ISSUES, LEADS))
    scores[600:] = 2.0 * scores[600:] + 0.5
    assert coverage(scores, 600, 960) == pytest.approx(0.90, abs=0.05)  # a quarter of a year with four issues a day


def test_scores_that_are_not_known_yet_are_not_looked_at() -> None:
    scores = np.random.default_rng(2).normal(size=(400, LEADS))
    other = scores.copy()
    hidden = ORIGIN[:400, None] + np.arange(LEADS) >= ORIGIN[300]
    other[hidden] = np.nan
    ours, theirs = adaptive_edges(scores, ORIGIN[:400]), adaptive_edges(other, ORIGIN[:400])
    assert ours.low[:301].tobytes() == theirs.low[:301].tobytes()
    assert ours.high[:301].tobytes() == theirs.high[:301].tobytes()


def test_no_band_from_a_handful_of_misses() -> None:
    edges = adaptive_edges(np.zeros((30, LEADS)), ORIGIN[:30])
    assert np.isnan(edges.low).all()
