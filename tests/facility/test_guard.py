from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facility.checks import Authority, Checks, GuardLimits
from facility.errors import DeviceError, GuardError
from facility.guard import Guard
from facility.journal import Journal
from facility.overrides import Override, Overrides
from facility.records import Command, Mode, Point, PointState, Quality, Reading, State, VerdictKind
from facility.site import Window
from tests.facility.memory import MemoryActuator

NOW = datetime(2023, 6, 1, 12, tzinfo=UTC)
SETPOINT = "crah-1/supply_air_setpoint_c"
INLETS = ("rack-1/inlet_c", "rack-2/inlet_c")


def _point_state(value: float | None, age_s: float = 10.0, quality: Quality = Quality.GOOD) -> PointState:
    return PointState(value, "degC", NOW, age_s, quality)


def _state(setpoint: PointState | None = None, inlets_known: int = 2) -> State:
    points = {name: _point_state(22.0) for name in INLETS[:inlets_known]}
    points[SETPOINT] = setpoint or _point_state(18.0)
    return State(NOW, points)


@pytest.fixture
def crah() -> MemoryActuator:
    points = [
        Point(SETPOINT, "temperature", "degC", "crah-1", writable=True, min=15.0, max=27.0, max_step=2.0),
        Point("crah-1/supply_air_c", "temperature", "degC", "crah-1"),
    ]
    return MemoryActuator(points, {SETPOINT: 18.0, "crah-1/supply_air_c": 18.3})


LIMITS = GuardLimits(max_age_s=300.0, watch=INLETS, watch_max=32.0, hold_s=2250.0)


def _guard(crah: MemoryActuator, folder: Path, mode: Mode = Mode.ACTIVE, site: str = "hall") -> Guard:
    return Guard([crah], LIMITS, Journal(folder / "written.json", site), mode)


@pytest.fixture
def guard(crah: MemoryActuator, tmp_path: Path) -> Guard:
    return _guard(crah, tmp_path)


def _want(value: float | None, point: str = SETPOINT) -> Command:
    return Command(point, value, "degC", "test")


@pytest.mark.parametrize(
    ("command", "state", "kind", "rule", "value"),
    [
        (_want(19.5), _state(), VerdictKind.ACCEPTED, "", 19.5),
        (_want(24.0), _state(), VerdictKind.CLIPPED, "step", 20.0),
        (_want(12.0), _state(_point_state(16.0)), VerdictKind.CLIPPED, "range", 15.0),
        (_want(math.nan), _state(), VerdictKind.REJECTED, "not_a_number", None),
        (_want(20.0, "crah-1/supply_air_c"), _state(), VerdictKind.REJECTED, "not_writable", None),
        (_want(20.0, "crah-9/supply_air_setpoint_c"), _state(), VerdictKind.REJECTED, "unknown_point", None),
        (_want(19.0), _state(_point_state(18.0, age_s=301.0)), VerdictKind.REJECTED, "stale", None),
        (_want(19.0), _state(_point_state(None)), VerdictKind.REJECTED, "stale", None),
        (_want(19.0), _state(_point_state(18.0, quality=Quality.BAD)), VerdictKind.REJECTED, "stale", None),
        (_want(19.0), _state(inlets_known=0), VerdictKind.REJECTED, "blind", None),
        (_want(None), _state(inlets_known=0), VerdictKind.ACCEPTED, "", None),
    ],
)
def test_each_rule(
    guard: Guard, command: Command, state: State, kind: VerdictKind, rule: str, value: float | None
) -> None:
    verdict = guard.checks.check(command, state)
    assert (verdict.kind, verdict.rule, verdict.value) == (kind, rule, value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wanted=st.floats(),
    measured=st.floats(min_value=-1e6, max_value=1e6),
    age_s=st.floats(min_value=0.0, max_value=1e6),
    quality=st.sampled_from(Quality),
)
def test_whatever_is_wanted_what_passes_is_within_range_and_step_of_a_fresh_reading(
    guard: Guard, wanted: float, measured: float, age_s: float, quality: Quality
) -> None:
    verdict = guard.checks.check(_want(wanted), _state(_point_state(measured, age_s, quality)))
    if verdict.kind is VerdictKind.REJECTED:
        assert verdict.value is None
        return
    assert verdict.value is not None
    assert quality is Quality.GOOD
    assert age_s <= 300.0
    assert 15.0 <= verdict.value <= 27.0
    # A device that stands outside the range is brought to its nearest end, however far that is.
    nearest_allowed = min(max(measured, 15.0), 27.0)
    assert abs(verdict.value - nearest_allowed) <= 2.0 + 1e-9


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.SHADOW, Mode.ADVISORY])
def test_nothing_is_written_unless_active(crah: MemoryActuator, mode: Mode, tmp_path: Path) -> None:
    guard = _guard(crah, tmp_path, mode)
    results = asyncio.run(guard.apply([_want(19.0)], _state()))
    assert asyncio.run(guard.beat({"crah-1": [_want(19.0)]}, _state())) == []
    assert results[0].verdict.kind is VerdictKind.ACCEPTED
    assert crah.writes == []


