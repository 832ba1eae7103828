"""Power-speed curves: monotone, faithful to the sweeps that they were fitted to, and labelled."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from facility.errors import DataError
from facility.records import WorkClass
from tests.shared import shared
from twin import curve_fit
from twin.workload import WORKLOADS, gpu_wh_per_step, steps_per_s, work_curve

CAPS_W = np.arange(200.0, 401.0, 5.0)


@pytest.mark.parametrize("work_class", list(WorkClass))
def test_curves_are_monotone_and_within_bounds(work_class: WorkClass) -> None:
    curve = work_curve(work_class)
    speed, power = curve.speed(CAPS_W), curve.power_w(CAPS_W)
    assert np.all(np.diff(speed) >= 0)
    assert np.all(np.diff(power) >= 0)
    assert speed[-1] == 1.0
    assert np.all(power <= CAPS_W)
    assert np.all(power > curve.idle_w)
    assert curve.speed(450.0) == 1.0
    assert 0.75 < curve.energy_ratio(250.0) < 0.9


def test_a_cap_costs_compute_bound_work_more() -> None:
    compute, memory = work_curve(WorkClass.COMPUTE_BOUND), work_curve(WorkClass.MEMORY_BOUND)
    assert np.all(compute.speed(CAPS_W[:-1]) <= memory.speed(CAPS_W[:-1]))


@pytest.mark.parametrize("cap_w", [150.0, float("nan"), [300.0, 100.0]])
def test_caps_below_the_sweeps_are_refused(cap_w: object) -> None:
    with pytest.raises(DataError, match="caps begin at 200 W"):
        work_curve(WorkClass.COMPUTE_BOUND).speed(cap_w)  # type: ignore[arg-type]


def test_steps_and_their_energy() -> None:
    for workload in WORKLOADS:
        rate = steps_per_s(workload, [1, 2, 4, 8])
        assert np.all(np.diff(rate) > 0)
        assert np.all(rate[1:] / rate[0] < [2, 4, 8])
        assert gpu_wh_per_step(workload, 4, 300.0) < gpu_wh_per_step(workload, 4, 400.0)
    with pytest.raises(DataError, match="known: bert-large, resnet50"):
        steps_per_s("gpt9", 1)
    with pytest.raises(DataError, match="gpt9"):
        gpu_wh_per_step("gpt9", 1)


def test_the_shipped_parameters_are_the_fit_of_the_recordings() -> None:
    folder = shared("gpu_power")
    assert curve_fit.to_toml(folder) == (files("data") / "gpu_curves.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("work_class", list(WorkClass))
def test_fit_error_is_as_stated(work_class: WorkClass) -> None:
    fit = curve_fit.fit_curve(curve_fit.read_sweeps(shared("gpu_power"), *curve_fit.RECORDED[work_class]))
    curve = work_curve(work_class)
    assert fit.speed_rmse == pytest.approx(curve.speed_rmse, abs=1e-4)
    assert fit.speed_rmse < 0.06  # between GPU types, not noise: each answers to a cap in its own way
    assert fit.power_rmse < 0.06


@pytest.mark.parametrize(
    ("recorded", "saving_pct"),
    [
        (("imagenet", "resnet50"), {"v100": 5.2, "a40": 15.8, "p100": 9.6, "rtx6000": 9.4}),
        (("squad", "bert_base_uncased"), {"v100": 4.6, "a40": 11.2, "p100": 10.0, "rtx6000": 2.5}),
    ],
)
def test_known_savings_come_out_of_the_recordings(recorded: tuple[str, str], saving_pct: dict[str, float]) -> None:
    savings = curve_fit.savings_by_gpu(curve_fit.read_sweeps(shared("gpu_power"), *recorded))
    assert {gpu: round(100.0 * saving, 1) for gpu, saving in savings.items()} == pytest.approx(saving_pct, abs=0.051)


@pytest.mark.parametrize(("model", "batch"), [("resnet50", 256), ("bert", 128)])
def test_scaling_misses_less_than_four_per_cent(model: str, batch: int) -> None:
    assert curve_fit.fit_scaling(shared("gpu_power"), model, batch)[1] < 0.04


def test_a_folder_without_sweeps(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="no sweeps of resnet50"):
        curve_fit.read_sweeps(tmp_path, "imagenet", "resnet50")
