"""The training environment: pairing, truncation and the reward."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from facility.site import load_site
from scheduler.carl import RESIDUALS
from scheduler.trial import STEPS_WEEK, World
from twin.signals import Signals, synthetic_signals

pytest.importorskip("gymnasium", reason="the extra [train] is not installed")

from scheduler.plant_env import INLET_LIMIT_C, PlantEnv

START = datetime(2023, 5, 1, tzinfo=UTC)
HALLS = 3


def signals() -> Signals:
    return synthetic_signals("US-CAL-CISO", START, 50.0, seed=2)


def env(world: World | None = None) -> PlantEnv:
    return PlantEnv(load_site().hall, world or World.of(signals()), HALLS, "rule")


def actions(value: float) -> np.ndarray:
    return np.full((HALLS, len(RESIDUALS)), value)


def test_a_week_is_truncated_and_begun_anew() -> None:
    plant = env()
    seen, _ = plant.reset(seed=1)
    assert plant.observation_space.contains(seen)
    for index in range(STEPS_WEEK):
        seen, reward, terminated, truncated, info = plant.step(actions(0.0))
        assert not terminated.any()
        assert truncated.all() == (index == STEPS_WEEK - 1)
        np.testing.assert_array_equal(reward, 0.0)  # the shadow does the same
    assert info["_final_obs"].all()
    assert not np.array_equal(info["final_obs"], seen)
    assert plant.observation_space.contains(seen)


def test_the_same_seed_and_actions_give_the_same_rewards() -> None:
    def run(seed: int) -> np.ndarray:
        plant = env()
        plant.reset(seed=seed)
        rng = np.random.default_rng(0)
        return np.array([plant.step(rng.uniform(-1, 1, (HALLS, 3)))[1] for _ in range(20)])

    np.testing.assert_array_equal(run(4), run(4))
    assert not np.array_equal(run(4), run(5))


def test_reward_is_the_carbon_saved_against_the_shadow() -> None:
    plant = env()
    plant.reset(seed=2)
    for _ in range(30):  # much air, cold water: plainly wasteful
        _, reward, _, _, info = plant.step(np.tile([-1.0, 1.0, -1.0], (HALLS, 1)))
    assert np.all(info["carbon_kg"] > info["shadow_kg"])
    assert np.all(info["max_inlet_c"] < INLET_LIMIT_C)
    ratio = (info["shadow_kg"] - info["carbon_kg"]) / reward
    assert np.all(ratio > 0.0)
    assert np.all(reward < -0.5)


def test_a_hot_inlet_costs_more_than_it_saves() -> None:
    plant = env()
    plant.reset(seed=2)
    for _ in range(60):  # warm air and little of it
        _, reward, _, _, info = plant.step(np.tile([1.0, -1.0, 1.0], (HALLS, 1)))
    hot = info["max_inlet_c"] > INLET_LIMIT_C + 0.5
    assert hot.any()
    assert np.all(reward[hot] < 0.0)
