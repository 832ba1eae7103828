"""What each mode may do, who may change it, and that a person's word comes before the loop's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from apps.modes import Grant, ModeRules, Modes, check
from apps.proposals import Status
from facility.audit import Actor
from facility.errors import ConfigError, DataError, StoreError
from facility.records import Mode
from tests.apps.small_hall import FAN, SETPOINT, START, SmallHall, small_hall

ADA, GRACE = Actor("Ada", "admin"), Actor("Grace", "operator")
HOUR = timedelta(hours=1)


def _run(
    folder: Path, story: Callable[[SmallHall], Awaitable[None]], mode: Mode, until: timedelta | None = None
) -> None:
    hall = small_hall(folder, mode, until)

    async def told() -> None:
        await hall.read()
        try:
            await story(hall)
        finally:
            await hall.keeper.commit()

    try:
        asyncio.run(told())
    finally:
        hall.parts.store.close()


@pytest.mark.parametrize(
    ("grant", "rules", "complaint"),
    [
        (Grant(Mode.ACTIVE, START, "service", until=START + HOUR), ModeRules(), "named person"),
        (Grant(Mode.ACTIVE, START, "  ", until=START + HOUR), ModeRules(), "named person"),
        (Grant(Mode.ACTIVE, START, "Ada"), ModeRules(), "needs an expiry"),
        (Grant(Mode.ACTIVE, START, "Ada", until=START + 2 * HOUR), ModeRules(longest=HOUR), "needs an expiry"),
        (Grant(Mode.ACTIVE, START, "Ada", until=START), ModeRules(), "expiry is past"),
        (Grant(Mode.ADVISORY, START, "Ada"), ModeRules("not here"), "not here"),
    ],
)
def test_what_is_not_granted(grant: Grant, rules: ModeRules, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        check(grant, rules)


def test_a_restarted_run_goes_on_under_its_grant_and_a_new_one_does_not(tmp_path: Path) -> None:
    path, first = tmp_path / "mode.json", Grant(Mode.SHADOW, START, "Ada")
    modes = Modes(path, "one", first, ModeRules())
    modes.adopt(Grant(Mode.OFF, START, "Grace", why="works on the chiller"))
    assert Modes(path, "one", first, ModeRules()).grant == modes.grant
    assert Modes(path, "two", first, ModeRules()).mode is Mode.SHADOW


def test_a_damaged_file_of_the_mode_is_said(tmp_path: Path) -> None:
    (tmp_path / "mode.json").write_text('{"run": "one", "mode": "super"}')
    with pytest.raises(ConfigError, match=r"mode\.json: cannot read the mode"):
        Modes(tmp_path / "mode.json", "one", Grant(Mode.SHADOW, START, "Ada"), ModeRules())


def test_shadow_writes_nothing_and_says_what_it_would_save(tmp_path: Path) -> None:
    async def story(hall: SmallHall) -> None:
        await hall.tick()
        decision = hall.parts.loop.last_decision
        assert decision is not None
        assert {command.point for command in decision.commands} == {SETPOINT, FAN}
        power = decision.effects[0]
        assert power.low is not None
        assert power.high is not None
        assert 0.0 < power.low <= power.value <= power.high  # warmer air at less speed, from 18 C at full speed
        assert hall.device.writes == []

    _run(tmp_path, story, Mode.SHADOW)


def test_active_falls_back_to_shadow_and_gives_control_back(tmp_path: Path) -> None:
    async def story(hall: SmallHall) -> None:
        await hall.tick()
        assert {command.point for command in hall.device.writes} == {SETPOINT, FAN}
        await hall.beat()
        assert hall.device.released == []
        await hall.beat(HOUR.total_seconds())
        assert hall.control.modes.mode is Mode.SHADOW
        assert sorted(hall.device.released) == [FAN, SETPOINT]
        written = len(hall.device.writes)
        await hall.tick()
        assert len(hall.device.writes) == written
        assert ("mode", "expired", "service") in hall.audit()

    _run(tmp_path, story, Mode.ACTIVE, HOUR)


def test_every_change_is_audited_with_who_from_to_and_why(tmp_path: Path) -> None:
    async def story(hall: SmallHall) -> None:
        until = START + HOUR
        await hall.control.set_mode(Mode.ACTIVE, ADA, "commissioned", until)
        await hall.control.set_mode(Mode.SHADOW, GRACE, "too warm in row 4")
        await hall.keeper.commit()
        newest, before = hall.parts.store.query("modes").to_pylist()
        assert (before["before"], before["after"], before["person"]) == ("shadow", "active", "Ada")
        assert (newest["before"], newest["after"], newest["why"]) == ("active", "shadow", "too warm in row 4")

    _run(tmp_path, story, Mode.SHADOW)


def test_no_power_without_an_audit_and_giving_back_needs_none(tmp_path: Path) -> None:
    async def story(hall: SmallHall) -> None:
        await hall.tick()
        hall.parts.store.close()
        await hall.control.set_mode(Mode.SHADOW, GRACE, "disk is full")
        assert sorted(hall.device.released) == [FAN, SETPOINT]
        with pytest.raises(StoreError):
            await hall.control.set_mode(Mode.ACTIVE, ADA, "go on", hall.clock.now() + HOUR)
        assert hall.parts.loop.guard.mode is Mode.SHADOW

    _run(tmp_path, story, Mode.ACTIVE, 2 * HOUR)


def test_advisory_writes_what_a_person_accepts(tmp_path: Path) -> None:
    async def story(hall: SmallHall) -> None:
        await hall.tick()
        assert hall.device.writes == []
        (proposal,) = hall.control.proposals.listed(Status.OPEN)
        assert {command.point for command in proposal.commands} == {SETPOINT, FAN}
        assert proposal.effects
        accepted, written = await hall.control.accept(proposal.name, GRACE, "looks right")
        assert (accepted.status, accepted.person) == (Status.ACCEPTED, "Grace")
        assert all(one.read_back == one.verdict.value for one in written)
        assert {command.point for command in hall.device.writes} == {SETPOINT, FAN}
        with pytest.raises(DataError, match="the proposal is accepted"):
            await hall.control.accept(proposal.name, GRACE)
        kept = hall.parts.store.query("proposals").to_pylist()
        assert [(row["proposal"], row["status"]) for row in kept] == [(proposal.name, "accepted")]

    _run(tmp_path, story, Mode.ADVISORY)


def test_a_proposal_can_be_rejected_and_runs_out(tmp_path: Path) -> None:
    async def story(hall: SmallHall) -> None:
        await hall.tick()
        (first,) = hall.control.proposals.listed(Status.OPEN)
        await hall.control.reject(first.name, GRACE, "guests in the hall")
        await hall.tick()
        (second,) = hall.control.proposals.listed(Status.OPEN)
        await hall.beat(16 * 60.0)
        assert hall.control.proposals.listed(Status.OPEN) == []
        with pytest.raises(DataError, match="the proposal is expired"):
            await hall.control.accept(second.name, GRACE)
        assert hall.device.writes == []
        assert [action for kind, action, _ in hall.audit() if kind == "proposal"] == [
            "made",
            "rejected",
            "made",
            "expired",
        ]

    _run(tmp_path, story, Mode.ADVISORY)


def test_what_was_accepted_is_held_until_no_other_is(tmp_path: Path) -> None:
    async def story(hall: SmallHall) -> None:
        await hall.tick()
        (proposal,) = hall.control.proposals.listed(Status.OPEN)
        await hall.control.accept(proposal.name, GRACE)
        await hall.beat(600.0)
        assert hall.device.released == []
        await hall.beat(2400.0)  # longer than 2.5 ticks
        assert sorted(hall.device.released) == [FAN, SETPOINT]

    _run(tmp_path, story, Mode.ADVISORY)


def test_an_override_wins_at_once_and_lasts_until_it_is_lifted(tmp_path: Path) -> None:
    async def story(hall: SmallHall) -> None:
        await hall.tick()
        await hall.control.hold(SETPOINT, 16.0, GRACE, "hot spot")
        assert hall.device.values[SETPOINT] == 16.0  # at once, and further than the loop may step
        for _ in range(4):
            await hall.tick()
            await hall.beat()
        assert hall.device.values[SETPOINT] == 16.0
        rules = {row["rule"] for row in hall.parts.store.query("verdicts").to_pylist() if row["point"] == SETPOINT}
        assert "override" in rules
        assert hall.device.released == []
        await hall.control.lift(SETPOINT, GRACE, "fixed")
        await hall.tick()
        assert hall.device.values[SETPOINT] > 16.0
        assert [action for kind, action, _ in hall.audit() if kind == "override"] == ["held", "lifted"]

    _run(tmp_path, story, Mode.ACTIVE, 48 * HOUR)


def test_an_override_outlives_the_process(tmp_path: Path) -> None:
    async def story(hall: SmallHall) -> None:
        await hall.control.hold(SETPOINT, None, GRACE, "leave it")

    async def again(hall: SmallHall) -> None:
        await hall.tick()
        assert {command.point for command in hall.device.writes} == {FAN}

    _run(tmp_path, story, Mode.ACTIVE, 48 * HOUR)
    _run(tmp_path, again, Mode.ACTIVE, 48 * HOUR)


def test_a_value_set_at_the_device_is_left_alone(tmp_path: Path) -> None:
    async def story(hall: SmallHall) -> None:
        await hall.tick()
        hall.device.values[SETPOINT] = 17.0  # somebody at the panel
        await hall.beat()
        await hall.beat()
        await hall.tick()
        assert hall.device.values[SETPOINT] == 17.0
        assert hall.control.overrides.held[SETPOINT].is_found
        assert ("override", "found", "service") in hall.audit()

    _run(tmp_path, story, Mode.ACTIVE, 48 * HOUR)


def test_nothing_is_written_for_an_override_in_shadow(tmp_path: Path) -> None:
    async def story(hall: SmallHall) -> None:
        _, written = await hall.control.hold(SETPOINT, 16.0, GRACE, "hot spot")
        assert hall.device.writes == []
        assert [one.read_back for one in written] == [None]
        with pytest.raises(DataError, match="no point that can be written"):
            await hall.control.hold("hall/drybulb_c", 3.0, GRACE, "cooler, please")

    _run(tmp_path, story, Mode.SHADOW)


def test_stop_gives_everything_back_at_once(tmp_path: Path) -> None:
    async def story(hall: SmallHall) -> None:
        await hall.tick()
        assert await hall.control.stop(GRACE, "smoke") == []
        assert sorted(hall.device.released) == [FAN, SETPOINT]
        assert hall.control.modes.mode is Mode.OFF
        await hall.keeper.commit()
        assert ("mode", "stopped", "Grace") in hall.audit()

    _run(tmp_path, story, Mode.ACTIVE, HOUR)
