"""Job policies on the twin: the same jobs, weather and plant for each policy, one hall of the batch for each.

Every 15 minutes each policy sees its own cluster and one set of forecasts issued from what was public by then.
Arrivals last for the window; then all go on until the last policy has finished its last job, so that the horizon is
the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from facility.errors import DataError
from facility.records import JOB_RUN_FLAG, Decision, FloatArray, Forecasts, Job, State
from facility.site import Hall
from scheduler.cluster.emulated import EmulatedCluster
from scheduler.cluster.jobs import JobRun
from scheduler.policy import Policy
from twin.air import Weather
from twin.forecast import issue_forecasts
from twin.hall import HallFlows, HallInputs, HallParams, HallState, PlantAction, steady, step
from twin.plant import PlantControl
from twin.power import node_it_w
from twin.signals import Signals
from twin.signals.record import pressure_pa

STEP_S = 900.0
HISTORY = timedelta(hours=24)  # of carbon, before the first forecast
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Task:
    """What is simulated: the jobs over [start, until), and the hall around them."""

    jobs: tuple[Job, ...]
    start: datetime
    until: datetime  # the end of arrivals; the drain follows
    hall: Hall
    plant: PlantControl
    signals: Signals


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Intensity, price and weather of every step of the horizon, (n,); price None where it is not known."""

    start: datetime
    intensity_g_kwh: FloatArray
    price_usd_mwh: FloatArray | None
    weather: Weather


@dataclass(frozen=True, slots=True)
class Tracked:
    """One policy's run: the flows of its hall in each step, its cluster's use, and what became of the jobs."""

    policy: str
    flows: dict[str, FloatArray]  # by field of HallFlows, (n,)
    dynamic_w: FloatArray  # DC power above that of an idle cluster, (n,)
    gpus_busy: FloatArray
    queued: FloatArray  # jobs handed in, unfinished and not running
    max_inlet_c: FloatArray
    runs: tuple[JobRun, ...]


FLOWS = (
    "it_w", "pdu_loss_w", "ups_loss_w", "crah_fan_w", "chiller_w", "chw_pump_w", "cw_pump_w", "tower_fan_w", "aux_w",
    "facility_w", "water_l_h",
)  # fmt: skip
COMPONENTS = FLOWS[:-2]  # loads that add up to the main meter


class Hallway:
    """The halls of all policies side by side, stepped as one batch."""

    def __init__(self, hall: Hall, plant: PlantControl, batch: int, weather: Weather) -> None:
        """Starts in the steady state of idle computers under the first ``weather`` (1,)."""
        self._params = HallParams.from_site(hall)
        self._plant = plant
        self._hall = hall
        self._racks = np.array([hall.rack_of(index) for index in range(hall.nodes)])
        self._servers = np.full((batch, hall.racks), float(hall.nodes_per_rack))
        idle = np.zeros((batch, hall.nodes))
        inputs = HallInputs(self._rack_w(idle, idle), self._servers, weather.at(0, batch))
        self._load_w = inputs.rack_it_w.sum(axis=1)
        self._state: HallState = steady(self._params, inputs, self._action(inputs.weather))[0]

    def step(self, busy_w: FloatArray, busy_gpus: FloatArray, weather: Weather) -> HallFlows:
        """One step; busy GPUs' watts and count are (B, nodes), the plant answers to the last IT load."""
        inputs = HallInputs(self._rack_w(busy_w, busy_gpus), self._servers, weather)
        self._state, flows = step(self._params, self._state, inputs, self._action(weather), STEP_S)
        self._load_w = flows.it_w
        return flows

    def _action(self, weather: Weather) -> PlantAction:
        return self._plant.action(self._load_w, weather)

    def _rack_w(self, busy_w: FloatArray, busy_gpus: FloatArray) -> FloatArray:
        nodes = node_it_w(self._params.node, busy_w, busy_gpus)
        racks = np.zeros((len(nodes), self._hall.racks))
        for rack in range(self._hall.racks):
            racks[:, rack] = nodes[:, self._racks == rack].sum(axis=1)
        return racks