def test_active_writes_the_clipped_value_and_reads_it_back(guard: Guard, crah: MemoryActuator) -> None:
    results = asyncio.run(guard.apply([_want(24.0)], _state()))
    assert [command.value for command in crah.writes] == [20.0]
    assert results[0].read_back == 20.0


def test_what_stood_there_is_on_disk_before_the_write(guard: Guard, crah: MemoryActuator, tmp_path: Path) -> None:
    crah.broken = True
    results = asyncio.run(guard.apply([_want(19.0)], _state()))
    assert "refused" in results[0].error
    assert json.loads((tmp_path / "written.json").read_text()) == {"site": "hall", "before": {SETPOINT: 18.0}}


def test_a_device_that_does_not_take_the_value_is_reported(guard: Guard, crah: MemoryActuator) -> None:
    crah.stubborn = True
    results = asyncio.run(guard.apply([_want(19.0)], _state()))
    assert "wrote 19, the device reports 18" in results[0].error


def test_hand_back_releases_what_was_written_and_clears_the_journal(
    guard: Guard, crah: MemoryActuator, tmp_path: Path
) -> None:
    asyncio.run(guard.apply([_want(19.0)], _state()))
    assert asyncio.run(guard.hand_back()) == []
    assert crah.released == [SETPOINT]
    assert guard.left_over == frozenset()


def test_a_new_guard_knows_what_a_crashed_one_wrote(guard: Guard, crah: MemoryActuator, tmp_path: Path) -> None:
    asyncio.run(guard.apply([_want(19.0)], _state()))
    again = _guard(crah, tmp_path)
    assert again.left_over == {SETPOINT}
    # What another process decided is not held by heartbeats: it is for the first decision to take it over.
    crah.writes.clear()
    assert asyncio.run(again.beat({"crah-1": [_want(18.0)]}, _state())) == []
    assert crah.writes == []


def test_no_heartbeat_holds_setpoints_when_too_little_is_seen(guard: Guard, crah: MemoryActuator) -> None:
    asyncio.run(guard.apply([_want(19.0)], _state()))
    errors = asyncio.run(guard.beat({"crah-1": [_want(18.0)]}, _state(inlets_known=0)))
    assert "only 0 of 2 watched readings" in errors[0]
    assert len(crah.writes) == 1
    assert asyncio.run(guard.beat({"crah-1": [_want(18.0)]}, _state())) == []
    assert len(crah.writes) == 2


def test_no_heartbeat_holds_setpoints_that_nobody_decides_anew(guard: Guard, crah: MemoryActuator) -> None:
    asyncio.run(guard.apply([_want(19.0)], _state()))
    later = replace(_state(), at=NOW + timedelta(hours=1))
    assert asyncio.run(guard.beat({"crah-1": [_want(18.0)]}, later)) == []
    assert len(crah.writes) == 1
    (said,) = asyncio.run(guard.let_go(later))
    assert said == "crah-1 is given back, a setpoint was last decided 3600 s ago"
    assert (crah.released, guard.left_over) == ([SETPOINT], frozenset())


def test_what_an_earlier_run_left_and_nobody_takes_over_is_given_back_in_time(
    guard: Guard, crah: MemoryActuator, tmp_path: Path
) -> None:
    asyncio.run(guard.apply([_want(19.0)], _state()))
    again = _guard(crah, tmp_path)
    assert asyncio.run(again.let_go(_state())) == []
    assert asyncio.run(again.let_go(replace(_state(), at=NOW + timedelta(hours=1)))) != []
    assert crah.released == [SETPOINT]


