"""Parking a node: the cluster side cordons and drains, then the facility switches; and the way back, in time.

One step a node at a time; where it stands is noted on the node before each act, so that a crash finds its way. What is
not known for certain now (an API server that is away, a node that has changed meanwhile) stops the step, and nothing is
switched. Right before the switch the BMC's actuator asks once more: is the cordon still ours, is the node empty, are we
still the leader? That answer is read from the store, then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from facility.checks import GuardLimits
from facility.clock import Clock
from facility.devices.chassis import Bmc, ChassisSwitch
from facility.errors import EcoError
from facility.guard import Guard
from facility.journal import Journal
from facility.records import Command, Mode, PointState, State
from scheduler.cluster.parking import Memory, NodeSeen, ParkingRules, Phase, is_wake_due, why_not_park
from scheduler.cluster.parking_nodes import ParkingNodes

log = logging.getLogger("eco.parking")

FOLLOW_S = 10.0  # wall seconds that a step waits for a switch to follow; then the next one looks
STALE_S = 60.0  # the switch's own reading is taken right before each command


async def _always() -> bool:
    return True


@dataclass
class Parking:
    """Parks and wakes the nodes that have a switch in ``bmcs``."""

    cluster: ParkingNodes
    bmcs: Mapping[str, Bmc]
    rules: ParkingRules
    clock: Clock
    journal: Path
    mode: Mode = Mode.SHADOW
    is_leader: Callable[[], Awaitable[bool]] = _always
    follow_s: float = FOLLOW_S
    problems: dict[str, str] = field(default_factory=dict)  # by node: why it is not parked, or what went wrong

    def __post_init__(self) -> None:
        self._switches = {
            name: ChassisSwitch(name, bmc, self._veto_of(name), self.follow_s) for name, bmc in self.bmcs.items()
        }
        limits = GuardLimits(max_age_s=STALE_S, write_deadline_s=self.follow_s + 60.0)
        journal = Journal(self.journal, f"parking {' '.join(sorted(self.bmcs))}")
        self.guard = Guard(list(self._switches.values()), limits, journal, self.mode)

    async def step(self, needs: Mapping[str, datetime | None]) -> None:
        """One step for each node. ``needs``: the nodes that the plan does without until then, None: for the whole plan;
        a node that is not named is needed now.
        """
        if self.mode is not Mode.ACTIVE:
            self.problems = dict.fromkeys(self.bmcs, "nothing is parked outside mode active")
            return
        try:
            nodes = await asyncio.to_thread(self.cluster.nodes)
            is_leader = await self.is_leader()
        except EcoError as error:
            self.problems = dict.fromkeys(self.bmcs, f"nothing is done: {error}")
            return
        if not is_leader:
            self.problems = dict.fromkeys(self.bmcs, "another controller leads")
            return
        now = self.clock.now()
        left = {node.name: node for node in nodes}
        for node in nodes:  # in turn: each counts the warm nodes that the others left
            if node.name in self._switches:
                await self._step_noted(node, tuple(left.values()), needs.get(node.name, now))
                if not self.problems[node.name] and node.is_schedulable:
                    left.pop(node.name)  # it has just been cordoned

    async def _step_noted(self, node: NodeSeen, nodes: Sequence[NodeSeen], needed_at: datetime | None) -> None:
        known = self.problems.get(node.name, "")
        try:
            said = await self._step(node, nodes, needed_at)
        except EcoError as error:
            said = str(error)
        self.problems[node.name] = said
        if said and said != known:
            log.info("%s: %s", node.name, said)

    async def _step(self, node: NodeSeen, nodes: Sequence[NodeSeen], needed_at: datetime | None) -> str:
        """Why nothing was done, or what went wrong; empty where the node went on."""
        memory = node.memory
        match memory.phase:
            case Phase.UP:
                return await self._begin(node, nodes, needed_at)
            case Phase.DRAINING:
                return await self._drain(node, memory, needed_at)
            case Phase.SWITCHING_OFF:  # we were interrupted in the act
                return await self._after_switch(node, memory)
            case Phase.PARKED:
                return await self._watch(node, memory, needed_at)
            case Phase.WAKING:
                return await self._welcome(node, memory)

    # Going to sleep -----------------------------------------------------------------------------------------------

    async def _begin(self, node: NodeSeen, nodes: Sequence[NodeSeen], needed_at: datetime | None) -> str:
        pods = await asyncio.to_thread(self.cluster.pods, node.name)
        now = self.clock.now()
        why = why_not_park(node, nodes, pods, needed_at, now, self.rules)
        if why:
            return why
        until = "the end of the plan" if needed_at is None else needed_at.isoformat()
        memory = node.memory.turned(Phase.DRAINING, now)
        await self._to(self.cluster.cordon, node, memory, f"parked: not needed until {until}")
        return ""

    async def _drain(self, node: NodeSeen, memory: Memory, needed_at: datetime | None) -> str:
        if not node.is_ours:
            return await self._give_up(node, memory, "somebody has taken the cordon over")
        now = self.clock.now()
        if is_wake_due(needed_at, now, self.rules):
            return await self._give_up(node, memory, "it is needed after all")
        if memory.since is None or (now - memory.since).total_seconds() > self.rules.drain_s:
            return await self._give_up(node, memory, "it could not be drained in time")
        pods = await asyncio.to_thread(self.cluster.pods, node.name)
        why = next((f"{pod.namespace}/{pod.name}: {pod.stays}" for pod in pods if pod.stays and not pod.is_leaving), "")
        if why:
            return await self._give_up(node, memory, why)
        for pod in pods:
            if not pod.is_leaving and not await asyncio.to_thread(self.cluster.evict, pod):
                return f"{pod.namespace}/{pod.name}: its disruption budget allows no eviction now"
        if pods:
            return f"{len(pods)} pods are leaving"
        return await self._switch_off(node, memory)

    async def _switch_off(self, node: NodeSeen, memory: Memory) -> str:
        memory = memory.turned(Phase.SWITCHING_OFF, self.clock.now(), node.boot_id)
        node = await self._to(self.cluster.note, node, memory)
        error = await self._switch(node.name, is_on=False)
        node = await self._look(node.name)
        if not self._switches[node.name].was_asked and await self._is_on(node.name):
            return await self._give_up(node, memory, error)  # the veto, or the guard
        return await self._after_switch(node, memory)

    async def _after_switch(self, node: NodeSeen, memory: Memory) -> str:
        """Parked where it is off; given up where it is on for longer than a shutdown takes."""
        if await self._is_on(node.name):
            asked_s = 0.0 if memory.since is None else (self.clock.now() - memory.since).total_seconds()
            if asked_s <= self.rules.shutdown_s:
                return "it is shutting down"
            return await self._give_up(node, memory, f"it did not switch off in {asked_s:.0f} s")
        await self._to(self.cluster.note, node, memory.turned(Phase.PARKED, self.clock.now()))
        log.info("%s is parked", node.name)
        return ""

    async def _give_up(self, node: NodeSeen, memory: Memory, why: str) -> str:
        memory = memory.turned(Phase.UP, self.clock.now())
        await self._to(self.cluster.uncordon, node, memory, f"not parked: {why}")
        self.guard.leave([self._switches[node.name].point])
        return why

    # Waking up ----------------------------------------------------------------------------------------------------

    async def _watch(self, node: NodeSeen, memory: Memory, needed_at: datetime | None) -> str:
        now = self.clock.now()
        if await self._is_on(node.name):  # somebody has switched it on
            await self._to(self.cluster.note, node, memory.turned(Phase.WAKING, now))
            return ""
        if not is_wake_due(needed_at, now, self.rules):
            return ""
        node = await self._to(self.cluster.note, node, memory.turned(Phase.WAKING, now))
        return await self._switch(node.name, is_on=True)

    async def _welcome(self, node: NodeSeen, memory: Memory) -> str:
        """Schedulable again once it is ready in a new life: what it said in its former one is no sign."""
        now = self.clock.now()
        if node.is_ready and node.boot_id and node.boot_id != memory.boot_id:
            await self._to(self.cluster.uncordon, node, memory.turned(Phase.UP, now), "woken")
            self.guard.leave([self._switches[node.name].point])
            log.info("%s is ready again", node.name)
            return ""
        if not await self._is_on(node.name):
            return await self._switch(node.name, is_on=True) or "switched on once more"
        late_s = 0.0 if memory.since is None else (now - memory.since).total_seconds() - self.rules.boot_s
        return f"it is on and not ready for {late_s:.0f} s longer than a start takes" if late_s > 0 else ""

    async def wake_all(self) -> list[str]:
        """Switch every parked node on, for nobody will watch it; what could not be, in words. Call ``step`` afterwards
        until they are ready, or start again: the rest is on the nodes.
        """
        errors = []
        for name in sorted(self._switches):
            try:
                node = await self._look(name)
                memory = node.memory
                if memory.phase in (Phase.SWITCHING_OFF, Phase.PARKED):
                    await self._to(self.cluster.note, node, memory.turned(Phase.WAKING, self.clock.now()))
                    error = await self._switch(name, is_on=True)
                    errors += [f"{name}: {error}"] if error else []
            except EcoError as error:
                errors.append(f"{name}: {error}")
        return errors

    # The switch ---------------------------------------------------------------------------------------------------

    async def _switch(self, node: str, *, is_on: bool) -> str:
        """Through the guard; what went wrong, in words."""
        switch = self._switches[node]
        (reading,) = await switch.read()
        now = self.clock.now()
        seen = PointState(reading.value, reading.unit, reading.measured_at, 0.0, reading.quality)
        command = Command(switch.point, float(is_on), "1", "woken" if is_on else "parked")
        (done,) = await self.guard.apply([command], State(now, {switch.point: seen}))
        return done.error or done.verdict.detail

    async def _is_on(self, node: str) -> bool:
        """Raises DeviceError where the BMC does not tell: then nothing is concluded."""
        (reading,) = await self._switches[node].read()
        if reading.value is None:
            raise EcoError("the BMC does not tell whether the node is on", where=node, hint="look at it")
        return reading.value >= 0.5

    def _veto_of(self, name: str) -> Callable[[], Awaitable[str]]:
        async def veto() -> str:
            began = self.clock.now()
            try:
                node = await self._look(name)
                pods = await asyncio.to_thread(self.cluster.pods, name)
                is_leader = await self.is_leader()
            except EcoError as error:
                return f"the cluster cannot be asked: {error}"
            if not node.is_ours or node.memory.phase is not Phase.SWITCHING_OFF:
                return "the cordon is not ours any more"
            if pods:
                return f"{pods[0].namespace}/{pods[0].name} is on it"
            if not is_leader:
                return "another controller leads"
            age_s = (self.clock.now() - began).total_seconds()
            return "" if age_s <= self.rules.veto_age_s else f"the cluster took {age_s:.0f} s to answer"

        return veto

    async def _look(self, name: str) -> NodeSeen:
        return await asyncio.to_thread(self.cluster.node, name)

    async def _to(self, act: Callable[..., NodeSeen], *arguments: Any) -> NodeSeen:
        return await asyncio.to_thread(act, *arguments)