def surroundings(task: Task) -> Surroundings:
    """All that the signals cover from the start on; raises DataError where that is not even the arrivals."""
    signals = task.signals
    if signals.carbon.start > task.start - HISTORY or signals.end < task.until or signals.start > task.start:
        raise _uncovered(task, task.until)
    steps = int((signals.end - task.start).total_seconds() // STEP_S)
    end = task.start + timedelta(seconds=steps * STEP_S)
    drybulb = signals.drybulb.window(task.start, end, STEP_S)
    return Surroundings(
        start=task.start,
        intensity_g_kwh=signals.carbon.window(task.start, end, STEP_S),
        price_usd_mwh=None if signals.price is None else signals.price.window(task.start, end, STEP_S),
        weather=Weather.of(drybulb, signals.rh.window(task.start, end, STEP_S), pressure_pa(signals.altitude_m)),
    )


def simulate(
    task: Task, policies: Sequence[Policy], progress: Progress | None = None
) -> tuple[tuple[Tracked, ...], Surroundings]:
    """Run every policy until all are drained; the surroundings returned are cut to that horizon."""
    around = surroundings(task)
    clusters = [EmulatedCluster.from_hall(task.hall, task.jobs, task.start) for _ in policies]
    halls = Hallway(task.hall, task.plant, len(policies), around.weather)
    steps: list[_Step] = []
    now = task.start
    while now < task.until or not all(cluster.is_drained for cluster in clusters):
        if len(steps) == len(around.intensity_g_kwh):
            raise _uncovered(task, now + timedelta(seconds=STEP_S))
        forecasts = issue_forecasts(task.signals, now)
        for policy, cluster in zip(policies, clusters, strict=True):
            apply(cluster, decide(policy, cluster, forecasts))
        queued = [float(sum(not status.placement for status in cluster.statuses())) for cluster in clusters]
        now += timedelta(seconds=STEP_S)
        for cluster in clusters:
            cluster.advance(now)
        weather = around.weather.at(len(steps), len(policies))
        steps.append(_Step.taken(task.hall, halls, clusters, weather, np.array(queued)))
        if progress is not None:
            progress(min(1.0, (now - task.start) / (task.until - task.start)))
    return _track(policies, clusters, steps), _cut(around, len(steps))


def decide(policy: Policy, cluster: EmulatedCluster, forecasts: Forecasts) -> Decision:
    """The policy's decision on a cluster as it is."""
    return policy.decide(State(cluster.at, jobs=cluster.statuses(), nodes=cluster.nodes()), forecasts)


def apply(cluster: EmulatedCluster, decision: Decision) -> None:
    """Carry out a decision's commands on jobs: run flags and caps, in the order given."""
    for command in decision.commands:
        job, _, quantity = command.point.rpartition("/")
        if quantity != JOB_RUN_FLAG:
            cluster.set_cap(job, command.value)
        elif command.value:
            cluster.start(job, command.placement)
        else:
            cluster.suspend(job)


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of all halls, each array (B,)."""

    flows: dict[str, FloatArray]
    dynamic_w: FloatArray
    gpus_busy: FloatArray
    queued: FloatArray
    max_inlet_c: FloatArray

    @classmethod
    def taken(
        cls, hall: Hall, halls: Hallway, clusters: Sequence[EmulatedCluster], weather: Weather, queued: FloatArray
    ) -> _Step:
        """The step that the clusters have just made, and the halls with them."""
        power = [cluster.gpu_power_w() for cluster in clusters]
        busy_w = np.array([[node.mean_busy_w for node in nodes] for nodes in power])
        busy = np.array([[node.mean_busy_gpus for node in nodes] for nodes in power])
        flows = halls.step(busy_w, busy, weather)
        gpus = busy.sum(axis=1)
        dynamic = busy_w.sum(axis=1) + gpus * idle_to_busy_w(hall)
        return cls({name: getattr(flows, name) for name in FLOWS}, dynamic, gpus, queued, flows.max_inlet_c)


def idle_to_busy_w(hall: Hall) -> float:
    """What a busy GPU adds to a node's DC power beside its own watts: its share of the host, less its idle power."""
    gpu = hall.node.gpu
    host_w = sum(part.full_w - part.idle_w for part in hall.node.host)
    return host_w / gpu.per_node - gpu.idle_w


def _track(
    policies: Sequence[Policy], clusters: Sequence[EmulatedCluster], steps: Sequence[_Step]
) -> tuple[Tracked, ...]:
    return tuple(
        Tracked(
            policy=policy.name,
            flows={name: np.array([taken.flows[name][row] for taken in steps]) for name in FLOWS},
            dynamic_w=np.array([taken.dynamic_w[row] for taken in steps]),
            gpus_busy=np.array([taken.gpus_busy[row] for taken in steps]),
            queued=np.array([taken.queued[row] for taken in steps]),
            max_inlet_c=np.array([taken.max_inlet_c[row] for taken in steps]),
            runs=cluster.finished,
        )
        for row, (policy, cluster) in enumerate(zip(policies, clusters, strict=True))
    )


def _cut(around: Surroundings, steps: int) -> Surroundings:
    price = around.price_usd_mwh
    return Surroundings(
        around.start,
        around.intensity_g_kwh[:steps],
        None if price is None else price[:steps],
        around.weather.at(slice(0, steps)),
    )


def _uncovered(task: Task, end: datetime) -> DataError:
    signals, form = task.signals, "%Y-%m-%d %H:%M"
    carbon = signals.carbon
    return DataError(
        f"the simulation needs carbon from {task.start - HISTORY:{form}} and every signal from {task.start:{form}} "
        f"to {end:{form}} UTC or later, until the last job is done",
        where=f"carbon covers {carbon.start:{form}} to {carbon.end:{form}}, "
        f"all signals {signals.start:{form}} to {signals.end:{form}}",
        hint="give the neighbouring years' files too, begin elsewhere, or simulate fewer days",
    )