def test_with_a_full_disk_nothing_is_written(
    guard: Guard, crah: MemoryActuator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("facility.journal.os.fsync", full)
    for _ in range(2):
        (done,) = asyncio.run(guard.apply([_want(19.0)], _state()))
        assert "No space left" in done.error
    assert crah.writes == []


def test_giving_one_point_back_gives_its_device_back_whole(guard: Guard, crah: MemoryActuator) -> None:
    asyncio.run(guard.apply([_want(19.0)], _state()))
    asyncio.run(guard.apply([_want(None)], _state()))
    assert (crah.released, guard.left_over) == ([SETPOINT], frozenset())


def test_a_hot_sensor_that_is_lost_stays_hot(guard: Guard) -> None:
    hot = replace(_state(), points={**_state().points, INLETS[1]: _point_state(40.0, quality=Quality.UNCERTAIN)})
    assert guard.checks.check(_want(19.0), hot).rule == "hot"
    lost = replace(_state(), points={**_state().points, INLETS[1]: _point_state(None)})
    assert guard.checks.check(_want(19.0), lost).rule == "hot"
    assert guard.checks.check(_want(19.0), _state()).kind is VerdictKind.ACCEPTED


def test_a_former_value_that_is_not_taken_stays_in_the_journal(guard: Guard, crah: MemoryActuator) -> None:
    crah.restores = True
    asyncio.run(guard.apply([_want(19.0)], _state()))
    crah.stubborn = True
    (error,) = asyncio.run(guard.hand_back())
    assert "wrote 18, the device reports 19" in error
    assert guard.left_over == {SETPOINT}


def test_heat_leaves_the_plant_to_the_building_and_starts_no_job(guard: Guard, crah: MemoryActuator) -> None:
    hot = _state()
    hot = replace(hot, points={**hot.points, INLETS[1]: _point_state(32.5)})
    assert guard.checks.check(_want(17.0), hot).rule == "hot"
    calming = replace(hot, points={**hot.points, INLETS[1]: _point_state(31.5)})
    assert guard.checks.check(_want(17.0), calming).rule == "hot"  # not before it has fallen by a kelvin
    assert guard.checks.check(_want(17.0), _state()).kind is VerdictKind.ACCEPTED


def test_a_window_is_in_local_hours_lasts_past_midnight_and_never_keeps_from_giving_back(
    crah: MemoryActuator, tmp_path: Path
) -> None:
    night = Window(days=("thu",), start=time(22), end=time(6))
    limits = replace(LIMITS, windows=(night,), timezone="America/Los_Angeles")
    checks = Checks([crah], limits)
    for moment, rule in (("2023-06-02T04:59", "schedule"), ("2023-06-02T05:01", ""), ("2023-06-02T13:01", "schedule")):
        state = replace(_state(), at=datetime.fromisoformat(f"{moment}:00+00:00"))
        assert checks.check(_want(18.5), state).rule == rule
    assert checks.check(_want(None), _state()).kind is VerdictKind.ACCEPTED


def test_the_largest_change_is_for_a_time_not_for_each_write(crah: MemoryActuator, tmp_path: Path) -> None:
    limits = replace(LIMITS, rate_s=900.0)
    guard = Guard([crah], limits, Journal(tmp_path / "written.json", "hall"), Mode.ACTIVE)
    for minutes, expected in ((0, 20.0), (5, 20.0), (10, 20.0), (15, 22.0)):
        state = replace(_state(_point_state(crah.values[SETPOINT])), at=NOW + timedelta(minutes=minutes))
        asyncio.run(guard.apply([_want(27.0)], state))
        assert crah.values[SETPOINT] == expected


def test_after_closing_nothing_is_written_and_control_can_still_be_given_back(
    guard: Guard, crah: MemoryActuator
) -> None:
    asyncio.run(guard.apply([_want(19.0)], _state()))
    guard.close()
    (late,) = asyncio.run(guard.apply([_want(20.0)], _state()))
    assert "control is being given back" in late.error
    assert asyncio.run(guard.hand_back()) == []
    assert [command.value for command in crah.writes] == [19.0]
    assert crah.released == [SETPOINT]


def test_a_device_that_knows_no_way_back_gets_what_stood_there(guard: Guard, crah: MemoryActuator) -> None:
    crah.knows_release = False
    asyncio.run(guard.apply([_want(19.0)], _state()))
    assert asyncio.run(guard.hand_back()) == []
    assert crah.values[SETPOINT] == 18.0
    assert guard.left_over == frozenset()


def test_a_limit_that_an_operator_had_set_is_put_back_instead_of_taken_away(guard: Guard, crah: MemoryActuator) -> None:
    crah.restores = True
    asyncio.run(guard.apply([_want(19.0)], _state()))
    assert asyncio.run(guard.hand_back()) == []
    assert (crah.values[SETPOINT], crah.released) == (18.0, [])


@pytest.mark.parametrize("failure", [DeviceError("lost"), OSError("socket"), KeyError("x")])
def test_whatever_fails_at_one_device_the_others_are_given_back(
    crah: MemoryActuator, tmp_path: Path, failure: Exception
) -> None:
    other = MemoryActuator([Point("fan-1/speed_pct", "ratio", "%", "fan-1", writable=True)], {"fan-1/speed_pct": 50.0})
    guard = Guard([other, crah], LIMITS, Journal(tmp_path / "written.json", "hall"), Mode.ACTIVE)
    state = _state()
    state = replace(state, points={**state.points, "fan-1/speed_pct": _point_state(50.0)})
    asyncio.run(guard.apply([_want(60.0, "fan-1/speed_pct"), _want(19.0)], state))
    other.failure = failure
    (error,) = asyncio.run(guard.hand_back())
    assert error.startswith("fan-1")
    assert guard.left_over == {"fan-1/speed_pct"}


def test_a_point_that_reports_another_value_later_is_named(guard: Guard, crah: MemoryActuator) -> None:
    asyncio.run(guard.apply([_want(19.0)], _state()))
    same = PointState(19.0, "degC", NOW + timedelta(seconds=60), 0.0, Quality.GOOD)
    assert guard.departures(_state(same)) == []
    assert guard.departures(_state(replace(same, value=18.0))) == [f"{SETPOINT} reports 18 where 19 was written"]


def test_the_journal_of_another_site_is_refused(guard: Guard, crah: MemoryActuator, tmp_path: Path) -> None:
    asyncio.run(guard.apply([_want(19.0)], _state()))
    with pytest.raises(GuardError, match="a run of site 'hall' wrote"):
        _guard(crah, tmp_path, site="annex")


def test_a_damaged_journal_is_an_error_that_says_what_to_do(crah: MemoryActuator, tmp_path: Path) -> None:
    (tmp_path / "written.json").write_text("{")
    with pytest.raises(GuardError, match="check the devices by hand"):
        _guard(crah, tmp_path)


def _overridden(crah: MemoryActuator, folder: Path, mode: Mode = Mode.ACTIVE) -> tuple[Guard, Overrides]:
    overrides = Overrides(folder / "overrides.json")
    overrides.hold(Override(SETPOINT, None, "Ada", "trial of the fans", NOW))
    return Guard([crah], LIMITS, Journal(folder / "written.json", "hall"), mode, overrides), overrides


def test_the_loop_leaves_a_held_point_alone_until_it_is_lifted(crah: MemoryActuator, tmp_path: Path) -> None:
    guard, overrides = _overridden(crah, tmp_path)
    verdict = guard.checks.check(_want(19.0), _state())
    assert (verdict.rule, "by Ada" in verdict.detail) == ("override", True)
    assert guard.checks.check(_want(None), _state()).rule == "override"
    assert guard.checks.check(_want(19.0), _state(), Authority.CONSENT).rule == "override"
    assert Overrides(tmp_path / "overrides.json").held == overrides.held  # a restart does not lift it
    overrides.lift(SETPOINT)
    assert guard.checks.check(_want(19.0), _state()).kind is VerdictKind.ACCEPTED


@pytest.mark.parametrize(
    ("value", "state", "kind", "rule"),
    [
        (24.0, _state(), VerdictKind.ACCEPTED, ""),  # 6 K at once: no step limit
        (24.0, _state(_point_state(None, age_s=9e3)), VerdictKind.ACCEPTED, ""),  # nor a reading
        (40.0, _state(), VerdictKind.CLIPPED, "range"),
        (24.0, _state(inlets_known=0), VerdictKind.REJECTED, "blind"),
    ],
)
def test_a_persons_own_value_wins_within_what_device_and_hall_bear(
    crah: MemoryActuator, tmp_path: Path, value: float, state: State, kind: VerdictKind, rule: str
) -> None:
    guard, _ = _overridden(crah, tmp_path)
    verdict = guard.checks.check(_want(value), state, Authority.OVERRIDE)
    assert (verdict.kind, verdict.rule) == (kind, rule)


def test_in_advisory_only_what_a_person_accepted_is_written(crah: MemoryActuator, tmp_path: Path) -> None:
    guard = _guard(crah, tmp_path, Mode.ADVISORY)
    asyncio.run(guard.apply([_want(19.0)], _state()))
    assert crah.writes == []
    (done,) = asyncio.run(guard.apply([_want(19.0)], _state(), Authority.CONSENT))
    assert done.read_back == 19.0
    assert asyncio.run(guard.beat({"crah-1": [_want(19.0)]}, _state())) == []
    assert len(crah.writes) == 2  # and its heartbeat holds it


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.SHADOW])
def test_in_other_modes_no_word_of_anybody_is_written(crah: MemoryActuator, tmp_path: Path, mode: Mode) -> None:
    guard = _guard(crah, tmp_path, mode)
    for authority in Authority:
        asyncio.run(guard.apply([_want(19.0)], _state(), authority))
    assert crah.writes == []


