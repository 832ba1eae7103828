"""Work that waits, batteries and photovoltaics: nothing is lost, and no schedule sees the future."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from facility.errors import ConfigError
from tests.twin.cases import (
    START,
    around_of,
    settled,
    signals,
)
from twin.scenarios.battery import run_battery, schedule
from twin.scenarios.case import Case
from twin.scenarios.load import load_of
from twin.signals import Signals


@pytest.mark.parametrize(("begin", "end"), [(22.0, 6.0), (9.0, 16.0)])
def test_shifted_work_is_done_in_the_window_and_nowhere_lost(begin: float, end: float) -> None:
    shift = Case(load_swing=0.2, shift_share=0.2, shift_from_h=begin, shift_to_h=end)
    around = around_of()
    plain, load = (load_of(one, around, 400.0) for one in (Case(load_swing=0.2), shift))
    assert load.busy.sum() == pytest.approx(plain.busy.sum())
    assert load.work_done_pct == pytest.approx(100.0)
    hour = around.local_hour
    inside = (hour >= begin) & (hour < end) if begin < end else (hour >= begin) | (hour < end)
    assert np.all(load.busy[inside] >= plain.busy[inside] - 1e-9)
    assert load.busy[~inside] == pytest.approx(0.8 * plain.busy[~inside])
    assert 4.0 < load.delay_p95_h <= 24.0
    assert plain.delay_p95_h == 0.0


def test_a_window_too_small_for_the_work_is_said() -> None:
    load = load_of(Case(utilisation=0.9, shift_share=0.5, shift_from_h=11.0, shift_to_h=13.0), around_of(), 400.0)
    assert load.work_done_pct < 99.0
    assert np.all(load.busy <= 1.0)


@pytest.mark.parametrize("drive", ["carbon", "price"])
def test_a_battery_keeps_its_limits_and_its_energy_closes(drive: str) -> None:
    played, on = settled(battery_kw=500.0, battery_kwh=2000.0, battery_drive=drive, pv_kwp=1500.0)
    battery, hours = on.battery, played.around.step_s / 3600.0
    assert battery.charge_w.max() <= 500e3 + 1e-6
    assert battery.discharge_w.max() <= 500e3 + 1e-6
    assert -1e-6 <= battery.stored_kwh.min() <= battery.stored_kwh.max() <= 2000.0 + 1e-6
    gained = (battery.charge_w - battery.discharge_w - battery.loss_w).sum(axis=0) * hours / 1e3
    assert gained == pytest.approx(battery.stored_kwh[-1])
    left = on.import_w - on.export_w + on.pv_w + battery.discharge_w - on.load_w - battery.charge_w
    assert np.abs(left).max() < 1e-6
    assert np.all((on.export_w == 0.0) | (battery.discharge_w == 0.0))  # nothing stored is ever exported


def test_a_full_cycle_loses_what_the_round_trip_says() -> None:
    plan = np.array([1.0] * 8 + [-1.0] * 8)
    case = Case(battery_kw=100.0, battery_kwh=100.0, battery_efficiency=0.81)
    flows = run_battery(case, plan, np.full((16, 1), 1e6), 900.0)
    assert flows.discharge_w.sum() / flows.charge_w.sum() == pytest.approx(0.81)
    assert flows.stored_kwh[7] == pytest.approx([100.0])


@pytest.mark.parametrize("drive", ["carbon", "price"])
def test_the_schedule_does_not_see_the_future(drive: str) -> None:
    case = Case(battery_kw=500.0, battery_kwh=2000.0, battery_drive=drive)
    around = around_of()
    plan = schedule(case, around)
    assert {-1.0, 1.0} <= set(plan.tolist())
    issued = START + timedelta(days=1)  # the second local midnight
    spoilt = replace(around, signals=_spoilt(around.signals, issued))
    assert np.array_equal(schedule(case, spoilt), plan)


def _spoilt(signals: Signals, at: datetime) -> Signals:
    """Everything that was not public at ``at`` turned upside down."""
    changes = {}
    for part in fields(signals):
        one = getattr(signals, part.name)
        if hasattr(one, "known_count"):
            known = one.known_count(at)
            value = np.concatenate([one.value[:known], 1e3 - one.value[known:]])
            changes[part.name] = replace(one, value=value)
    return replace(signals, **changes)


def test_a_battery_by_price_needs_prices() -> None:
    around = replace(around_of(), signals=replace(signals(), price=None))
    with pytest.raises(ConfigError, match="needs prices"):
        schedule(Case(battery_kw=1.0, battery_kwh=1.0, battery_drive="price"), around)


def test_photovoltaics_lower_import_and_say_what_they_rest_on() -> None:
    played, on = settled(pv_kwp=1000.0)
    assert "upper bound" in on.sun
    assert on.import_w.sum() == pytest.approx((on.load_w - on.pv_w + on.export_w).sum())
    assert on.pv_w.max() <= 1e6
    night = played.around.local_hour < 4.0
    assert np.all(on.pv_w[night] == 0.0)
