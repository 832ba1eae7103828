"""The learned residual: the same numbers as scikit-learn without its code, and nothing outside its domain."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from facility.records import FloatArray
from twin.learned import _SETTINGS, Domain, Trees
from twin.learned import grow as grow_many

RNG = np.random.default_rng(3)
COLUMNS = RNG.normal(0.0, 1.0, (3000, 6))
COLUMNS[RNG.random(COLUMNS.shape) < 0.1] = np.nan
TARGET = np.nan_to_num(COLUMNS[:, 0]) ** 2 + np.nan_to_num(COLUMNS[:, 1], nan=3.0) + RNG.normal(0.0, 0.1, 3000)


ROUNDS = 30


def grow(columns: FloatArray, target: FloatArray, losses: tuple[str, ...] = ("squared_error",)) -> Trees:
    return grow_many(columns, target, losses, ROUNDS)


def test_plain_trees_give_what_scikit_learn_gives() -> None:
    model = HistGradientBoostingRegressor(max_iter=ROUNDS, **_SETTINGS).fit(COLUMNS, TARGET)
    ours = grow(COLUMNS, TARGET).predict(COLUMNS)
    assert np.abs(ours - model.predict(COLUMNS)).max() < 1e-9


def test_two_losses_give_their_mean() -> None:
    parts = [grow(COLUMNS, TARGET, (loss,)).predict(COLUMNS) for loss in ("squared_error", "absolute_error")]
    both = grow(COLUMNS, TARGET, ("squared_error", "absolute_error")).predict(COLUMNS)
    assert np.abs(both - np.mean(parts, axis=0)).max() < 1e-9


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    trees = grow(COLUMNS, TARGET)
    assert trees.predict(COLUMNS)[:10].tobytes() == trees.predict(COLUMNS[:10]).tobytes()


def test_rows_without_a_target_teach_nothing() -> None:
    target = TARGET.copy()
    target[1500:] = np.nan
    assert (
        grow(COLUMNS, target).predict(COLUMNS).tobytes()
        == grow(COLUMNS[:1500], TARGET[:1500]).predict(COLUMNS).tobytes()
    )


def test_the_weight_is_one_inside_and_nothing_far_outside() -> None:
    domain = Domain.of(RNG.uniform(0.0, 10.0, (5000, 2)), np.array([1.0, 1.0]))
    weight = domain.weight(np.array([[5.0, 5.0], [12.0, 5.0], [5.0, 20.0], [5.0, -1e6], [np.nan, 5.0]]))
    assert weight[0] == weight[1] == weight[4] == 1.0
    assert weight[2] < 0.05
    assert weight[3] == 0.0


def test_an_input_that_hardly_moved_is_measured_by_its_least_width() -> None:
    still = Domain.of(np.full((100, 1), 20.0), np.array([8.0]))
    assert still.weight(np.array([[21.0]]))[0] == 1.0
    assert still.weight(np.array([[40.0]]))[0] < 0.01


def test_a_column_without_a_value_is_no_obstacle() -> None:
    columns = COLUMNS.copy()
    columns[:, 4] = np.nan
    assert np.isfinite(grow(columns, TARGET).predict(columns)).all()
