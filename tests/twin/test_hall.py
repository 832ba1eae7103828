"""The hall as a whole: its balance closes, its directions are right, and nothing is clipped in silence."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from tests.twin.halls import SITES, hall, outside, params, random_action, random_inputs, setpoints
from twin.air import Weather
from twin.hall import HallFlows, HallInputs, HallState, PlantAction, _plant, steady, step
from twin.part_load import settle, uniform_inputs
from twin.plant import PLANTS, plant_control

PARAMS = params()


def _assert_sound(flows: HallFlows, state: HallState) -> None:
    for part in fields(flows):
        value = getattr(flows, part.name)
        allowed = np.isfinite(value) | (np.isnan(value) & (part.name == "pue"))  # no IT power: PUE is not a number
        assert np.all(allowed), part.name
    assert np.all(flows.balance_residual_w < 1e-3 * np.maximum(flows.facility_w, 1.0))
    assert np.all(np.isfinite(state.inlet_c))


@pytest.mark.parametrize("name", SITES)
def test_balance_closes_at_every_step_of_a_random_year_with_extremes(name: str) -> None:
    rng, hall_params, batch = np.random.default_rng(7), params(name), 2
    drawn = [(random_inputs(hall_params, batch, rng), random_action(hall_params, batch, rng)) for _ in range(500)]
    state, worst = HallState.initial(hall_params, batch), 0.0
    for hour in range(8760):
        inputs, action = drawn[rng.integers(500)][0], drawn[rng.integers(500)][1]
        state, flows = step(hall_params, state, inputs, action, (60.0, 900.0, 3600.0)[hour % 3])
        worst = np.maximum(worst, (flows.balance_residual_w / flows.facility_w).max())  # keeps a NaN
        if hour % 40 == 0:
            _assert_sound(flows, state)
    assert worst < 1e-3
    _assert_sound(flows, state)


@pytest.mark.parametrize("dt_s", [1e-3, 1.0, 900.0, 86_400.0, 1e7])
def test_any_step_length_is_stable_and_ends_in_the_same_steady_state(dt_s: float) -> None:
    inputs = uniform_inputs(PARAMS, outside(22.0, batch=1), 1.0)
    action = setpoints(1)
    settled, _ = steady(PARAMS, inputs, action)
    state = settled
    for _ in range(20):
        state, flows = step(PARAMS, state, inputs, action, dt_s)
        _assert_sound(flows, state)
    assert state.room_c == pytest.approx(settled.room_c, abs=1e-3)
    assert state.chw_c == pytest.approx(settled.chw_c, abs=1e-3)


def test_short_and_long_steps_agree_on_the_way() -> None:
    inputs, action = uniform_inputs(PARAMS, outside(15.0, batch=1), 0.6), setpoints(1, supply_air_c=20.0)
    fine = coarse = HallState.initial(PARAMS, 1, room_c=32.0, chw_c=18.0)
    for _ in range(900):
        fine, _ = step(PARAMS, fine, inputs, action, 4.0)
    for _ in range(12):
        coarse, _ = step(PARAMS, coarse, inputs, action, 300.0)
    assert coarse.room_c == pytest.approx(fine.room_c, abs=0.3)


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("plant", PLANTS)
def test_heat_removed_is_heat_produced_in_steady_state(name: str, plant: str) -> None:
    hall_params = params(name)
    inputs = uniform_inputs(hall_params, outside(np.linspace(-10.0, 28.0, 20)), 0.6)
    _, flows = settle(hall_params, plant_control(plant, hall(name)), inputs)
    assert flows.storage_w == pytest.approx(np.zeros(20), abs=1.0)
    heat_of_loop = flows.coil_w + flows.chw_pump_w
    assert flows.economizer_w + flows.evaporator_w == pytest.approx(heat_of_loop, rel=1e-6)
    assert flows.rejected_w == pytest.approx(heat_of_loop + flows.chiller_w + flows.cw_pump_w, rel=1e-6)
    assert np.all(flows.supply_air_c < flows.inlet_c.min(axis=1))


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("load", [0.2, 0.6, 1.0])
@pytest.mark.parametrize(
    ("chw_c", "tower_c", "economizer"), [(7.0, 4.0, 0.0), (7.0, 20.0, 1.0), (15.0, 11.0, 1.0), (18.0, 14.0, 1.0)]
)
def test_hotter_or_wetter_outside_never_lowers_chiller_and_tower_power(
    name: str, load: float, chw_c: float, tower_c: float, economizer: float
) -> None:
    hall_params = params(name)
    wet = np.linspace(-15.0, 30.0, 181)
    machines = float(hall_params.crah.count)
    action = setpoints(
        181,
        crahs_on=machines,
        chillers_on=float(hall_params.chiller.count),
        chw_supply_c=chw_c,
        tower_c=tower_c,
        economizer=economizer,
    )
    for weather in (outside(wet), outside(wet, np.maximum(wet, 31.0)), outside(np.full(181, 8.0), wet + 20.0)):
        _, flows = steady(hall_params, uniform_inputs(hall_params, weather, load), action)
        power = flows.chiller_w + flows.tower_fan_w
        assert np.all(np.diff(power) >= -1e-6 * power.max())
        assert np.all(np.diff(flows.facility_w) >= -1e-6 * flows.facility_w.max())


def test_weather_from_relative_humidity_has_the_right_direction() -> None:
    rh = np.linspace(5.0, 100.0, 50)
    inputs = uniform_inputs(PARAMS, Weather.of(np.full(50, 28.0), rh), 0.8)
    _, flows = steady(PARAMS, inputs, setpoints(50))
    assert np.all(np.diff(flows.chiller_w + flows.tower_fan_w) >= -1e-6)
    assert flows.economizer_share[0] > flows.economizer_share[-1]


def test_the_economizer_goes_from_all_through_part_to_none() -> None:
    inputs = uniform_inputs(PARAMS, outside(np.array([0.0, 13.0, 29.0])), 0.6)
    _, flows = steady(PARAMS, inputs, setpoints(3))
    assert flows.economizer_share[0] == pytest.approx(1.0)
    assert 0.0 < flows.economizer_share[1] < 1.0
    assert flows.economizer_share[2] == 0.0
    assert flows.chiller_w[0] == 0.0 < flows.chiller_w[1] < flows.chiller_w[2]


def test_warmer_supply_moves_power_into_it_and_total_power_has_an_interior_optimum() -> None:
    """At full load and 18 C wet bulb: chilled water follows the supply air, fans give what the servers take."""
    supply = np.arange(16.0, 27.01, 0.5)
    batch = len(supply)
    inputs = uniform_inputs(PARAMS, outside(18.0, batch=batch), 1.0)
    action = setpoints(batch, supply_air_c=supply, fan_speed=0.75, chw_supply_c=supply - 4.0, tower_c=supply - 8.0)
    _, flows = steady(PARAMS, inputs, action)
    assert np.all(np.diff(flows.server_fan_w) > 0)
    assert np.all(np.diff(flows.leakage_w) > 0)
    assert np.all(np.diff(flows.it_w) > 0)
    assert flows.pue[-1] < flows.pue[0]
    best = int(np.argmin(flows.facility_w))
    assert 0 < best < batch - 1
    assert int(np.argmin(flows.pue)) > best  # PUE would have gone on: it is not the objective


def test_short_of_capacity_the_room_heats_and_the_balance_still_closes() -> None:
    state, seen = HallState.initial(PARAMS, 2), []
    action = setpoints(2, chillers_on=np.array([0.0, 1.0]), crahs_on=np.array([2.0, 0.0]), economizer=0.0)
    inputs = uniform_inputs(PARAMS, outside(25.0, batch=2), 1.0)
    for _ in range(8):
        state, flows = step(PARAMS, state, inputs, action, 900.0)
        _assert_sound(flows, state)
        seen.append(flows.inlet_c.max(axis=1))
    assert np.all(np.diff(np.array(seen), axis=0) > 0)
    assert np.all(seen[-1] > 45.0)
    assert np.all(flows.chiller_w < 1e3)


def test_losing_a_chiller_of_two_warms_the_water_only_when_one_is_not_enough() -> None:
    hall_params = params("site-1mw.toml")
    action = setpoints(2, crahs_on=7.0, fan_speed=1.0, chw_flow=1.0, chillers_on=1.0, chw_supply_c=12.0, economizer=0.0)
    weather = outside(24.0, batch=2)
    inputs = uniform_inputs(hall_params, weather, np.array([0.3, 1.0]))
    hottest = replace(inputs, rack_it_w=1.25 * inputs.rack_it_w)  # every GPU at its limit, not at training's mean draw
    _, flows = steady(hall_params, hottest, action)
    assert flows.chw_supply_c[0] == pytest.approx(12.0)
    assert flows.chw_supply_c[1] > 14.0


def test_too_little_air_recirculates_and_warms_the_inlets() -> None:
    inputs = uniform_inputs(PARAMS, outside(10.0, batch=2), 1.0)
    _, flows = steady(PARAMS, inputs, setpoints(2, fan_speed=np.array([0.3, 0.8])))
    assert flows.server_airflow_m3_s[0] > 0.9 * flows.airflow_m3_s[0]
    assert flows.max_inlet_c[0] > flows.max_inlet_c[1] + 1.0
    assert np.all(np.diff(flows.inlet_c, axis=1) > 0)  # the worst-placed rack is the warmest


def test_components_sum_to_the_main_meter_and_pue_is_category_3() -> None:
    _, f = steady(PARAMS, uniform_inputs(PARAMS, outside(12.0, batch=3), 0.6), setpoints(3))
    assert f.it_w + f.pdu_loss_w + f.ups_loss_w + f.cooling_w + f.aux_w == pytest.approx(f.facility_w)
    assert f.pue == pytest.approx(f.facility_w / f.it_w)
    assert f.rack_w.sum(axis=1) == pytest.approx(f.it_w)
    dc_w = f.it_w - f.server_fan_w - f.leakage_w - f.psu_loss_w
    assert dc_w == pytest.approx(uniform_inputs(PARAMS, outside(12.0, batch=3), 0.6).rack_it_w.sum(axis=1))


def test_rows_of_a_batch_do_not_see_each_other() -> None:
    rng = np.random.default_rng(3)
    inputs, action = random_inputs(PARAMS, 16, rng), random_action(PARAMS, 16, rng)
    _, together = step(PARAMS, HallState.initial(PARAMS, 16), inputs, action, 900.0)
    one = HallInputs(inputs.rack_it_w[5:6], inputs.rack_servers[5:6], inputs.weather.at(slice(5, 6)))
    _, alone = step(PARAMS, HallState.initial(PARAMS, 1), one, action.row(slice(5, 6)), 900.0)
    assert alone.facility_w[0] == together.facility_w[5]


def test_parameters_may_differ_in_each_hall() -> None:
    """A batch of halls with different fans and chillers, as calibration and randomised training want."""
    varied = replace(
        PARAMS,
        crah=replace(PARAMS.crah, rated_fan_w=np.array([1_500.0, 2_500.0])),
        node=replace(PARAMS.node, fan_rated_w=np.array([[500.0], [700.0]])),
    )
    inputs = uniform_inputs(PARAMS, outside(12.0, batch=2), 0.6)
    _, flows = steady(varied, inputs, setpoints(2))
    assert flows.crah_fan_w[1] == pytest.approx(flows.crah_fan_w[0] * 2_500.0 / 1_500.0)
    assert flows.server_fan_w[1] > flows.server_fan_w[0]
    assert np.all(flows.balance_residual_w < 1.0)


def test_actions_are_named_setpoints() -> None:
    assert [part.name for part in fields(PlantAction)] == [
        "supply_air_c",
        "fan_speed",
        "crahs_on",
        "chw_supply_c",
        "chw_flow",
        "economizer",
        "chillers_on",
        "tower_c",
    ]


@pytest.mark.parametrize("name", SITES)
def test_the_closed_form_root_obeys_every_machine_limit(name: str) -> None:
    """Coil at most its conductance times (room - water); chillers at most their capacity; no setpoint undershot."""
    rng, hall_params, batch = np.random.default_rng(11), params(name), 4_000
    state = HallState(
        rng.uniform(10.0, 60.0, batch), rng.uniform(4.0, 40.0, batch), np.full((batch, hall_params.racks), 24.0)
    )
    inputs, action = random_inputs(hall_params, batch, rng), random_action(hall_params, batch, rng)
    for dt_s in (1.0, 900.0, 1e6):
        plant = _plant(hall_params, inputs, action, dt_s)
        new, flows = step(hall_params, state, inputs, action, dt_s)
        slack = 1e-6 * hall_params.racks * 20e3
        at_most = np.maximum(plant.coil_w_k * (new.room_c - new.chw_c), 0.0)
        assert np.all(flows.coil_w <= at_most + slack)
        cooling = flows.coil_w > slack
        assert np.all(flows.supply_air_c[cooling] >= action.supply_air_c[cooling] - 1e-6)
        short = cooling & (flows.supply_air_c > action.supply_air_c + 1e-6)
        assert flows.coil_w[short] == pytest.approx(at_most[short], rel=1e-6, abs=slack)  # warm air: the coil gives all
        assert np.all(flows.evaporator_w <= plant.chiller_cap_w + slack)
        warm = new.chw_c > action.chw_supply_c + 1e-6
        assert flows.evaporator_w[warm] == pytest.approx(plant.chiller_cap_w[warm], rel=1e-6, abs=slack)
        assert np.all(new.chw_c >= np.minimum(action.chw_supply_c, state.chw_c) - 1e-6)
