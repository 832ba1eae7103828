"""What the API may see of the running service, and what persons may do to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from apps.account import Summary
from apps.demand_response import DemandResponse
from apps.modes import Grant, Modes
from apps.proposals import Proposal, Proposals
from facility.audit import Actor, AuditEntry
from facility.overrides import Override, Overrides
from facility.records import Forecasts, Mode, State
from facility.store import Store
from facility.written import Written


class ControlView(Protocol):
    """Acts of persons. Each raises DataError for what cannot be, StoreError where it could not be audited first."""

    @property
    def modes(self) -> Modes:
        """The mode in force."""
        ...

    @property
    def proposals(self) -> Proposals:
        """What was proposed."""
        ...

    @property
    def overrides(self) -> Overrides:
        """Points that a person holds."""
        ...

    @property
    def demand(self) -> DemandResponse:
        """The event that is under way, or was last."""
        ...

    async def set_mode(self, mode: Mode, actor: Actor, why: str, until: datetime | None) -> Grant:
        """Change the mode."""
        ...

    async def stop(self, actor: Actor, why: str) -> list[str]:
        """Decide and write nothing any more, and give all back at once; returns errors, in words."""
        ...

    async def accept(self, name: str, actor: Actor, why: str) -> tuple[Proposal, list[Written]]:
        """Write what was proposed."""
        ...

    async def reject(self, name: str, actor: Actor, why: str) -> Proposal:
        """Close a proposal."""
        ...

    async def hold(self, point: str, value: float | None, actor: Actor, why: str) -> tuple[Override, list[Written]]:
        """Take a point from the loop, and set it where a value is given."""
        ...

    async def lift(self, point: str, actor: Actor, why: str) -> Override:
        """Give a point back to the loop."""
        ...

    async def order_event(self, shed_w: float, for_s: float, actor: Actor, why: str) -> AuditEntry:
        """Begin a demand-response event."""
        ...

    async def end_event(self, actor: Actor) -> AuditEntry:
        """End it early, in order."""
        ...


class ServiceView(Protocol):
    """What the API asks of the service."""

    @property
    def store(self) -> Store:
        """The store of this process."""
        ...

    @property
    def control(self) -> ControlView:
        """What persons may do."""
        ...

    async def state_now(self) -> State:
        """The state at this moment."""
        ...

    def now(self) -> datetime:
        """The time by the run's clock."""
        ...

    def forecasts(self) -> Forecasts:
        """The forecasts of the last tick."""
        ...

    def about(self) -> dict[str, Any]:
        """Site, mode, clock and roles."""
        ...

    def carbon(self) -> dict[str, Any]:
        """The grid's intensity as energy is accounted with it."""
        ...

    def health(self) -> dict[str, Any]:
        """Whether the loop runs, and what it has acknowledged."""
        ...

    def summary(self) -> Summary:
        """The account of this run so far."""
        ...

    def alarms(self) -> list[dict[str, Any]]:
        """What is wrong now, worst first."""
        ...

    def counters(self) -> Mapping[str, float]:
        """The service's own figures by the name of their metric; a name that ends in ``_total`` counts up."""
        ...