def test_a_mode_that_changes_while_commands_wait_refuses_them(guard: Guard, crah: MemoryActuator) -> None:
    async def live() -> str:
        async with guard._turns["crah-1"]:
            waiting = asyncio.create_task(guard.apply([_want(19.0)], _state()))
            await asyncio.sleep(0.01)
            guard.set_mode(Mode.SHADOW)
        (done,) = await waiting
        return done.error

    assert "the mode is shadow now" in asyncio.run(live())
    assert crah.writes == []


class _Jobs(MemoryActuator):
    """Counts the looks at it."""

    looks = 0

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        self.looks += 1
        return await super().read([name for name in points or () if name in self.points])


def test_many_jobs_are_read_back_by_one_look(tmp_path: Path) -> None:
    names = [f"job-{i}/run_flag" for i in range(20)]
    jobs = _Jobs([Point(name, "job", "1", "cluster", writable=True) for name in names], dict.fromkeys(names, 0.0))
    guard = Guard([jobs], LIMITS, Journal(tmp_path / "written.json", "hall"), Mode.ACTIVE)
    done = asyncio.run(guard.apply([Command(name, 1.0, "1", "next") for name in names], _state()))
    assert [one.read_back for one in done] == [1.0] * 20
    assert jobs.looks == 1
    assert guard.left_over == frozenset()  # a job is not given back
    assert asyncio.run(guard.let_jobs_go(names[:2])) == []
    assert jobs.released == names[:2]


