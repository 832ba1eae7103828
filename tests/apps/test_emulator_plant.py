"""The emulated building's own physics, instruments and hand-over, in the process."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import statistics
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from apps.emulator.airside import NodeLoad
from apps.emulator.building import Building
from apps.emulator.instruments import Sensor, Valve
from apps.emulator.nominal import ERROR_SHARE, draw_truth, nominal
from apps.emulator.plant import STEP_S, Plant, Setpoints
from apps.emulator.remote import RemoteControl
from apps.emulator.serve import Emulator, EmulatorConfig
from apps.emulator.world import SyntheticClimate, World, read_world
from apps.shared_clock import set_clock
from apps.state_dir import StateDir, write_json
from facility.errors import DataError
from facility.records import Job, JobPhase, WorkClass
from facility.site import load_site

HALL = load_site().hall
START = datetime(2024, 5, 1, tzinfo=UTC)
LEGACY = Setpoints([18.0, 18.0], [100.0, 100.0], 7.0, economizer_on=False, basin_c=None)
THRIFTY = Setpoints([24.0, 24.0], [45.0, 45.0], 17.0, economizer_on=True, basin_c=None)
BUSY = [NodeLoad(4.8 * 330.0, 4.8, 3.2)] * 8  # 60 % of the GPUs


def _run(plant: Plant, setpoints: Setpoints, hours: float, drybulb_c: float = 14.0, rh_pct: float = 65.0) -> None:
    for _ in range(int(hours * 3600.0 / STEP_S)):
        plant.step(BUSY, setpoints, drybulb_c, rh_pct)


def _settled_pue(seed: int, setpoints: Setpoints, drybulb_c: float = 14.0) -> float:
    plant = Plant(draw_truth(HALL, seed), seed)
    _run(plant, setpoints, 3.0, drybulb_c)
    facility, it = plant.energy_wh("facility"), plant.energy_wh("it")
    _run(plant, setpoints, 2.0, drybulb_c)
    return (plant.energy_wh("facility") - facility) / (plant.energy_wh("it") - it)


def test_energy_is_conserved_through_changes() -> None:
    plant = Plant(draw_truth(HALL, 1), 1)
    before = plant.stored_j()
    for setpoints, drybulb_c in ((LEGACY, 30.0), (THRIFTY, 10.0), (LEGACY, 0.0)):
        _run(plant, setpoints, 2.0, drybulb_c)
    assert abs(plant.balance_residual_j(before)) < 1e-9 * plant.state.energy_j["facility"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pue_is_plausible_under_both_ways_of_running(seed: int) -> None:
    assert 1.48 < _settled_pue(seed, LEGACY) < 1.68
    assert 1.17 < _settled_pue(seed, THRIFTY) < 1.32


def test_a_hotter_day_costs_more() -> None:
    for setpoints in (LEGACY, THRIFTY):
        assert _settled_pue(1, setpoints, 32.0) > _settled_pue(1, setpoints, 10.0)


def test_the_setpoints_are_held() -> None:
    plant = Plant(draw_truth(HALL, 1), 1)
    _run(plant, LEGACY, 2.0)
    supplies = []
    for _ in range(60):
        _run(plant, LEGACY, 60.0 / 3600.0)
        supplies.append(plant.air.crahs[0].supply_c)
    assert statistics.fmean(supplies) == pytest.approx(18.0, abs=0.3)
    assert plant.water.chiller.supply_c == pytest.approx(7.0, abs=0.5)


def test_intakes_warm_up_when_cooling_is_lost() -> None:
    plant = Plant(draw_truth(HALL, 1), 1)
    _run(plant, LEGACY, 1.0)
    before = [rack.inlet_c for rack in plant.air.racks]
    plant.water.chiller_failed = True
    _run(plant, LEGACY, 0.75)
    assert all(rack.inlet_c > old + 4.0 for rack, old in zip(plant.air.racks, before, strict=True))


def test_dirt_costs_power() -> None:
    clean, dirty = Plant(draw_truth(HALL, 1), 1), Plant(draw_truth(HALL, 1), 1)
    dirty.state.age_s = 365.0 * 86_400.0
    for plant in (clean, dirty):
        _run(plant, LEGACY, 2.0)
    assert dirty.fouling > 0.1 > clean.fouling
    assert dirty.power_w["crah-1"] > 1.05 * clean.power_w["crah-1"]


def test_a_seed_is_a_building_near_its_nameplates() -> None:
    assert draw_truth(HALL, 7) == draw_truth(HALL, 7)
    assert draw_truth(HALL, 7) != draw_truth(HALL, 8)
    truth, plates = dataclasses.asdict(draw_truth(HALL, 7)), nominal(HALL)
    assert all(abs(truth[name] / plates[name] - 1.0) <= ERROR_SHARE + 1e-12 for name in plates)


def test_a_sensor_lags_and_rounds_and_a_valve_sticks() -> None:
    sensor, rng = Sensor(tau_s=60.0, noise=0.0, resolution=0.1), random.Random(1)
    sensor.update(20.0, 5.0, rng)
    sensor.update(30.0, 60.0, rng)
    assert sensor.value == pytest.approx(20.0 + 10.0 * (1.0 - math.exp(-1.0)), abs=0.051)
    valve = Valve(0.5)
    assert valve.drive(0.505, 5.0) == 0.5
    assert valve.drive(0.6, 5.0) == pytest.approx(0.5 + 5.0 / valve.travel_s)


def _remote() -> RemoteControl:
    return RemoteControl({"supply_air_setpoint_c": 18.0, "fan_speed_setpoint_pct": 100.0})


def test_a_written_setpoint_is_in_force_once_enabled_and_no_other() -> None:
    remote = _remote()
    remote.write("supply_air_setpoint_c", 22.0, 0.0)
    assert remote.registers()["supply_air_setpoint_c"] == 22.0
    assert remote.in_force("supply_air_setpoint_c") == 18.0
    remote.write("remote_enable_flag", 1.0, 1.0)
    assert remote.in_force("supply_air_setpoint_c") == 22.0
    assert remote.in_force("fan_speed_setpoint_pct") == 100.0


def test_silence_and_a_stuck_heartbeat_give_the_device_back() -> None:
    remote = _remote()
    remote.write("remote_enable_flag", 1.0, 0.0)
    remote.write("supply_air_setpoint_c", 22.0, 0.0)
    for minute in range(1, 10):
        remote.write("heartbeat_count", float(minute), 60.0 * minute)
        remote.tick(60.0 * minute)
    assert remote.in_force("supply_air_setpoint_c") == 22.0
    for minute in range(10, 16):
        remote.write("heartbeat_count", 9.0, 60.0 * minute)
        remote.tick(60.0 * minute)
    registers = remote.registers()
    assert (registers["remote_active_flag"], registers["supply_air_setpoint_c"]) == (0.0, 18.0)
    remote.write("heartbeat_count", 10.0, 1000.0)
    assert remote.active
    assert remote.in_force("supply_air_setpoint_c") == 18.0  # old wishes are forgotten


def test_disabling_gives_back_at_once_and_local_setpoints_are_the_operators() -> None:
    remote = _remote()
    remote.write("remote_enable_flag", 1.0, 0.0)
    remote.write("supply_air_setpoint_c", 22.0, 0.0)
    remote.write("local_supply_air_setpoint_c", 19.0, 0.0)
    assert remote.in_force("supply_air_setpoint_c") == 22.0
    remote.write("remote_enable_flag", 0.0, 1.0)
    assert remote.in_force("supply_air_setpoint_c") == 19.0
    assert not remote.active


def _job(name: str, after_min: float, gpus: int = 8) -> Job:
    at = START + timedelta(minutes=after_min)
    return Job(name, at, gpus, 3_600.0, at + timedelta(hours=9), True, WorkClass.COMPUTE_BOUND)


def test_handing_back_makes_no_bump() -> None:
    building = Building(HALL, World(SyntheticClimate(), ()), START, 1)
    building.write("crah-1", "remote_enable_flag", 1.0)
    building.write("crah-1", "supply_air_setpoint_c", 24.0)
    building.write("crah-1", "fallback_timeout_min", 60.0)
    building.advance(START + timedelta(minutes=50))
    assert building.truth()["crah-1/supply_air_effective_c"] == pytest.approx(24.0)
    building.write("crah-1", "remote_enable_flag", 0.0)
    last, largest = 24.0, 0.0
    for minute in range(51, 91):
        building.advance(START + timedelta(minutes=minute))
        now = building.truth()["crah-1/supply_air_effective_c"]
        last, largest = now, max(largest, abs(now - last))
    assert last == pytest.approx(18.0)
    assert largest < 0.5


def test_a_saved_building_goes_on_where_it_was() -> None:
    world = World(SyntheticClimate(), (_job("early", 1.0), _job("late", 90.0)))
    building = Building(HALL, world, START, 1)
    building.advance(START + timedelta(minutes=20))
    building.cluster.start("early", (("node-1", 8),))
    building.write("chiller-1", "local_chw_supply_setpoint_c", 9.0)
    building.advance(START + timedelta(minutes=30))
    saved = json.loads(json.dumps(building.to_dict()))
    again = Building.resumed(HALL, world, saved)
    assert again.at == building.at
    assert again.cluster.statuses() == building.cluster.statuses()
    assert again.values("meter-main")["energy_wh"] == building.values("meter-main")["energy_wh"]
    for each in (building, again):
        each.advance(START + timedelta(minutes=100))
    phases = {status.job.name: status.phase for status in again.cluster.statuses()}
    assert phases == {"late": JobPhase.QUEUED}
    assert again.truth()["energy_wh/it"] == pytest.approx(building.truth()["energy_wh/it"], rel=1e-4)
    assert again.truth()["chiller-1/chw_supply_effective_c"] == pytest.approx(9.0)


@pytest.mark.parametrize(("ahead_h", "is_resumed"), [(-60.0, False), (-1.0, True), (1.0, True), (5.0, False)])
def test_a_saved_building_is_resumed_only_near_the_clock(tmp_path: Path, ahead_h: float, is_resumed: bool) -> None:
    saved = Building(HALL, World(SyntheticClimate(), ()), START + timedelta(hours=ahead_h), 1)
    state = StateDir(tmp_path)
    set_clock(state, START, 60.0)
    write_json(tmp_path / "emulator.json", saved.to_dict())
    assert Emulator(EmulatorConfig(tmp_path)).building.at == (saved.at if is_resumed else START)


def test_a_state_of_another_hall_is_refused() -> None:
    saved = Building(HALL, World(SyntheticClimate(), ()), START, 1).to_dict()
    del saved["plant"]["rack-1"]
    with pytest.raises(DataError, match="not a saved building"):
        Building.resumed(HALL, World(SyntheticClimate(), ()), saved)


def test_instruments_err_a_little_and_meters_count_up() -> None:
    building = Building(HALL, World(SyntheticClimate(), (_job("a", 0.0),)), START, 1)
    building.cluster.start("a", (("node-3", 8),))
    counts = []
    for minute in (30, 60, 90):
        building.advance(START + timedelta(minutes=minute))
        counts.append(building.values("meter-main")["energy_wh"])
    assert counts == sorted(set(counts))
    truth, seen = building.truth(), building.instruments.values
    for point in ("meter-main/power_w", "pdu-2/outlet-1/power_w", "crah-1/supply_air_c", "chiller-1/chw_supply_c"):
        assert seen[point] == pytest.approx(truth[point], rel=0.03), point
        assert seen[point] != truth[point], point


def test_weather_of_a_file_is_linear_between_hours_and_its_last_day_repeats() -> None:
    drybulb = [10.0 + hour for hour in range(48)]
    world = read_world({"start": START.isoformat(), "step_s": 3600.0, "drybulb_c": drybulb, "rh_pct": [50.0] * 48})
    assert world.weather.at(START + timedelta(minutes=30)) == (10.5, 50.0)
    assert world.weather.at(START + timedelta(hours=47))[0] == 57.0
    assert world.weather.at(START + timedelta(hours=49))[0] == world.weather.at(START + timedelta(hours=25))[0]


@pytest.mark.parametrize(
    "change", [{"rh_pct": [50.0]}, {"start": "2024-05-01T00:00:00"}, {"drybulb_c": [float("nan"), 1.0]}]
)
def test_a_bad_world_is_refused(change: dict[str, object]) -> None:
    world = {"start": START.isoformat(), "step_s": 3600.0, "drybulb_c": [1.0, 2.0], "rh_pct": [50.0, 50.0]}
    with pytest.raises(DataError):
        read_world(world | change)
