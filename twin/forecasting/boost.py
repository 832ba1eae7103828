"""Boosted trees of the carbon forecast: scikit-learn grows them, plain arrays keep and evaluate them."""

from __future__ import annotations

from dataclasses import dataclass

from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from facility.records import FloatArray
from twin.learned import Trees
from twin.learned import _plain as plain


@dataclass(frozen=True, slots=True)
class Growth:
    """How many trees, how large, and how much of each counts."""

    trees: int
    rate: float
    leaves: int = 20
    least_in_leaf: int = 40


def grow(columns: FloatArray, target: FloatArray, growth: Growth) -> tuple[Trees, FloatArray]:
    """Least-squares trees for ``target`` (n,) from ``columns`` (n, k), and what they give for the same rows, (n,)."""
    with threadpool_limits(limits=1, user_api="openmp"):  # on so few rows, threads mostly wait for one another
        return _grow(columns, target, growth)


def _grow(columns: FloatArray, target: FloatArray, growth: Growth) -> tuple[Trees, FloatArray]:
    model = HistGradientBoostingRegressor(
        max_iter=growth.trees,
        learning_rate=growth.rate,
        max_leaf_nodes=growth.leaves,
        min_samples_leaf=growth.least_in_leaf,
        max_features=0.4,
        l2_regularization=5.0,
        max_bins=128,
        early_stopping=False,
        random_state=0,
    ).fit(columns, target)
    return plain(model), model.predict(columns)
