"""Four weeks of real carbon, weather, prices and jobs in both zones: the saving is real, and within the bound."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from facility.errors import DataError
from facility.site import load_site
from scheduler.evaluate import BenchmarkConfig, benchmark
from tests.shared import shared


def config(zone: str, years: tuple[int, ...], start: datetime, days: int = 28) -> BenchmarkConfig:
    return BenchmarkConfig(
        carbon=tuple(shared(f"carbon/electricitymaps_{zone}_{year}_hourly.csv") for year in years),
        weather=tuple(shared(f"weather/openmeteo_{zone}_{year}.json") for year in years),
        price=(shared(f"prices/dayahead_{zone}_2021_2023_usd_mwh.csv"),),
        jobs=shared("traces/pai2020_gaia_10k.csv"),
        start=start,
        site=load_site(),
        days=days,
        policies=("fcfs", "wait-awhile", "bound"),
    )


@pytest.mark.parametrize("zone", ["US-CAL-CISO", "DE-LU"])
def test_wait_awhile_saves_on_a_real_grid_and_never_beyond_the_bound(zone: str) -> None:
    fcfs, waiting, bound = benchmark(config(zone, (2023,), datetime(2023, 5, 1, tzinfo=UTC))).rows
    assert fcfs.carbon_kg is not None
    assert waiting.carbon_kg is not None
    assert waiting.carbon_kg < 0.995 * fcfs.carbon_kg
    assert bound.dynamic_saving_pct is not None
    assert waiting.dynamic_saving_pct is not None
    assert 1.0 < waiting.dynamic_saving_pct < bound.dynamic_saving_pct < 25.0
    assert fcfs.late_jobs is not None
    assert waiting.late_jobs is not None
    assert waiting.late_jobs - fcfs.late_jobs < 0.03 * fcfs.jobs
    assert not fcfs.synthetic


def test_a_drain_beyond_the_year_is_an_error_that_states_the_span() -> None:
    late = config("DE-LU", (2023,), datetime(2023, 12, 28, tzinfo=UTC), days=10)
    with pytest.raises(DataError, match=r"2024-01-07 00:00 UTC or later.*neighbouring"):
        benchmark(late)
