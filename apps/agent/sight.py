"""The agent's eyes: GPUs, who holds them, stalls, and the API server's word. A source that fails costs itself alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from apps.agent.allocation import Allocation
from apps.agent.budget import Leases, Pod, PodBudget, from_object, from_pods, strictest
from apps.agent.cluster import NodeView
from apps.agent.config import AgentConfig
from facility.clock import Clock
from facility.devices.blocking import Blocking
from facility.devices.nvml import NvmlDevice
from facility.devices.stalls import StallDevice
from facility.devices.stalls.device import QUANTITY
from facility.errors import EcoError
from facility.records import PointState, Reading, State
from facility.site import Device

log = logging.getLogger("eco.agent")

NOTHING = Allocation({}, {})
KUBELET_FRESH_S = 30.0  # wall seconds; who holds a GPU is not believed for longer while the kubelet is silent
T = TypeVar("T")


@dataclass
class Sight:
    """What is seen of one node; ``problems`` are those of the last look."""

    config: AgentConfig
    clock: Clock
    gpus: NvmlDevice
    view: NodeView | None
    steady_s: Callable[[], float] = time.monotonic
    problems: dict[str, str] = field(default_factory=dict)
    pods: tuple[Pod, ...] = ()
    status: Mapping[str, Any] | None = None  # to be told to the API server
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    object: Mapping[str, Any] | None = None  # the node's NodePowerBudget

    def __post_init__(self) -> None:
        # gRPC comes with an extra, and is needed where there is a kubelet.
        from apps.agent.pod_resources import PodResources

        config = self.config
        self._kubelet = PodResources(config.kubelet_socket)
        self._ask_kubelet = Blocking("kubelet", 2.0 * config.deadline_s, "is the kubelet alive?")
        self._ask_api = Blocking("kubernetes", 4.0 * config.deadline_s, "is the API server alive?")
        stalls = Device(
            name=config.node, protocol="stalls", deadline_s=config.deadline_s, cgroup_root=config.cgroup_root
        )
        self._stalls = StallDevice(stalls, self.clock)
        self._leases = Leases(config.max_hold_s)
        self._allocation, self._allocated_s = NOTHING, -float("inf")

    async def read_gpus(self) -> State:
        """Every reading of every GPU. Raises DeviceError."""
        readings = await self.gpus.read()
        now = self.clock.now()
        return State(now, {one.point: _state_of(one, now) for one in readings})

    async def allocation(self) -> Allocation:
        """Who holds which GPU; the last answer for a while where the kubelet is silent, then nobody."""
        found = await self._tried("kubelet", lambda: self._ask_kubelet.run(self._kubelet.allocation))
        if found is not None:
            self._allocation, self._allocated_s = found, self.steady_s()
        elif self.steady_s() - self._allocated_s > KUBELET_FRESH_S:
            self._allocation = NOTHING
        return self._allocation

    async def stalls(self) -> dict[str, float | None]:
        """Share of time that each pod waited for I/O, in percent, by namespace/pod."""
        by_point = {f"{self.config.node}/pod-{pod.uid}/{QUANTITY}": pod.where for pod in self.pods}
        readings = await self._tried("stalls", lambda: self._pod_stalls(by_point))
        return {by_point[one.point]: one.value for one in readings or ()}

    async def _pod_stalls(self, by_point: Mapping[str, str]) -> list[Reading]:
        """Pods alone: a kernel that does not count the node's pressure costs nothing here."""
        await self._stalls.read(())
        return await self._stalls.read([point for point in by_point if point in self._stalls.points])

    def budgets(self) -> dict[str, PodBudget]:
        """What is allowed now to each pod, by namespace/pod, and to the REST."""
        said = (from_pods(self.pods), from_object(self.object, self.pods))
        self._note("budget", "; ".join(problem for one in said for problem in one.problems))
        given = [budget for one in said for budget in one.budgets]
        return strictest(self._leases.in_force(given, self.clock.now(), self.steady_s()))

    async def follow_server(self) -> None:
        """Ask the API server for ever, beside the rounds: one that hangs must not keep limits in force."""
        while True:
            await self.ask_server()
            await asyncio.sleep(self.config.budget_poll_s)

    async def ask_server(self) -> None:
        """Ask once, and tell what there is to tell. What is not answered stays as it was: it ends by its deadline."""
        view, status = self.view, self.status
        if view is not None:
            answer = await self._tried("pods", lambda: self._ask_api.run(lambda: tuple(view.pods())))
            self.pods = self.pods if answer is None else answer
            found = await self._tried("api", lambda: self._ask_api.run(lambda: [view.budget()]))
            self.object = self.object if found is None else found[0]
            if status is not None and self.object is not None:
                await self._tried("report", lambda: self._ask_api.run(lambda: view.report(status)))
        self.was_asked.set()

    async def _tried(self, source: str, work: Callable[[], Any]) -> Any:
        try:
            answer = await work()
        except EcoError as error:
            self._note(source, str(error))
            return None
        self._note(source, "")
        return answer

    def _note(self, source: str, problem: str) -> None:
        if problem and self.problems.get(source) != problem:
            log.warning("%s", problem)
        self.problems = {key: text for key, text in {**self.problems, source: problem}.items() if text}

    async def close(self) -> None:
        """Close what is open."""
        self._kubelet.close()
        await self._stalls.close()


def _state_of(one: Reading, now: Any) -> PointState:
    age_s = max((now - one.measured_at).total_seconds(), 0.0)
    return PointState(one.value, one.unit, one.measured_at, age_s, one.quality)


def busy_pct(state: State, allocation: Allocation, uuids: Mapping[str, str]) -> dict[str, float | None]:
    """Mean utilisation of the GPUs of each pod, by namespace/pod; None where one of them does not tell."""
    shares: dict[str, list[float | None]] = {}
    for gpu, uuid in uuids.items():
        holder = allocation.holders.get(uuid)
        known = state.points.get(f"{gpu}/utilization_pct")
        if holder is not None:
            shares.setdefault(holder.where, []).append(None if known is None else known.value)
    return {
        pod: None if None in found else sum(share for share in found if share is not None) / len(found)
        for pod, found in shares.items()
    }
