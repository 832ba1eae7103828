"""The agent of one GPU node: look, decide what is wanted, let the guard write it, give back what is not wanted.

It holds nothing for longer than the controller allows. A limit that was written is on disk before, with what stood
there: an agent that was killed gives it back when it starts again, unless the same limit is still wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from apps.agent.allocation import Allocation
from apps.agent.budget import PodBudget
from apps.agent.cluster import NodeView
from apps.agent.config import AgentConfig
from apps.agent.limiter import Limiter
from apps.agent.sight import Sight, busy_pct
from apps.agent.snapshot import GpuNow, Snapshot
from apps.agent.stall_rule import StallWatch
from apps.agent.status import Statuses
from apps.agent.wanted import CLOCK, POWER, Wanted, wanted
from facility.clock import Clock
from facility.devices.nvml import GpuIdentity, NvmlDevice
from facility.errors import EcoError
from facility.records import Mode, State

log = logging.getLogger("eco.agent")


class Agent:
    """Runs until it is told to stop; then gives every limit back."""

    def __init__(self, config: AgentConfig, clock: Clock, view: NodeView | None) -> None:
        """``view`` is None where there is no API server: then nothing is ever limited."""
        self._config, self._clock = config, clock
        # Whether anything is written is the guard's to say; giving back is allowed in every mode.
        self._gpus = NvmlDevice(config.node, clock, config.deadline_s, may_write=True)
        self._sight = Sight(config, clock, self._gpus, view)
        self._stalls = StallWatch()
        self._statuses = Statuses()
        self._limiter: Limiter | None = None
        self._known: dict[str, GpuIdentity] = {}
        self._stop = asyncio.Event()
        self.last = Snapshot(config.node, clock.now(), config.mode.value)

    def stop(self) -> None:
        """Ask for an orderly end."""
        self._stop.set()

    async def run(self) -> list[str]:
        """Rounds until the end; returns what could not be given back, in words."""
        following = asyncio.create_task(self._sight.follow_server())
        try:
            # What an earlier run left may still be wanted: one answer is waited for, or one failure.
            await asyncio.wait(
                [asyncio.create_task(one.wait()) for one in (self._sight.was_asked, self._stop)],
                return_when=asyncio.FIRST_COMPLETED,
            )
            while not self._stop.is_set():
                try:
                    await self.round()
                except EcoError as error:
                    self._failed(error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), self._config.poll_s)
        finally:
            following.cancel()
            await asyncio.wait([following])
            errors = await self.close()
        return errors

    async def look(self) -> Snapshot:
        """What is there and what would be wanted; nothing is written nor given back. Raises as ``round`` does."""
        await asyncio.gather(self._sight.read_gpus(), self._sight.ask_server())
        self._known = await self._gpus.identify()
        state, allocation = await self._sight.read_gpus(), await self._sight.allocation()
        budgets = self._sight.budgets()
        goal = wanted(self._known, allocation, budgets, frozenset())
        self.last = self._snapshot(state, allocation, budgets, goal, None)
        return self.last

    async def round(self) -> Snapshot:
        """One round. Raises DeviceError where the GPUs cannot be read, GuardError where the journal cannot."""
        sight = self._sight
        state = await sight.read_gpus()
        limiter = await self._limiter_of(state)
        allocation = await sight.allocation()
        holders = sorted({holder.where for holder in allocation.holders.values()})
        budgets = sight.budgets()
        await self._watch_stalls(state, allocation, holders)
        goal = wanted(self._known, allocation, budgets, self._stalls.stalled)
        await limiter.apply(goal, state)
        self.last = self._snapshot(state, allocation, budgets, goal, limiter)
        if self._config.mode is Mode.ACTIVE:
            sight.status = self._statuses.of(self.last, sight.object)
        return self.last

    async def _limiter_of(self, state: State) -> Limiter:
        """Made with the first round, when it is known which GPUs there are."""
        known = await self._gpus.identify()
        if self._limiter is None or known.keys() != self._known.keys():
            self._limiter = Limiter(self._gpus, known, self._config.state, self._config.mode)
            left = self._limiter.guard.left_over
            if left and self._config.mode is not Mode.ACTIVE:
                log.warning("an earlier run left %s: given back", ", ".join(sorted(left)))
                for error in await self._limiter.give_back():
                    log.error("%s", error)
        self._known = known
        return self._limiter

    async def _watch_stalls(self, state: State, allocation: Allocation, holders: list[str]) -> None:
        stalls = await self._sight.stalls()
        uuids = {name: gpu.uuid for name, gpu in self._known.items()}
        busy = busy_pct(state, allocation, uuids)
        held = {pod: stalls.get(pod) for pod in holders}
        self._stalls.update(held, busy, self._sight.steady_s())

    def _snapshot(
        self,
        state: State,
        allocation: Allocation,
        budgets: Mapping[str, PodBudget],
        goal: Wanted,
        limiter: Limiter | None,
    ) -> Snapshot:
        problems = (*self._sight.problems.values(), *(limiter.problems if limiter else ()))
        left_s = {pod: (one.expires_at - state.at).total_seconds() for pod, one in budgets.items()}
        return Snapshot(
            self._config.node,
            state.at,
            self._config.mode.value,
            tuple(self._gpu_now(name, state, allocation, goal, limiter) for name in self._known),
            left_s,
            self._stalls.stalled,
            self._held_values(state, limiter),
            {pod.where: pod.uid for pod in self._sight.pods},
            problems,
        )

    def _held_values(self, state: State, limiter: Limiter | None) -> dict[str, float | None]:
        points = sorted(limiter.guard.left_over) if limiter else []
        return {point: known.value for point in points if (known := state.points.get(point)) is not None}

    def _gpu_now(
        self, name: str, state: State, allocation: Allocation, goal: Wanted, limiter: Limiter | None
    ) -> GpuNow:
        own = [(point, one.value) for point, one in state.points.items() if point.startswith(f"{name}/")]
        identity = self._known[name]
        return GpuNow(
            name,
            identity,
            {point.rpartition("/")[2]: value for point, value in own},
            None if identity.is_mig else allocation.holders.get(identity.uuid),
            goal.refused.get(name, ""),
            limiter is not None and bool(limiter.overridden & {f"{name}/{POWER}", f"{name}/{CLOCK}"}),
        )

    def _failed(self, error: EcoError) -> None:
        known = self.last.problems
        self.last = Snapshot(self._config.node, self._clock.now(), self._config.mode.value, problems=(str(error),))
        if known != self.last.problems:
            log.error("%s", error)

    async def close(self) -> list[str]:
        """Give back what is held and close; returns what could not be given back, in words."""
        errors: list[str] = []
        if self._limiter is not None:
            self._limiter.guard.close()
            errors = await self._limiter.give_back()
        await self._sight.close()
        with contextlib.suppress(EcoError):
            await self._gpus.close()
        return errors
