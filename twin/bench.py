"""How fast the twin is, and what it says: PUE against load.

``python -m twin.bench --weather FILE [--site FILE]`` prints the table of docs/physics.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facility.records import FloatArray
from facility.site import Hall, load_site
from twin.air import STANDARD_PRESSURE_PA, Weather
from twin.hall import HallFlows, HallInputs, HallParams, HallState, PlantAction, steady, step
from twin.plant import PLANTS, PlantControl, plant_control
from twin.power import node_it_w
from twin.signals import read_weather
from twin.workload import WORKLOADS, work_curve

LOADS = (0.2, 0.4, 0.6, 0.8, 1.0)
_STEPS_OF_WEATHER = 96  # the benchmark's day, 15 minutes each


@dataclass(frozen=True, slots=True)
class PartLoad:
    """A year (or whatever the weather spans) at one constant load."""

    plant: str
    load: float  # share of the GPUs that are busy with training
    it_kw: float
    facility_kw: float
    pue: float  # energy over energy
    peak_pue: float  # of the worst hour
    peak_kw: float
    max_inlet_c: float
    economizer_share: float
    wue_l_kwh: float


def uniform_inputs(params: HallParams, weather: Weather, load: float | FloatArray) -> HallInputs:
    """Every node with the share ``load`` (one number, or (B,)) of its GPUs busy with training, the rest idle.

    A busy GPU draws the mean of the reference workloads without a cap, as the benchmark's jobs do.
    """
    busy = params.node.gpus * np.broadcast_to(np.asarray(load, dtype=np.float64), weather.wetbulb_c.shape)
    node_w = node_it_w(params.node, busy * training_gpu_w(params), busy)
    nodes = float(params.nodes_per_rack)
    rack_w = np.repeat((nodes * node_w)[:, None], params.racks, axis=1)
    return HallInputs(rack_w, np.full(rack_w.shape, nodes), weather)


def training_gpu_w(params: HallParams) -> FloatArray:
    """Mean draw of a GPU at work without a cap, over the reference workloads in equal parts, watts."""
    limit_w = float(np.max(params.node.gpu_max_w))
    draws = [work_curve(kind, limit_w).power_w(limit_w) for kind in WORKLOADS.values()]
    return np.asarray(np.mean(draws))


def settle(params: HallParams, control: PlantControl, inputs: HallInputs) -> tuple[PlantAction, HallFlows]:
    """Setpoints and steady flows of every hall of the batch under ``control``, which sees the IT power it causes."""
    load_w = inputs.rack_it_w.sum(axis=1)
    for _ in range(3):  # IT power depends a little on the setpoints, through the server fans
        action = control.action(load_w, inputs.weather)
        _, flows = steady(params, inputs, action)
        load_w = flows.it_w
    return action, flows


def part_load(hall: Hall, weather: Weather, plant: str, loads: Iterable[float] = LOADS) -> list[PartLoad]:
    """PUE and what goes with it at each load, over all hours of ``weather``."""
    params, control = HallParams.from_site(hall), plant_control(plant, hall)
    rows = []
    for load in loads:
        _, flows = settle(params, control, uniform_inputs(params, weather, load))
        rows.append(
            PartLoad(
                plant=plant,
                load=load,
                it_kw=float(flows.it_w.mean()) / 1e3,
                facility_kw=float(flows.facility_w.mean()) / 1e3,
                pue=float(flows.facility_w.sum() / flows.it_w.sum()),
                peak_pue=float(flows.pue.max()),
                peak_kw=float(flows.facility_w.max()) / 1e3,
                max_inlet_c=float(flows.max_inlet_c.max()),
                economizer_share=float(flows.economizer_w.sum() / (flows.economizer_w + flows.evaporator_w).sum()),
                wue_l_kwh=float(flows.water_l_h.sum() / (flows.it_w.sum() / 1e3)),
            )
        )
    return rows


def bench(hall: Hall, *, batch: int = 2048, seconds: float = 2.0, dt_s: float = 900.0) -> dict[str, float]:
    """Steps ``batch`` halls for ``seconds`` on one core: numpy's element-wise functions do not use threads.

    Weather, load and setpoints change at every step and are prepared before the clock starts.
    ``env_steps_per_s`` counts hall steps; ``realtime_factor`` is simulated over elapsed time of one hall of the batch.
    """
    params = HallParams.from_site(hall)
    days = _days(params, plant_control("rule", hall), batch)
    state = HallState.initial(params, batch)
    for inputs, action in days:  # warm caches, and let the halls settle
        state, _ = step(params, state, inputs, action, dt_s)
    steps, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        inputs, action = days[steps % len(days)]
        state, _ = step(params, state, inputs, action, dt_s)
        steps += 1
    return {
        "env_steps_per_s": steps * batch / elapsed,
        "realtime_factor": steps * dt_s / elapsed,
        "batch": float(batch),
        "dt_s": dt_s,
        "racks": float(params.racks),
        "seconds": elapsed,
        "threads": 1.0,
    }


def _days(params: HallParams, control: PlantControl, batch: int) -> list[tuple[HallInputs, PlantAction]]:
    """A day of inputs for every hall: each its own mean temperature and load."""
    rng = np.random.default_rng(0)
    mean_c, load = rng.uniform(0.0, 25.0, batch), rng.uniform(0.1, 1.0, batch)
    days = []
    for index in range(_STEPS_OF_WEATHER):
        wet = mean_c + 4.0 * np.sin(2.0 * np.pi * index / _STEPS_OF_WEATHER)
        weather = Weather(wet + 4.0, wet, np.full(batch, STANDARD_PRESSURE_PA))
        inputs = uniform_inputs(params, weather, np.clip(load + rng.normal(0.0, 0.05, batch), 0.0, 1.0))
        days.append((inputs, control.action(inputs.rack_it_w.sum(axis=1), weather)))
    return days


def table(hall: Hall, weather: Weather) -> str:
    """PUE against load under each plant control, as Markdown."""
    lines = [
        "| Plant | Load | IT kW | Facility kW | PUE | Worst | Peak kW | Warmest inlet C | Economizer | WUE L/kWh |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for plant in PLANTS:
        for row in part_load(hall, weather, plant):
            lines.append(
                f"| {row.plant} | {row.load:.0%} | {row.it_kw:.1f} | {row.facility_kw:.1f} | {row.pue:.3f} | "
                f"{row.peak_pue:.3f} | {row.peak_kw:.1f} | {row.max_inlet_c:.1f} | {row.economizer_share:.0%} | "
                f"{row.wue_l_kwh:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Print the table and the speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weather", type=Path, required=True, help="Open-Meteo JSON or EPW")
    parser.add_argument("--site", type=Path, default=None, help="site file (default: the reference hall)")
    given = parser.parse_args()
    hall, record = load_site(given.site).hall, read_weather([given.weather])
    print(table(hall, Weather.of(record.drybulb.value, record.rh.value)))
    print(bench(hall))


if __name__ == "__main__":
    main()
