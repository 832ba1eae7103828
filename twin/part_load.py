"""What a plant needs at a constant load: PUE and total power of each way of running it, over all hours of a weather."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from facility.records import FloatArray
from facility.site import Hall
from twin.air import Weather
from twin.hall import HallFlows, HallInputs, HallParams, PlantAction, steady
from twin.plant import PlantControl, plant_control
from twin.power import node_it_w
from twin.workload import WORKLOADS, work_curve

LOADS = (0.2, 0.4, 0.6, 0.8, 1.0)


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
