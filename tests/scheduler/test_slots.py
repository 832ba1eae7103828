from __future__ import annotations

from datetime import timedelta

import numpy as np

from facility.records import Forecast, JobPhase, JobStatus
from scheduler.slots import SlotPlan
from tests.scheduler.curves import START, job


def plan(hourly: list[float], gpus: int = 8) -> SlotPlan:
    value = np.repeat(np.array(hourly), 4)
    forecast = Forecast("carbon_intensity_g_kwh", "g/kWh", START, START, 900.0, value, None, None, "test")
    return SlotPlan(forecast, START, gpus)


def waiting(gpus: int, hours: float) -> JobStatus:
    return JobStatus(job("a", gpus=gpus, hours=hours, suspend_cost_s=0.0), JobPhase.QUEUED, hours * 3600.0)


def test_the_cheapest_slots_in_the_window_are_chosen() -> None:
    slots = plan([5, 1, 9, 2, 0])
    choice = slots.choose(waiting(8, 2.0), 7200.0, 4 * 3600.0)
    windows = [((a - START) / timedelta(hours=1), (b - START) / timedelta(hours=1)) for a, b in slots.windows(choice)]
    assert windows == [(1.0, 2.0), (3.0, 4.0)]
    assert choice.threshold == 2.0
    assert not choice.holds_now


def test_slots_that_are_full_are_passed_over_while_others_have_room() -> None:
    slots = plan([5, 1, 2, 3])
    slots.choose(waiting(8, 1.0), 3600.0, 4 * 3600.0)
    assert slots.choose(waiting(4, 1.0), 3600.0, 4 * 3600.0).threshold == 2.0
    assert slots.choose(waiting(4, 4.0), 4 * 3600.0, 4 * 3600.0).threshold == 5.0  # no room: taken all the same


def test_pauses_cost_slots_of_their_own() -> None:
    slots = plan([5, 1, 9, 2, 7])
    status = JobStatus(job("a", gpus=8, hours=2.0, suspend_cost_s=900.0), JobPhase.QUEUED, 7200.0)
    assert len(slots.choose(status, 7200.0, 5 * 3600.0).slots) == 9


def test_a_window_beyond_the_forecast_is_served_in_proportion() -> None:
    slots = plan([1, 2, 3, 4])
    assert len(slots.choose(waiting(8, 6.0), 6 * 3600.0, 8 * 3600.0).slots) == 12
