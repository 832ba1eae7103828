"""The account of a run, settled from energy counters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from apps.account import settle, ticks_due
from facility.records import Quality, Reading
from facility.site import Roles
from facility.store import Store
from twin.signals import Series, Signals

START = datetime(2023, 6, 1, tzinfo=UTC)
END = START + timedelta(hours=2)
ROLES = Roles(facility_energy_wh="meter/energy_wh", it_energy_wh=("pdu-1/energy_wh", "pdu-2/energy_wh"))


def _series(quantity: str, unit: str, values: list[float]) -> Series:
    return Series(quantity, unit, "US-CAL-CISO", START, 3600.0, np.array(values), 0.0, "test")


def _signals(hours: int = 3) -> Signals:
    carbon = _series("carbon_intensity_g_kwh", "g/kWh", [100.0, 300.0, 500.0][:hours])
    return Signals(carbon, _series("drybulb_c", "degC", [20.0] * 3), _series("rh_pct", "%", [50.0] * 3))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "eco.duckdb", "run")
    yield store
    store.close()


def _count(store: Store, point: str, power_w: float, *, reset_at_min: int | None = None, from_min: int = 0) -> None:
    """A counter read each minute from ``from_min`` on, which starts at 5 kWh and may fall back to zero."""
    readings, count = [], 5000.0
    for minute in range(from_min, 121):
        if minute == reset_at_min:
            count = 0.0
        readings.append(Reading(point, count, "Wh", START + timedelta(minutes=minute), Quality.GOOD, "test"))
        count += power_w / 60.0
    store.append_readings(readings)


def _count_all(store: Store) -> None:
    _count(store, "meter/energy_wh", 15_000.0)
    _count(store, "pdu-1/energy_wh", 4_000.0)
    _count(store, "pdu-2/energy_wh", 6_000.0)


def test_energy_pue_and_carbon_recompute_from_the_counters(store: Store) -> None:
    _count_all(store)
    summary = settle(store, ROLES, _signals(), "run", START, END)
    assert summary.facility_kwh == pytest.approx(30.0, rel=0.01)
    assert summary.pue == pytest.approx(1.5)
    assert summary.carbon_kg == pytest.approx(15.0 * 0.1 + 15.0 * 0.3, rel=0.01)
    assert summary.readings == 3 * 121


def test_ticks_at_which_nothing_was_decided_are_counted(store: Store) -> None:
    due = ticks_due(START, END, 900.0)
    assert due == int((END - START).total_seconds() // 900.0)
    assert settle(store, ROLES, _signals(), "run", START, END).ticks_missed == due
    assert ticks_due(START + timedelta(seconds=1), START + timedelta(seconds=899), 900.0) == 0


def test_a_counter_that_fell_is_a_reset_and_loses_one_step_at_most(store: Store) -> None:
    _count(store, "meter/energy_wh", 15_000.0, reset_at_min=60)
    _count(store, "pdu-1/energy_wh", 10_000.0)
    roles = ROLES.model_copy(update={"it_energy_wh": ("pdu-1/energy_wh",)})
    summary = settle(store, roles, _signals(), "run", START, END)
    assert summary.facility_kwh == pytest.approx(30.0, rel=0.02)


def test_what_was_not_metered_is_missing_not_zero(store: Store) -> None:
    _count(store, "meter/energy_wh", 15_000.0)
    _count(store, "pdu-1/energy_wh", 4_000.0)
    summary = settle(store, ROLES, _signals(), "run", START, END)
    assert summary.it_kwh is None
    assert summary.pue is None
    assert summary.facility_kwh is not None


def test_carbon_is_missing_where_the_signal_does_not_cover_the_run(store: Store) -> None:
    _count_all(store)
    assert settle(store, ROLES, _signals(hours=1), "run", START, END).carbon_kg is None


def test_a_meter_that_was_read_late_shortens_the_span_for_all_and_does_not_bias_pue(store: Store) -> None:
    _count(store, "meter/energy_wh", 15_000.0)
    _count(store, "pdu-1/energy_wh", 4_000.0)
    _count(store, "pdu-2/energy_wh", 6_000.0, from_min=30)
    summary = settle(store, ROLES, _signals(), "run", START, END)
    assert summary.pue == pytest.approx(1.5)
    assert summary.coverage_pct == pytest.approx(75.0)
    assert summary.carbon_kg == pytest.approx(15.0 * 0.5 * 0.1 + 15.0 * 0.3, rel=0.01)


def test_another_run_through_the_same_time_is_not_counted(store: Store, tmp_path: Path) -> None:
    _count_all(store)
    store.close()
    again = Store.open(tmp_path / "eco.duckdb", "again")
    _count(again, "meter/energy_wh", 30_000.0)
    _count(again, "pdu-1/energy_wh", 10_000.0)
    _count(again, "pdu-2/energy_wh", 10_000.0)
    assert settle(again, ROLES, _signals(), "run", START, END).pue == pytest.approx(1.5)
    assert settle(again, ROLES, _signals(), "again", START, END).pue == pytest.approx(1.5)
    assert settle(again, ROLES, _signals(), "again", START, END).facility_kwh == pytest.approx(60.0, rel=0.01)
    again.close()


def test_one_bad_answer_of_a_meter_is_not_counted_as_its_whole_life(store: Store) -> None:
    _count_all(store)
    glitch = Reading("meter/energy_wh", 0.0, "Wh", START + timedelta(minutes=30, seconds=30), Quality.GOOD, "test")
    store.append_readings([glitch])
    assert settle(store, ROLES, _signals(), "run", START, END).facility_kwh == pytest.approx(30.0, rel=0.01)
