"""One life of the service in a campaign: its parts as a run has them, on a clock that the campaign moves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import pyarrow as pa

from apps.assembly import Parts, guard_limits, mode_rules
from apps.control import Control
from apps.deciding import Decider
from apps.demand_response import DemandResponse
from apps.faults.device import FaultyDevice
from apps.heart import Heart
from apps.keeper import Keeper
from apps.modes import Grant, Modes
from apps.outlook import Outlook
from apps.state_dir import StateDir
from apps.tick import Loop
from facility.clock import Clock
from facility.collector import Collector, Polled
from facility.errors import StoreError
from facility.guard import Guard
from facility.journal import Journal
from facility.overrides import Overrides
from facility.profile import load_profile
from facility.records import Forecasts, Mode, Reading
from facility.site import Site
from facility.store import Store, Transaction
from twin.signals import Signals

RUN = "faults"
GRANT = timedelta(days=1)
ENGINEER = "Campaign Engineer"


class FullDisk(Store):
    """The store, which takes nothing while the disk is full."""

    is_full = False

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """As the store, where there is room."""
        self._room()
        with super().transaction() as kept:
            yield kept

    def _insert(self, name: str, table: pa.Table) -> None:
        self._room()
        super()._insert(name, table)

    def _room(self) -> None:
        if self.is_full:
            raise StoreError("no space left on device", where="disk", hint="is there free space?")


class CutOutlook(Outlook):
    """Forecasts, unless the provider does not answer."""

    is_out = False

    def issue(self, at: datetime) -> tuple[Forecasts, list[str]]:
        """Nothing while it is out, as where a provider fails and nothing is left of its last answer."""
        return ({}, ["provider: no answer"]) if self.is_out else super().issue(at)


class Life:
    """What a process holds, from its start to its death."""

    def __init__(
        self,
        site: Site,
        state: StateDir,
        devices: Sequence[FaultyDevice],
        clock: Clock,
        decider: Decider,
        signals: Signals,
    ) -> None:
        now = clock.now()
        first = Grant(Mode.ACTIVE, now, ENGINEER, "operator", "campaign", now + GRANT)
        modes = Modes(state.mode, RUN, first, mode_rules(site))
        self.store = FullDisk.open(state.database, RUN)
        self.outlook = CutOutlook(signals)
        overrides = Overrides(state.overrides)
        polled = tuple(Polled(device, 60.0, 5.0) for device in devices)
        self.loop = Loop(
            collector=Collector(polled, clock, self._offer),
            cluster=None,
            outlook=self.outlook,
            decider=decider,
            guard=Guard(devices, guard_limits(site, 1.0), Journal(state.journal, RUN), modes.mode, overrides),
            store=self.store,
        )
        release = load_profile("emulated-crah").release
        releases = {device.name: release for device in devices if device.remote.local}
        self.parts = Parts(site, self.store, self.loop, tuple(devices), polled, modes, overrides, 1.0, releases)
        self.keeper = Keeper(self.store)
        demand = DemandResponse(self.loop, site, state, RUN)
        self.control = Control(self.parts, self.keeper, clock, demand)
        self.heart = Heart(self.parts, self.control, clock)

    async def _offer(self, readings: list[Reading]) -> None:
        await self.keeper.offer(readings)
