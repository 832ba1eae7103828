"""The joint environment: Gymnasium's own checks, pairing with the shadow, seeds, truncation, and no look ahead."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from apps.bench_env import bench_env
from facility.site import load_site
from scheduler.arena.controls import ACTIONS
from scheduler.arena.observe import OBSERVATIONS
from scheduler.arena.pool import Pool
from scheduler.arena.reward import PREFERENCES
from scheduler.arena.scenarios import Window
from tests.scheduler.arena_pool import DAYS, pool, window
from twin.plant import plant_control
from twin.signals import Series, Signals

pytest.importorskip("gymnasium", reason="the extra [train] is not installed")

from gymnasium.utils.env_checker import check_env

from scheduler.env import JointEnv, OneHall

HALLS = 4
STEPS = 96 * DAYS


def actions(seed: int, steps: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1.0, 1.0, (HALLS, len(ACTIONS))) for _ in range(steps)]


def rewards(seed: int, steps: int = 40) -> np.ndarray:
    env = JointEnv(pool(), HALLS)
    env.reset(seed=seed)
    return np.array([env.step(action)[1] for action in actions(0, steps)])


def test_gymnasium_accepts_a_hall() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*spec.*")  # it is not in a registry
        check_env(OneHall(lambda: JointEnv(pool(), 1)), skip_render_check=True)


def test_zero_action_is_the_shadow() -> None:
    for shield in (False, True):
        env = JointEnv(pool(shield=shield), HALLS)
        env.reset(seed=3)
        for _ in range(30):
            _, reward, *_ = env.step(np.zeros((HALLS, len(ACTIONS))))
            np.testing.assert_array_equal(reward, 0.0)


def test_the_same_seed_gives_the_same_rewards() -> None:
    np.testing.assert_array_equal(rewards(5), rewards(5))
    assert not np.array_equal(rewards(5), rewards(6))


def test_episodes_are_truncated_together_and_begun_anew() -> None:
    env = JointEnv(pool(), HALLS)
    seen, _ = env.reset(seed=1)
    assert seen.shape == (HALLS, len(OBSERVATIONS) + len(PREFERENCES))
    for index, action in enumerate(actions(1, STEPS)):
        seen, reward, terminated, truncated, info = env.step(action)
        assert env.observation_space.contains(seen)
        assert np.abs(seen).max() < 9.0  # no column counts jobs, GPUs or watts: all are of the order of one
        assert np.isfinite(reward).all()
        assert not terminated.any()
        assert truncated.all() == (index == STEPS - 1)
    assert info["_final_obs"].all()
    assert not np.array_equal(info["final_obs"], seen)


def test_waste_and_delay_are_punished_as_preferred() -> None:
    """Full power and warm nodes cost carbon; deferring everything for longer costs delay."""

    def total(action: dict[str, float], delay: float) -> float:
        env = JointEnv(pool(), 3)
        env.reset(seed=2)
        env._wish = replace(env._wish, carbon=np.ones(3), delay=np.full(3, delay))
        vector = np.array([action.get(name, 0.0) for name in ACTIONS])
        return float(np.sum([env.step(np.tile(vector, (3, 1)))[1] for _ in range(STEPS)]))

    wasteful = {"cap_compute": 1.0, "cap_memory": 1.0, "spare_nodes": 1.0, "log2_kappa": 1.0}
    patient = {"log2_kappa": -1.0, "log2_min_gpu_h": -1.0, "cap_compute": -1.0, "cap_memory": -1.0}
    assert total(wasteful, 0.1) < 0.0
    assert total(wasteful, 10.0) > total(wasteful, 0.1)
    assert total(patient, 10.0) < total(patient, 0.1)


def corrupted(series: Series, window_: Window, hours: int) -> Series:
    """Values from ``hours`` after the window's start on are absurd."""
    index = int((window_.start - series.start).total_seconds() / series.step_s) + hours
    value = series.value.copy()
    value[index:] = 7.0 * value[index:] + 100.0
    return replace(series, value=value)


def test_observations_know_nothing_of_what_is_to_come() -> None:
    hall, hours = load_site().hall, 12
    honest = window(0)
    signals = honest.signals
    assert signals.price is not None
    later = Signals(
        corrupted(signals.carbon, honest, hours),
        corrupted(signals.drybulb, honest, hours + 1),
        signals.rh,
        corrupted(signals.price, honest, hours + 48),  # day-ahead prices are public before
        signals.altitude_m,
    )

    def run(one: Window) -> np.ndarray:
        made = Pool.of(hall, [one], plant_control("rule", hall), steps=STEPS)
        env = JointEnv(made, HALLS)
        seen, _ = env.reset(seed=0)
        every = [seen]
        for action in actions(0, 4 * hours):
            every.append(env.step(action)[0])
        return np.array(every)

    np.testing.assert_array_equal(run(honest), run(replace(honest, signals=later)))


def test_the_benchmark_says_what_it_measured() -> None:
    told = list[float]()
    result = bench_env(load_site().hall, batch=4, steps=10, windows=1, progress=told.append)
    assert result["steps"] == 12  # whole rounds of the batch
    assert result["env_steps_per_s"] > 0.0
    assert result["flatness"] is None  # not two whole episodes
    assert (result["observations"], result["actions"]) == (len(OBSERVATIONS) + len(PREFERENCES), len(ACTIONS))
    assert told[-1] == 1.0
