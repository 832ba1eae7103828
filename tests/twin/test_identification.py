"""Figures of a hall found out from its operation: known ones are recovered, and every drawn hall keeps the physics."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from facility.records import FloatArray
from tests.twin.halls import hall, outside, random_action, random_inputs, setpoints
from twin.air import Weather
from twin.hall import HallParams, HallState, steady, step
from twin.halls import batch, edited
from twin.identification import CalibratedHall
from twin.identification.calibrated import figures_of
from twin.identification.figures import PATHS, PRIORS, SPREADS, moved
from twin.identification.fit import posterior
from twin.identification.observed import OUTPUTS, OVERHEAD
from twin.identification.operation import Operation
from twin.identification.replay import replay
from twin.identification.watch import usual, watch
from twin.part_load import settle, uniform_inputs
from twin.plant import plant_control

DAYS, STEPS = 8, 8 * 96
SHARES = ("crah.fan_exponent", "ups.no_load", "chiller.rated_cop", "crah.rated_fan_w", "tower.fan_rated_w")


def operated(rng: np.random.Generator, steps: int = STEPS) -> Operation:
    """Load that steps and swings, weather of mild and hot days, setpoints that an operator moves every few hours."""
    hour = np.arange(steps) / 4.0
    share = (
        0.55 + 0.2 * np.sin(2 * np.pi * hour / 24.0) + 0.2 * np.repeat(rng.uniform(-1, 1, steps // 8 + 1), 8)[:steps]
    )
    dry = 20.0 + 8.0 * np.sin(2 * np.pi * (hour / 24.0 - 0.3)) + 4.0 * np.sin(2 * np.pi * hour / 170.0)
    weather = Weather.of(dry, np.clip(60.0 - 1.5 * (dry - 20.0), 15.0, 95.0))

    def moves(low: float, high: float, every: int) -> FloatArray:
        return np.repeat(rng.uniform(low, high, steps // every + 1), every)[:steps]

    action = setpoints(
        steps,
        supply_air_c=moves(19.0, 25.0, 20),
        fan_speed=moves(0.45, 1.0, 12),
        chw_supply_c=moves(8.0, 16.0, 28),
        chw_flow=moves(0.6, 1.0, 16),
        economizer=np.round(moves(0.0, 1.0, 44)),
        tower_c=moves(12.0, 22.0, 24),
    )
    it_w = np.clip(share, 0.15, 1.0)[:, None] * np.linspace(8e3, 12e3, 4)
    return Operation(it_w, weather, action, np.ones(steps, dtype=np.bool_))


@pytest.fixture(scope="module")
def told() -> tuple[Operation, dict[str, FloatArray], FloatArray]:
    """An operation, what noisy and slow meters show of a hall that is not the configured one, and how it differs."""
    rng = np.random.default_rng(5)
    run, truth = operated(rng), rng.uniform(-1.0, 1.0, len(PATHS)) * SPREADS
    shown = replay([moved(hall(), truth)], run, list(OUTPUTS))
    seen = {}
    for name, values in shown.items():
        lagged = 0.9 * values[:, 0] + 0.1 * np.concatenate([values[:1, 0], values[:-1, 0]])
        noise = 0.1 if name.endswith("C") else 0.005 * lagged.mean()
        seen[name] = lagged + rng.normal(0.0, noise, len(lagged))
    del seen["mechanical plant, W"]
    return run, seen, truth


@pytest.fixture(scope="module")
def calibrated(told: tuple[Operation, dict[str, FloatArray], FloatArray]) -> CalibratedHall:
    run, seen, _ = told
    theta, covariance = posterior(hall(), run, seen)
    return CalibratedHall(hall(), theta, covariance, figures_of(hall(), theta, covariance), (), tuple(seen), ())


def test_known_figures_are_recovered_within_their_intervals(
    told: tuple[Operation, dict[str, FloatArray], FloatArray], calibrated: CalibratedHall
) -> None:
    truth = figures_of(hall(), told[2], np.zeros((len(PATHS), len(PATHS))))
    found = {one.path: (one, true.value) for one, true in zip(calibrated.figures, truth, strict=True)}
    inside = [one.low90 <= true <= one.high90 for one, true in found.values()]
    assert np.mean(inside) >= 0.75  # of 90 % intervals of 27 figures, with meters that lag
    for path in SHARES:
        one, true = found[path]
        assert one.is_told
        assert one.value == pytest.approx(true, rel=0.15), path


def test_later_days_are_foretold_much_better_than_before(
    told: tuple[Operation, dict[str, FloatArray], FloatArray], calibrated: CalibratedHall
) -> None:
    later = operated(np.random.default_rng(6), 3 * 96)
    halls = [moved(hall(), told[2]), hall(), calibrated.best]
    shown = replay(halls, later, [OVERHEAD, "hottest inlet, C"])
    for values in shown.values():
        before, after = (np.sqrt(np.mean((values[:, which] - values[:, 0]) ** 2)) for which in (1, 2))
        assert after < 0.25 * before


def test_what_the_recording_does_not_hold_keeps_its_prior(
    told: tuple[Operation, dict[str, FloatArray], FloatArray],
) -> None:
    run, seen, _ = told
    only = {name: seen[name] for name in ("air handlers' fans, W", "UPS loss, W")}
    theta, covariance = posterior(hall(), run, only)
    found = {one.path: one for one in figures_of(hall(), theta, covariance)}
    assert found["crah.rated_fan_w"].is_told
    for path in ("chiller.rated_cop", "tower.fan_rated_w", "room.thermal_mass_j_k", "economizer.effectiveness"):
        assert not found[path].is_told
        assert found[path].value == pytest.approx(found[path].prior, rel=0.05)


def test_steps_that_are_not_known_are_not_looked_at(
    told: tuple[Operation, dict[str, FloatArray], FloatArray],
) -> None:
    run, seen, _ = told
    fans = {"air handlers' fans, W": seen["air handlers' fans, W"].copy()}
    dark = np.arange(STEPS) % 50 < 10
    theta, _ = posterior(hall(), replace(run, known=~dark), fans)
    fans["air handlers' fans, W"][dark] = 1e6
    again, _ = posterior(hall(), replace(run, known=~dark), fans)
    assert theta.tobytes() == again.tobytes()


def test_it_travels_as_json(calibrated: CalibratedHall) -> None:
    again = CalibratedHall.from_json(json.loads(json.dumps(calibrated.to_json())), "card")
    assert again.best == calibrated.best
    assert again.draws(5, 1) == calibrated.draws(5, 1)


def test_a_change_of_the_building_is_alarmed_and_named_and_none_where_there_is_none(
    told: tuple[Operation, dict[str, FloatArray], FloatArray], calibrated: CalibratedHall
) -> None:
    truth, outputs = moved(hall(), told[2]), [name for name in OUTPUTS if name != "mechanical plant, W"]
    rng = np.random.default_rng(8)
    run = operated(rng, 24 * 96)
    fouled = edited(truth, "crah.rated_fan_w", 1.15 * truth.crah.rated_fan_w)
    shown = replay([truth, fouled, calibrated.best], run, outputs)
    noisy = {name: values[:, :2] * rng.normal(1.0, 0.005, (len(run), 2)) for name, values in shown.items()}
    computed = {name: values[:, 2] for name, values in shown.items()}
    week = run.part(0, 10 * 96)
    usually = usual(
        {name: values[: 10 * 96, 0] for name, values in noisy.items()},
        {name: values[: 10 * 96] for name, values in computed.items()},
        week,
    )
    assert set(usually) == set(outputs)
    later = run.part(10 * 96, len(run))
    after = {name: values[10 * 96 :] for name, values in computed.items()}
    assert watch({name: values[10 * 96 :, 0] for name, values in noisy.items()}, after, later, usually) == []
    found = watch({name: values[10 * 96 :, 1] for name, values in noisy.items()}, after, later, usually)
    fans = next(drift for drift in found if drift.output == "air handlers' fans, W")
    assert fans.change_pct == pytest.approx(15.0, abs=4.0)
    assert fans.since_step < 2 * 96
    assert not {"UPS loss, W", "distribution loss, W", "tower fans, W"} & {drift.output for drift in found}


# The physics gates on the calibrated twin: its posterior's draws and, figure by figure, its extremes.


@pytest.fixture(scope="module")
def drawn(calibrated: CalibratedHall) -> HallParams:
    spreads = 2.5 * np.sqrt(np.diag(calibrated.covariance))
    ends = [calibrated.theta + sign * spreads * row for row in np.eye(len(PATHS)) for sign in (-1.0, 1.0)]
    return batch([*calibrated.draws(10, 3), *(moved(calibrated.hall, end) for end in ends)])


COUNT = 10 + 2 * len(PATHS)


def test_balance_closes_and_nothing_is_nan_in_a_random_year(drawn: HallParams) -> None:
    rng, worst = np.random.default_rng(7), 0.0
    state = HallState.initial(drawn, COUNT)
    for hour in range(1000):
        inputs, action = random_inputs(drawn, COUNT, rng), random_action(drawn, COUNT, rng)
        state, flows = step(drawn, state, inputs, action, (60.0, 900.0, 3600.0)[hour % 3])
        worst = np.maximum(worst, (flows.balance_residual_w / np.maximum(flows.facility_w, 1.0)).max())  # keeps a NaN
        assert np.isfinite(flows.facility_w).all()
        assert np.isfinite(state.inlet_c).all()
    assert worst < 1e-3


@pytest.mark.parametrize("load", [0.3, 1.0])
def test_hotter_or_wetter_outside_never_lowers_chiller_and_tower_power(drawn: HallParams, load: float) -> None:
    action = setpoints(COUNT, chw_supply_c=13.0, tower_c=9.0)
    for wetter in (True, False):
        before = None
        for outdoor_c in np.linspace(-12.0, 29.0, 42):
            wet = outdoor_c if wetter else 5.0
            weather = outside(np.full(COUNT, wet), np.full(COUNT, max(outdoor_c, wet) + 3.0))
            _, flows = steady(drawn, uniform_inputs(drawn, weather, load), action)
            power = flows.chiller_w + flows.tower_fan_w
            if before is not None:
                assert np.all(power >= before - 1e-6 * power.max())
            before = power


def test_fan_power_follows_its_exponent_and_its_pressure_floor(drawn: HallParams) -> None:
    inputs = uniform_inputs(drawn, outside(12.0, batch=COUNT), 0.6)
    half, full = (steady(drawn, inputs, setpoints(COUNT, fan_speed=speed))[1].crah_fan_w for speed in (0.6, 1.0))
    crah = drawn.crah
    pressure = crah.static_share + (1.0 - crah.static_share) * 0.6 ** (crah.fan_exponent - 1.0)
    assert half / full == pytest.approx(0.6 * pressure, rel=1e-9)
    cubic = replace(drawn, crah=replace(crah, static_share=0.0, fan_exponent=3.0))
    half, full = (steady(cubic, inputs, setpoints(COUNT, fan_speed=speed))[1].crah_fan_w for speed in (0.6, 1.0))
    assert np.log(half / full) / np.log(0.6) == pytest.approx(np.full(COUNT, 3.0), rel=0.01)


def test_heat_removed_is_heat_produced(calibrated: CalibratedHall) -> None:
    for one in calibrated.draws(4, 8):
        params = HallParams.from_site(one)
        inputs = uniform_inputs(params, outside(np.linspace(-10.0, 26.0, 12)), 0.6)
        _, flows = settle(params, plant_control("rule", one), inputs)
        assert flows.storage_w == pytest.approx(np.zeros(12), abs=1.0)
        heat = flows.coil_w + flows.chw_pump_w
        assert flows.economizer_w + flows.evaporator_w == pytest.approx(heat, rel=1e-6)
        assert flows.rejected_w == pytest.approx(heat + flows.chiller_w + flows.cw_pump_w, rel=1e-6)


def test_warmer_supply_shows_in_it_power_and_total_power_has_an_interior_optimum(calibrated: CalibratedHall) -> None:
    """At full load and 18 C wet bulb, supply air from 16 to 34 C: chilled water and tower follow it."""
    supply = np.arange(16.0, 34.01, 0.5)
    for one in calibrated.draws(4, 9):
        params = HallParams.from_site(one)
        inputs = uniform_inputs(params, outside(18.0, batch=len(supply)), 1.0)
        action = setpoints(
            len(supply), supply_air_c=supply, fan_speed=0.9, chw_supply_c=supply - 4.0, tower_c=supply - 8.0
        )
        _, flows = steady(params, inputs, action)
        assert np.all(np.diff(flows.server_fan_w + flows.leakage_w) > 0)
        best = int(np.argmin(flows.facility_w))
        assert 0 < best < len(supply) - 1


def test_the_optimum_of_the_calibrated_hall_beats_that_of_the_configured_one(calibrated: CalibratedHall) -> None:
    params = HallParams.from_site(calibrated.best)
    inputs = uniform_inputs(params, outside(np.array([2.0, 10.0, 16.0, 20.0])), 0.7)
    own, other = (
        settle(params, plant_control("optimum", one), inputs)[1].facility_w for one in (calibrated.best, hall())
    )
    assert own.sum() < other.sum()


def test_every_figure_has_a_limit_and_a_prior() -> None:
    assert len({prior.path for prior in PRIORS}) == len(PRIORS)
    extreme = moved(hall(), np.full(len(PATHS), 9.0))
    assert extreme.economizer.effectiveness <= 0.98
    assert extreme.room.recirculation_best <= extreme.room.recirculation_worst
