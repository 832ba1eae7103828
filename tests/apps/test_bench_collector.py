"""The load benchmark, small: its devices answer as real ones, and what is dead or slow costs the others nothing."""

from __future__ import annotations

import pytest

from apps.bench_collector import Load, bench_collector
from facility.errors import ConfigError


def test_the_figures_of_a_small_load() -> None:
    shares: list[float] = []
    load = Load(modbus=12, snmp=5, redfish=4, points=84, period_s=1.0, duration_s=3.0, dead=0.25, slow=0.0)
    figures = bench_collector(load, shares.append)
    assert figures["devices"] == 21
    assert figures["dead_devices"] == 3 + 1 + 1
    assert figures["healthy_devices"] == 16
    assert figures["healthy_polls_fewest"] >= 1
    assert figures["healthy_failed_polls"] == 0
    assert figures["rows_stored"] > 16 * 4
    assert figures["readings_dropped"] == 0
    assert 0.0 < shares[-1] < 1.0


def test_a_device_without_a_point_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one point"):
        bench_collector(Load(points=10))
