"""Weeks of real or made-up signals: nothing of the future in an observation, no unseen week in training."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from facility.site import load_site
from scheduler.trial import STEPS_WEEK, Halls, World, utilisations
from twin.plant import rule
from twin.signals import Signals, synthetic_signals

START = datetime(2023, 5, 1, tzinfo=UTC)


def signals() -> Signals:
    return synthetic_signals("US-CAL-CISO", START, 50.0, seed=2)


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
