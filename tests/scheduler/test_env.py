"""The training environment: pairing, truncation, and nothing of the future in an observation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from facility.site import load_site
from scheduler.carl import RESIDUALS
from scheduler.trial import STEP_S, STEPS_WEEK, Halls, World, utilisations
from twin.plant import rule
from twin.signals import Signals, synthetic_signals

pytest.importorskip("gymnasium", reason="the extra [train] is not installed")

from scheduler.env import INLET_LIMIT_C, PlantEnv

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


def test_carbon_after_now_changes_no_observation() -> None:
    real, now = signals(), 700  # a step of the world
    when = World.of(real).when(now)
    known = real.carbon.known_count(when)
    changed = real.carbon.value.copy()
    changed[known:] = 9.0e3
    other = replace(real, carbon=replace(real.carbon, value=changed))
    seen = []
    for world in (World.of(real), World.of(other)):
        halls = Halls(load_site().hall, world, rule(load_site().hall))
        halls.start(np.array([now - 10]), utilisations(1, np.random.default_rng(0)))
        rows = [halls.observe()]
        for _ in range(10):
            halls.step(np.zeros((1, 3)))
            rows.append(halls.observe())
        seen.append(np.array(rows))
    np.testing.assert_array_equal(seen[0], seen[1])


def test_the_public_mean_is_that_of_the_week_before() -> None:
    real = signals()
    world = World.of(real)
    for index in (0, 5, 999):
        known = real.carbon.known_at(world.when(index)).value
        assert world.public_g_kwh[index] == known[-1]
        assert world.public_mean_g_kwh[index] == pytest.approx(known[-168:].mean())
    assert world.start == START + timedelta(days=7)


def test_training_never_sees_the_unseen_weeks() -> None:
    world = World.of(signals())
    starts = world.training_starts(2000, np.random.default_rng(0))
    assert starts.max() + STEPS_WEEK <= world.split
    assert world.unseen_weeks().min() >= world.split


def test_loads_are_shares_that_wander() -> None:
    load = utilisations(200, np.random.default_rng(0))
    assert load.shape == (200, STEPS_WEEK)
    assert load.min() >= 0.05
    assert load.max() <= 1.0
    assert 0.4 < load.mean() < 0.7
    assert 0.01 < np.abs(np.diff(load, axis=1)).mean() < 0.05
    assert STEP_S == 900.0
