"""What the physics leaves over: boosted regression trees that vanish outside their training domain.

scikit-learn grows the trees; they are kept and evaluated as plain arrays, so a model file holds numbers and no code,
and a forecast needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from facility.records import FloatArray

ROUNDS = 250  # trees of each forest
_SETTINGS = {
    "learning_rate": 0.05,
    "max_leaf_nodes": 22,
    "min_samples_leaf": 50,
    "l2_regularization": 5.0,
    "max_features": 0.4,
    "early_stopping": False,
    "random_state": 0,
}
_BESIDE = 0.5  # of the domain's width: beyond the edge a tree repeats the edge; so far that is still believed
_FADE = 0.25  # of the width: further out by this much, the residual's weight is 1/e


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """Nodes of all trees in one table; ``roots`` are where each tree begins. A leaf points to itself."""

    roots: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: FloatArray
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    missing_left: NDArray[np.bool_]
    value: FloatArray
    depth: int
    baseline: float

    def predict(self, columns: FloatArray) -> FloatArray:
        """Value for each row of ``columns`` (n, features)."""
        total = np.full(len(columns), self.baseline)
        rows = np.arange(len(columns))
        for root in self.roots:
            node = np.full(len(columns), root)
            for _ in range(self.depth):
                value = columns[rows, self.feature[node]]
                goes_left = np.where(np.isnan(value), self.missing_left[node], value <= self.threshold[node])
                node = np.where(goes_left, self.left[node], self.right[node])
            total += self.value[node]
        return total


def grow(
    columns: FloatArray, target: FloatArray, losses: Sequence[str] = ("squared_error",), rounds: int = ROUNDS
) -> Trees:
    """Fits ``rounds`` trees to the rows with a finite target, for each loss, and gives their mean."""
    usable = np.isfinite(target)
    known = np.isfinite(columns[usable]).any(axis=0)  # scikit-learn cannot bin a column without a value
    columns = np.where(known, columns, 0.0)
    forests = []
    for loss in losses:
        model = HistGradientBoostingRegressor(loss=loss, max_iter=rounds, **_SETTINGS)
        forests.append(_plain(model.fit(columns[usable], target[usable])))
    return _mean_of(forests)


def _mean_of(forests: Sequence[Trees]) -> Trees:
    starts = np.cumsum([0, *(len(forest.value) for forest in forests)]).astype(np.int32)
    pairs = list(zip(forests, starts, strict=False))
    return Trees(
        roots=np.concatenate([forest.roots + start for forest, start in pairs]),
        feature=np.concatenate([forest.feature for forest in forests]),
        threshold=np.concatenate([forest.threshold for forest in forests]),
        left=np.concatenate([forest.left + start for forest, start in pairs]),
        right=np.concatenate([forest.right + start for forest, start in pairs]),
        missing_left=np.concatenate([forest.missing_left for forest in forests]),
        value=np.concatenate([forest.value for forest in forests]) / len(forests),
        depth=max(forest.depth for forest in forests),
        baseline=float(np.mean([forest.baseline for forest in forests])),
    )


def _plain(model: HistGradientBoostingRegressor) -> Trees:
    """The trees as arrays; `_predictors` is private to scikit-learn, so a test holds both against each other."""
    nodes = [stage[0].nodes for stage in model._predictors]
    roots = np.cumsum([0, *(len(tree) for tree in nodes[:-1])]).astype(np.int32)
    table = np.concatenate(nodes)
    own = np.arange(len(table), dtype=np.int32)
    base = np.repeat(roots, [len(tree) for tree in nodes])
    leaf = table["is_leaf"].astype(bool)
    return Trees(
        roots=roots,
        feature=np.where(leaf, 0, table["feature_idx"]).astype(np.int32),
        threshold=np.where(leaf, 0.0, table["num_threshold"]).astype(np.float64),
        left=np.where(leaf, own, base + table["left"]).astype(np.int32),
        right=np.where(leaf, own, base + table["right"]).astype(np.int32),
        missing_left=table["missing_go_to_left"].astype(bool),
        value=np.where(leaf, table["value"], 0.0),
        depth=int(table["depth"].max()),
        baseline=float(np.ravel(model._baseline_prediction)[0]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """The box of training inputs: the residual counts inside it and fades out beside it."""

    low: FloatArray
    high: FloatArray
    width: FloatArray  # by which a distance is measured

    @classmethod
    def of(cls, inputs: FloatArray, least_width: FloatArray) -> Domain:
        """Of the rows of ``inputs`` (n, k); an input that hardly moved is measured by its ``least_width`` (k,)."""
        low, high = np.nanquantile(inputs, 0.001, axis=0), np.nanquantile(inputs, 0.999, axis=0)
        return cls(low, high, np.maximum(high - low, np.maximum(least_width, 1e-9)))

    def weight(self, inputs: FloatArray) -> FloatArray:
        """1 inside, down to 0 far outside, of each row; a missing input counts as inside."""
        beyond = np.maximum(np.maximum(self.low - inputs, inputs - self.high), 0.0) / self.width
        outside = np.maximum(np.nan_to_num(beyond).max(axis=1, initial=0.0) - _BESIDE, 0.0)
        return np.asarray(np.exp(-((outside / _FADE) ** 2)))
