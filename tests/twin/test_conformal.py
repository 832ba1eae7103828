"""Bands cover what they promise, adapt where errors change, and know no error before its target was measured."""

from __future__ import annotations

import numpy as np
import pytest

from twin.conformal import adaptive_band

RNG = np.random.default_rng(1)


def test_ninety_percent_are_covered_also_where_errors_grow() -> None:
    past = RNG.normal(0.0, 1.0, 500)
    errors = np.concatenate([RNG.normal(0.0, 1.0, 2000), RNG.normal(0.5, 3.0, 4000)])
    low, high = adaptive_band(errors, past, lag=7)
    inside = (errors >= low) & (errors <= high)
    assert 0.88 < inside[:2000].mean() < 0.92
    assert 0.87 < inside[2600:].mean() < 0.93
    assert (high - low)[-1] > 2.0 * (high - low)[0]


@pytest.mark.parametrize("lag", [1, 2, 13])
def test_an_error_is_not_known_before_its_target(lag: int) -> None:
    errors = RNG.normal(0.0, 1.0, 300)
    other = errors.copy()
    other[100:] = 1e9
    ours, theirs = (adaptive_band(values, _past(), lag) for values in (errors, other))
    for one, two in zip(ours, theirs, strict=True):
        assert one[: 100 + lag].tobytes() == two[: 100 + lag].tobytes()
        assert one[100 + lag :].tobytes() != two[100 + lag :].tobytes()


def _past() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(2).normal(0.0, 1.0, 200)


def test_missing_outcomes_keep_the_band() -> None:
    errors = np.full(100, np.nan)
    low, high = adaptive_band(errors, _past(), lag=3)
    assert np.isfinite(low).all()
    assert np.isfinite(high).all()
    assert (low < high).all()


def test_too_few_past_errors_are_refused() -> None:
    with pytest.raises(ValueError, match="5 past errors, need 20"):
        adaptive_band(np.zeros(10), np.zeros(5), lag=1)
