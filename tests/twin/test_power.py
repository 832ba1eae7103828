"""Chip to main meter: caps, hosts, fans, leakage and converters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.twin.halls import hall, params
from twin.power import conversion_loss_w, gpu_power_w, host_power_w, leakage_w, node_it_w, server_fan_speed

NODE = params().node


def test_a_cap_holds_and_keeps_to_the_sites_range() -> None:
    caps = np.array([100.0, 250.0, 300.0, 400.0, 500.0])
    assert gpu_power_w(NODE, np.ones(5), caps).tolist() == [250.0, 250.0, 300.0, 400.0, 400.0]
    assert float(gpu_power_w(NODE, np.array(0.0), 300.0)) == NODE.gpu_idle_w


def test_a_full_node_stays_below_the_data_sheet_maximum() -> None:
    dc_w = float(node_it_w(NODE, np.array(8 * 400.0), np.array(8.0)))
    total = dc_w + float(np.asarray(NODE.fan_rated_w))
    assert dc_w == pytest.approx(float(np.asarray(NODE.rated_dc_w)))
    assert total + float(conversion_loss_w(np.array(total), NODE.psu)) < 6_500.0


def test_an_idle_node_is_host_and_idle_gpus() -> None:
    idle_w = float(node_it_w(NODE, np.array(0.0), np.array(0.0)))
    assert idle_w == pytest.approx(8 * 55.0 + sum(part.idle_w for part in hall().node.host))
    assert float(host_power_w(NODE, np.array(1.0))) == sum(part.full_w for part in hall().node.host)


def test_power_supplies_meet_80_plus_titanium() -> None:
    load_w = np.array([0.1, 0.2, 0.5]) * hall().node.psu.rated_w
    efficiency = load_w / (load_w + conversion_loss_w(load_w, NODE.psu))
    assert efficiency == pytest.approx([0.90, 0.94, 0.96], abs=2e-3)


@pytest.mark.parametrize("name", ["site.toml", "site-1mw.toml"])
def test_a_ups_is_worst_at_part_load_and_loses_without_load(name: str) -> None:
    ups = params(name).ups
    load_w = np.array([0.1, 0.3, 0.6]) * float(np.asarray(ups.rated_w))
    efficiency = load_w / (load_w + conversion_loss_w(load_w, ups))
    assert np.all(np.diff(efficiency) > 0)
    assert 0.80 < efficiency[0] < 0.90 < efficiency[1] < 0.96
    assert float(conversion_loss_w(np.array(0.0), ups)) > 0


def test_modules_share_the_load() -> None:
    ups = params("site-1mw.toml").ups
    one = conversion_loss_w(np.array(2e5), ups)
    assert float(conversion_loss_w(np.array(6e5), ups, 3)) == pytest.approx(3 * float(one))


def test_server_fans_follow_inlet_and_heat() -> None:
    inlet = np.array([18.0, 22.0, 27.0, 32.0, 45.0, 70.0])
    speed = server_fan_speed(NODE, np.full(6, NODE.rated_dc_w), np.ones(6), inlet)
    assert np.all(np.diff(speed[:4]) > 0)
    assert speed[4:].tolist() == [1.0, 1.0]
    assert float(server_fan_speed(NODE, np.array(0.0), np.array(1.0), np.array(20.0))) == NODE.fan_min_speed


def test_server_power_grows_with_inlet_as_ashrae_shows() -> None:
    inlet = np.array([20.0, 27.0])
    dc_w = np.full(2, NODE.rated_dc_w)
    fan_w = NODE.fan_rated_w * server_fan_speed(NODE, dc_w, np.ones(2), inlet) ** NODE.fan_exponent
    total = dc_w + fan_w + leakage_w(NODE, dc_w, inlet)
    assert 1.02 < total[1] / total[0] < 1.04


def test_leakage_ends_where_chips_throttle() -> None:
    node = replace(NODE, leakage_per_k=0.001, leakage_reference_c=20.0, leakage_limit_c=45.0)
    assert leakage_w(node, np.full(3, 1000.0), np.array([20.0, 45.0, 90.0])).tolist() == pytest.approx([0, 25, 25])
