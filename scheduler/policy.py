"""The port every policy serves."""

from __future__ import annotations

from typing import Protocol

from facility.records import Decision, Forecasts, State


class Policy(Protocol):
    """Decides from what is known at ``state.at`` and forecasts issued no later; keeps no clock of its own."""

    name: str
    version: str

    def decide(self, state: State, forecasts: Forecasts) -> Decision:
        """What to do until the next tick, and why. The same inputs give the same decision, byte for byte."""
        ...
