"""Nodes that are on, draining, parked or booting, for many halls at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scheduler.arena.arrays import BoolArray, IntArray, first_true, ranked
from scheduler.arena.settings import FOREVER, STEP_S, Parking

ON, DRAINING, PARKED, BOOTING = 0, 1, 2, 3
STEPS_DAY = round(86400.0 / STEP_S)


@dataclass(slots=True, eq=False)
class Nodes:
    """Arrays (B, N). A node takes gangs while it is ON; a draining one keeps those that it has."""

    rules: Parking
    state: IntArray
    since: IntArray  # step of the last change
    ready: IntArray  # step from which a booting node takes gangs
    parked_at: IntArray  # (B, N, cycles a day) steps of the latest parkings

    @classmethod
    def all_on(cls, batch: int, nodes: int, rules: Parking) -> Nodes:
        """Every node is on."""
        zeros = np.zeros((batch, nodes), dtype=np.int64)
        past = np.full((batch, nodes, rules.cycles_per_day), -FOREVER)
        return cls(rules, zeros.copy(), zeros.copy(), zeros.copy(), past)

    @property
    def is_open(self) -> BoolArray:
        """Nodes that take gangs."""
        return np.asarray(self.state == ON)

    @property
    def warm(self) -> IntArray:
        """Nodes that are on or about to be, (B,); draining ones are not."""
        return np.asarray(((self.state == ON) | (self.state == BOOTING)).sum(axis=1))

    def woken(self, step: int) -> None:
        """Booting nodes whose time has come are on."""
        done = (self.state == BOOTING) & (self.ready <= step)
        self.state[done], self.since[done] = ON, step

    def available(self, step: int) -> IntArray:
        """First step at which each node could take a gang, were all commanded on at ``step``; draining ones stay."""
        boot = step + self.rules.boot_steps
        return np.where(self.state == PARKED, boot, np.where(self.state == BOOTING, np.maximum(self.ready, step), step))

    def command(self, target: IntArray, busy_gpus: IntArray, step: int, active: BoolArray) -> None:
        """Move ``active`` halls (B,) towards ``target`` (B,) warm nodes: stop draining, then boot; or park idle nodes,
        then drain others.

        ``busy_gpus`` (B, N). A draining node parks once it is empty. The last nodes park first, so that heat and work
        gather in the first racks.
        """
        target = np.clip(target, self.rules.warm_floor, self.state.shape[1])
        gap = np.where(active, target - self.warm, 0)
        short = np.maximum(gap, 0)
        back = first_true(self.state == DRAINING, short)
        self._turn(back, ON, step)
        booting = first_true(self.state == PARKED, short - back.sum(axis=1))
        self._turn(booting, BOOTING, step)
        self.ready[booting] = step + self.rules.boot_steps
        if self.rules.allowed:
            self._close(np.maximum(-gap, 0), busy_gpus, step, active)

    def wake_all(self, rows: IntArray, step: int) -> None:
        """Command every node of some halls on."""
        state = self.state[rows]
        self.since[rows] = np.where((state == DRAINING) | (state == PARKED), step, self.since[rows])
        self.ready[rows] = np.where(state == PARKED, step + self.rules.boot_steps, self.ready[rows])
        self.state[rows] = np.where(state == PARKED, BOOTING, np.where(state == DRAINING, ON, state))

    def _close(self, surplus: IntArray, busy_gpus: IntArray, step: int, active: BoolArray) -> None:
        rested = (self.parked_at.min(axis=2) <= step - STEPS_DAY) & (busy_gpus == 0)
        column = np.arange(self.state.shape[1], dtype=np.float64)
        parking = ranked((self.state == ON) & rested, np.broadcast_to(-column, rested.shape), surplus)
        left = surplus - parking.sum(axis=1)
        busy = (self.state == ON) & (busy_gpus > 0)
        self._turn(ranked(busy, busy_gpus - column / 1e3, left), DRAINING, step)
        self._park(parking | ((self.state == DRAINING) & rested & active[:, None]), step)

    def _park(self, chosen: BoolArray, step: int) -> None:
        self._turn(chosen, PARKED, step)
        row, node = np.nonzero(chosen)
        self.parked_at[row, node, self.parked_at[row, node].argmin(axis=1)] = step

    def _turn(self, chosen: BoolArray, state: int, step: int) -> None:
        self.state[chosen], self.since[chosen] = state, step
