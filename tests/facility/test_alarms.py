"""When a condition is an alarm, and when the alarm is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from facility.alarms import AlarmKind, Alarms, Condition, Severity, limited

NOW = datetime(2023, 6, 1, tzinfo=UTC)


def _hot(figure: float = 28.0, severity: Severity = Severity.WARNING, *, is_urgent: bool = False) -> Condition:
    return Condition(AlarmKind.CAPACITY, "rack-1/inlet_c", severity, f"{figure} C", "look", is_urgent)


def _at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_condition_that_lasts_is_one_alarm_with_its_newest_figure() -> None:
    alarms = Alarms(300.0, 600.0)
    assert alarms.look([_hot(28.0)], NOW) == ([], [])
    raised, _ = alarms.look([_hot(29.0)], _at(300))
    assert [one.condition.cause for one in raised] == ["29.0 C"]
    assert alarms.look([_hot(30.0)], _at(330)) == ([], [])
    (standing,) = alarms.standing
    assert (standing.since, standing.condition.cause) == (NOW, "30.0 C")


def test_a_short_one_is_none_and_begins_anew() -> None:
    alarms = Alarms(300.0, 600.0)
    alarms.look([_hot()], NOW)
    alarms.look([], _at(30))
    assert alarms.look([_hot()], _at(310)) == ([], [])
    assert alarms.standing == []


def test_one_that_flickers_is_told_once_and_is_over_when_it_stays_away() -> None:
    alarms = Alarms(0.0, 600.0)
    assert len(alarms.look([_hot()], NOW)[0]) == 1
    assert alarms.look([], _at(300)) == ([], [])
    assert alarms.look([_hot()], _at(330)) == ([], [])
    assert alarms.look([], _at(900)) == ([], [])
    _, over = alarms.look([], _at(930))
    assert [one.condition.subject for one in over] == ["rack-1/inlet_c"]
    assert alarms.standing == []


def test_a_broken_limit_waits_for_nothing_and_worse_is_told_again() -> None:
    alarms = Alarms(300.0, 600.0)
    assert len(alarms.look([_hot(33.0, Severity.CRITICAL, is_urgent=True)], NOW)[0]) == 1
    warned = Alarms(0.0, 600.0)
    warned.look([_hot()], NOW)
    assert len(warned.look([_hot(33.0, Severity.CRITICAL)], _at(30))[0]) == 1
    assert warned.look([_hot()], _at(60)) == ([], [])  # better again is no news


def test_the_worst_comes_first_and_a_long_list_is_told_by_kind() -> None:
    alarms = Alarms(0.0, 0.0)
    many = [Condition(AlarmKind.STALE, f"pdu-{i}/power_w", Severity.WARNING, "old", "look") for i in range(30)]
    alarms.look([*many, _hot(33.0, Severity.CRITICAL)], NOW)
    assert alarms.standing[0].condition.severity is Severity.CRITICAL
    told = limited(alarms.standing, 20)
    assert [one.condition.severity for one in told] == [Severity.CRITICAL, Severity.WARNING]
    assert "and 29 more" in told[1].condition.cause
    assert len(limited(alarms.standing, 40)) == 31