def test_a_job_that_ends_while_others_are_written_costs_itself_alone(tmp_path: Path) -> None:
    names = ["job-1/run_flag", "job-2/run_flag"]
    jobs = _Jobs([Point(name, "job", "1", "cluster", writable=True) for name in names], dict.fromkeys(names, 0.0))
    guard = Guard([jobs], LIMITS, Journal(tmp_path / "written.json", "hall"), Mode.ACTIVE)
    write = jobs.write

    async def and_end(command: Command) -> None:
        await write(command)
        jobs.points = {name: point for name, point in jobs.points.items() if name == "job-1/run_flag"}

    jobs.write = and_end  # type: ignore[method-assign]
    done = asyncio.run(guard.apply([Command(name, 1.0, "1", "next") for name in names], _state()))
    assert [one.error for one in done] == ["", "not read back: its actuator does not report it"]


def test_what_an_earlier_run_moved_stays_where_it_is_for_the_time_of_a_step(
    crah: MemoryActuator, tmp_path: Path
) -> None:
    checks = Checks([crah], replace(LIMITS, rate_s=900.0))
    checks.taken_over([SETPOINT], NOW - timedelta(minutes=10))
    assert checks.check(_want(19.0), _state()).value == 18.0
    later = replace(_state(), at=NOW + timedelta(minutes=5))
    assert checks.check(_want(19.0), later).value == 19.0
