"""The joint simulator: B halls with their jobs, nodes and plants, advanced together in steps of 15 minutes.

One step: the policy sees an ``ArenaView`` and answers with an ``ArenaAction``; limits and shield make it safe; jobs
are suspended and started; nodes park and wake; busy GPUs work; the hall's physics follow the heat; the account is
taken. No loop runs over halls. See docs/scheduling.md, "The arena".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from facility.errors import DataError
from facility.site import Hall
from scheduler.arena.account import COMPONENTS, KWH, STEP_H, StepAccount, Totals, carbon_kg
from scheduler.arena.arrays import FloatArray, IntArray
from scheduler.arena.cluster import Cluster, Worked
from scheduler.arena.cooling import PlantRoom, Setpoints
from scheduler.arena.decide import Decided, Decider, idle_to_busy_w
from scheduler.arena.jobs import JobTable
from scheduler.arena.nodes import PARKED
from scheduler.arena.power import NodePower
from scheduler.arena.settings import STEP_S, ArenaSettings
from scheduler.arena.slots import ABSENT, RUNNING
from scheduler.arena.surroundings import Surroundings
from scheduler.arena.view import ArenaAction, ArenaView
from twin.air import ENVELOPES
from twin.hall import HallFlows, HallInputs, HallParams
from twin.plant import PlantControl

_RECOMMENDED = ENVELOPES["recommended"]


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """What is simulated: halls of one structure, what surrounds each, and the jobs that each is given."""

    hall: Hall
    jobs: JobTable
    around: Surroundings
    control: PlantControl
    settings: ArenaSettings
    params: HallParams | None = None  # the true plants, one for each hall of the batch; the hall's own without

    def rows(self, index: IntArray) -> World:
        """The same for some halls, repeats allowed; the plants must be all alike."""
        return replace(self, jobs=self.jobs.rows(index), around=self.around.rows(index))


@dataclass(frozen=True, slots=True, eq=False)
class _Start:
    """How a step begins, after its decision, (B,) each."""

    queued: IntArray
    waiting_gpus: IntArray
    capped_gpu_h: FloatArray
    running_w: FloatArray  # what the running jobs add to the idle cluster's DC power


class Arena:
    """A batch of halls on its way through a window."""

    def __init__(self, world: World, *, shield: bool = False) -> None:
        """At step 0, idle, in the steady state of the plant; ``shield`` keeps deferral, caps and parking from making
        a job late (``scheduler.arena.shield``).
        """
        world.jobs.require_fit(world.hall.gpus)
        settings, hall, batch = world.settings, world.hall, len(world.jobs.count)
        self.world = world
        self.totals = Totals()
        self._params = world.params or HallParams.from_site(hall)
        self.cluster = Cluster(world.jobs, hall.nodes, hall.node.gpu.per_node, settings.parking)
        self._decider = Decider(hall, self._params, settings, shield=shield)
        self._power = NodePower.of(hall, settings.parking)
        self._idle_to_busy_w = idle_to_busy_w(hall)
        self._running_w = np.zeros(batch)
        idle = np.zeros((batch, hall.nodes))
        self._plant = PlantRoom(hall, self._params, world.control, settings.limits)
        self._plant.settle(self._inputs(idle, idle))

    def view(self) -> ArenaView:
        """What a policy sees now; raises DataError where the signals have ended."""
        if self.cluster.step >= self.world.around.steps:
            raise DataError(
                f"the signals end after {self.world.around.steps * STEP_S / 86400.0:.1f} days and jobs are still to do",
                where="arena",
                hint="give the neighbouring years' files too, begin elsewhere, or simulate fewer days",
            )
        return ArenaView.of(self.cluster, self.world.around, self._plant.seen)

    def step(self, action: ArenaAction) -> StepAccount:
        """Carry out a decision and let 15 minutes pass."""
        cluster = self.cluster
        decided = self._decider.carry_out(cluster, action)
        start = self._begun(decided)
        worked = cluster.advance(decided.speed, decided.power_w)
        inputs = self._inputs(worked.busy_w, worked.busy_gpus)
        lead_w = self._plant.seen.it_w + start.running_w - self._running_w
        leads = lead_w if self.world.settings.cooling_leads else None
        flows = self._plant.step(inputs, Setpoints(action.plant, action.residual, leads))
        account = self._account(decided, start, worked, flows)
        self._running_w = account.dynamic_w
        self.totals.add(account)
        cluster.next_step()
        return account

    def _inputs(self, busy_w: FloatArray, busy_gpus: FloatArray) -> HallInputs:
        step, nodes = self.cluster.step, self.cluster.nodes
        rack_w, servers = self._power.of_racks(nodes, busy_w, busy_gpus, step, self._params.node)
        return HallInputs(rack_w, servers, self.world.around.weather_at(step))

    def _begun(self, decided: Decided) -> _Start:
        slots = self.cluster.slots
        running = slots.phase == RUNNING
        waiting = ~running & (slots.phase != ABSENT)
        gpus = np.where(running, slots.gpus, 0)
        watts = decided.power_w + self._idle_to_busy_w
        return _Start(
            queued=waiting.sum(axis=1),
            waiting_gpus=np.where(waiting, slots.gpus, 0).sum(axis=1),
            capped_gpu_h=((1.0 - decided.speed) * gpus).sum(axis=1) * STEP_H,
            running_w=(watts * gpus).sum(axis=1),
        )

    def _account(self, decided: Decided, start: _Start, worked: Worked, flows: HallFlows) -> StepAccount:
        around, step, limits = self.world.around, self.cluster.step, self.world.settings.limits
        price = around.price_usd_mwh
        gpus_busy = worked.busy_gpus.sum(axis=1)
        inlet_c = flows.max_inlet_c
        return StepAccount(
            flows={name: getattr(flows, name) for name in COMPONENTS},
            it_w=flows.it_w,
            facility_w=flows.facility_w,
            carbon_kg=carbon_kg(flows, around.intensity_g_kwh[step]),
            cost_usd=None if price is None else flows.facility_w * KWH / 1e3 * price[step],
            water_l=flows.water_l_h * STEP_H,
            max_inlet_c=inlet_c,
            hot_min=np.where(inlet_c > limits.inlet_c, STEP_S / 60.0, 0.0),
            violation_min=np.where(_RECOMMENDED.excess_k(inlet_c) > 0.0, STEP_S / 60.0, 0.0),
            dynamic_w=worked.busy_w.sum(axis=1) + gpus_busy * self._idle_to_busy_w,
            gpus_busy=gpus_busy,
            queued=start.queued,
            parked_node_h=(self.cluster.nodes.state == PARKED).sum(axis=1) * STEP_H,
            suspended=decided.suspended,
            started=decided.started,
            capped_gpu_h=start.capped_gpu_h,
            waiting_gpus=start.waiting_gpus.astype(np.float64),
            amended=decided.amended,
            refused=decided.refused,
            ramp_over_w=decided.ramp_over_w,
        )
