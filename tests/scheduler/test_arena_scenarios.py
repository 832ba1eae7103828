"""Worlds from windows: forecasts as they were issued, scales from what was public, plants that differ."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from facility.errors import DataError
from facility.site import load_site
from scheduler.arena import Arena, ArenaFcfs, run
from scheduler.arena.pool import Draw, Pool, random_windows
from scheduler.arena.scales import Scales
from scheduler.arena.scenarios import (
    LEADS_H,
    persistence_issuer,
    plant_rows,
    profile_issuer,
    surroundings_of,
    world_of,
)
from tests.scheduler.arena_pool import DAYS, START, pool, signals, window
from twin.halls import batch, edited
from twin.plant import plant_control
from twin.signals import synthetic_signals
from twin.traces import synthetic_trace


def test_forecasts_are_those_issued_at_the_running_hour() -> None:
    windows = [window(0), window(30), window(7, "DE")]
    around = surroundings_of(windows, 96)
    assert around.carbon is not None
    assert around.price is not None
    for step in (0, 3, 4, 50):
        carbon, price = around.carbon.at(step), around.price.at(step)
        assert carbon.shape == (3, LEADS_H)
        for row, one in enumerate(windows):
            now = one.start + timedelta(hours=step // 4)
            issued = profile_issuer(one.signals.carbon, now)
            np.testing.assert_allclose(carbon[row], issued.value, rtol=1e-6)
            assert one.signals.price is not None
            np.testing.assert_allclose(price[row], persistence_issuer(one.signals.price, now).value, rtol=1e-5)


def test_without_a_price_there_is_none_not_zero() -> None:
    bare = replace(window(0), signals=replace(signals(), price=None))
    around = surroundings_of([bare, window(30)], 96)
    assert around.price is None
    assert around.price_usd_mwh is None
    assert Scales.of([bare, window(30)], 96).price_usd_mwh is None


def test_scales_are_the_public_means_of_the_week_before() -> None:
    one = window(30)
    scales = Scales.of([one], 96)
    carbon = one.signals.carbon
    for hour in (0, 5, 24):
        count = carbon.known_count(one.start + timedelta(hours=hour))
        assert scales.carbon_at(4 * hour)[0] == pytest.approx(carbon.value[count - 168 : count].mean())


def test_windows_that_are_not_covered_are_refused() -> None:
    hall = load_site().hall
    control = plant_control("rule", hall)
    with pytest.raises(DataError, match="every signal"):
        world_of(hall, [window(0)], control, steps=96 * 60)
    with pytest.raises(DataError, match="full hour"):
        world_of(hall, [replace(window(0), start=START + timedelta(minutes=20))], control, steps=96)
    with pytest.raises(DataError, match="days of signals"):
        random_windows([synthetic_signals("DE", START, 10.0)], synthetic_trace(), hall.gpus, 2, seed=0)


def test_random_windows_are_the_same_for_the_same_seed() -> None:
    grids = [signals(), signals("DE")]

    def drawn(seed: int) -> list[tuple[str, object, int]]:
        made = random_windows(grids, synthetic_trace(1, 200), 64, 6, seed, Draw(days=1))
        return [(one.signals.carbon.zone, one.start, len(one.jobs)) for one in made]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert {zone for zone, *_ in drawn(1)} == {"US-CAL-CISO", "DE"}


def test_windows_keep_to_their_part_of_the_signals() -> None:
    one, days = signals(), 1
    early = random_windows([one], synthetic_trace(1, 200), 64, 10, 0, Draw(days=days, part=(0.0, 0.6)))
    late = random_windows([one], synthetic_trace(1, 200), 64, 10, 0, Draw(days=days, tail_days=2, part=(0.6, 1.0)))
    assert max(window.start for window in early) + timedelta(days=days) < min(window.start for window in late)
    assert max(window.start for window in late) + timedelta(days=days + 2) <= one.end


def test_each_hall_of_a_pool_keeps_its_own_plant() -> None:
    """A pool of true plants, drawn with repeats, gives each hall what it has alone."""
    hall = load_site().hall
    poor = edited(hall, "chiller.rated_cop", 0.8 * hall.chiller.rated_cop)
    control = plant_control("legacy", hall)
    plants = batch([hall, poor])
    made = Pool.of(hall, [window(0), window(0)], control, steps=48, params=plants)
    world, _ = made.rows(np.array([1, 0, 1]))
    arena = Arena(world)
    for _ in range(40):
        account = arena.step(ArenaFcfs().decide(arena.view()))
    alone = Arena(world_of(poor, [window(0)], control, steps=48))
    for _ in range(40):
        single = alone.step(ArenaFcfs().decide(alone.view()))
    assert account.facility_w[0] == account.facility_w[2] == pytest.approx(single.facility_w[0], rel=1e-9)
    assert account.facility_w[0] > 1.001 * account.facility_w[1]
    assert plant_rows(plants, np.array([1])).chiller.rated_cop == pytest.approx(poor.chiller.rated_cop)


def test_the_shadow_of_a_pool_is_the_rule_on_its_windows() -> None:
    made = pool()
    assert made.shadow.carbon.shape == (96 * DAYS, len(made))
    assert all(np.isfinite(part).all() for part in (made.shadow.carbon, made.shadow.cost, made.shadow.delay))
    assert (made.shadow.delay <= 0.0).all()
    assert (made.shadow.heat <= 0.0).all()


def test_credit_of_all_work_is_paid_out_by_the_end() -> None:
    """Over a whole window with its drain what is credited is the worth of the jobs, whatever the policy."""
    from scheduler.arena.reward import Scorer
    from scheduler.arena.rule import QuantileRule

    hall = load_site().hall
    steps = 96 * (DAYS + 8)
    windows = [window(0), window(30)]
    world = world_of(hall, windows, plant_control("rule", hall), steps=steps)
    scales = Scales.of(windows, steps)
    paid_out = []
    for policy in (ArenaFcfs(), QuantileRule()):
        arena = Arena(world)
        scorer = Scorer(arena, scales)
        paid = np.zeros(2)

        def told(_: int, step: int, account: object, scorer: Scorer = scorer, paid: np.ndarray = paid) -> None:
            score = scorer.score(account)  # type: ignore[arg-type]
            unit = scorer._unit_kwh * scales.carbon_at(step)
            paid += score.carbon * unit + account.carbon_kg * 1e3  # type: ignore[attr-defined]

        run([arena], [policy], told=told)
        paid_out.append(paid)
    np.testing.assert_allclose(paid_out[0], paid_out[1], rtol=2e-3)  # what a pause loses is owed again
