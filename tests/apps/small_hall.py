"""The loop over a small hall in memory: two setpoints, two inlets, weather and a meter, on a clock that tests move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from apps.assembly import Parts, guard_limits, mode_rules
from apps.control import Control
from apps.deciding import Decider, make_joint
from apps.demand_response import DemandResponse
from apps.heart import Heart
from apps.keeper import Keeper
from apps.modes import Grant, Modes
from apps.outlook import Outlook
from apps.run_config import RunConfig
from apps.started import started_entry
from apps.state_dir import StateDir
from apps.tick import Loop
from facility.clock import ManualClock
from facility.collector import Collector, Polled
from facility.guard import Guard
from facility.journal import Journal
from facility.overrides import Overrides
from facility.records import Mode, Point, Quality, Reading
from facility.site import Roles, Site, load_site
from facility.store import Store
from tests.facility.memory import MemoryActuator
from twin.signals import synthetic_signals
from twin.signals.record import Signals

START = datetime(2023, 6, 1, 12, tzinfo=UTC)
TICK = timedelta(minutes=15)
SETPOINT, FAN = "hall/supply_air_setpoint_c", "hall/fan_speed_setpoint_pct"
INLETS = ("hall/rack_1_inlet_c", "hall/rack_2_inlet_c")
VALUES = {
    SETPOINT: 18.0,
    FAN: 100.0,
    **dict.fromkeys(INLETS, 19.0),
    "hall/drybulb_c": 15.0,
    "hall/rh_pct": 60.0,
    "hall/it_power_w": 30_000.0,
}


class ClockedActuator(MemoryActuator):
    """Stamps its readings by the test's clock."""

    clock: ManualClock

    def _reading(self, point: str) -> Reading:
        return Reading(point, self.values[point], self.points[point].unit, self.clock.now(), Quality.GOOD, self.name)


def small_site() -> Site:
    """The reference hall with the roles of the points above."""
    roles = Roles(
        it_power_w=("hall/it_power_w",),
        rack_inlet_c=INLETS,
        drybulb_c="hall/drybulb_c",
        rh_pct="hall/rh_pct",
        supply_air_setpoint_c=(SETPOINT,),
        fan_speed_setpoint_pct=(FAN,),
    )
    return load_site().model_copy(update={"roles": roles})


def points() -> list[Point]:
    """All of them; the setpoints can be written."""
    units = {"_c": "degC", "_pct": "%", "_w": "W"}
    found = []
    for name in VALUES:
        unit = next(unit for end, unit in units.items() if name.endswith(end))
        is_setpoint = "setpoint" in name
        low, high = (15.0, 27.0) if name == SETPOINT else (30.0, 100.0)
        limits = (low, high) if is_setpoint else (None, None)
        found.append(Point(name, "value", unit, "hall", writable=is_setpoint, min=limits[0], max=limits[1]))
    return found


@dataclass
class SmallHall:
    """What a test moves and looks at."""

    parts: Parts
    device: ClockedActuator
    clock: ManualClock
    keeper: Keeper
    control: Control
    heart: Heart

    async def tick(self) -> None:
        """A quarter of an hour later: read, decide, propose, keep overrides."""
        self.clock.advance(TICK.total_seconds())
        await self.read()
        loop = self.parts.loop
        await loop.tick(self.clock.now())
        assert loop.last_state is not None
        self.control.propose(loop.last_state, self.clock.now() + TICK)
        await self.control.reapply(loop.last_state)
        await self.keeper.commit()

    async def beat(self, after_s: float = 30.0) -> None:
        """Some time later: read, and one heartbeat."""
        self.clock.advance(after_s)
        await self.read()
        await self.heart.beat()
        await self.keeper.commit()

    async def read(self) -> None:
        """Poll the device."""
        for polled in self.parts.polled:
            await self.parts.loop.collector.poll(polled)

    def audit(self, **parameters: str) -> list[tuple[str, str, str]]:
        """Kind, action and person of every audit row, oldest first."""
        rows = self.parts.store.query("audit", limit=1000, **parameters).to_pylist()
        return [(row["kind"], row["action"], row["person"]) for row in reversed(rows)]


def small_hall(
    folder: Path, mode: Mode = Mode.SHADOW, until: timedelta | None = None, grant: Grant | None = None
) -> SmallHall:
    """The loop, assembled by hand from the parts that a real run has."""
    site, clock, state = small_site(), ManualClock(START), StateDir(folder).create()
    device = ClockedActuator(points(), VALUES)
    device.clock = clock
    first = grant or Grant(mode, START, "Ada", until=None if until is None else START + until)
    modes = Modes(state.mode, "r", first, mode_rules(site))
    store, overrides = Store.open(state.database, "r"), Overrides(state.overrides)
    polled = (Polled(device, 60.0, 5.0),)
    loop = Loop(
        collector=Collector(polled, clock, _drop),
        cluster=None,
        outlook=Outlook(_signals()),
        decider=Decider(make_joint("", site, 600.0), site, 600.0),
        guard=Guard([device], guard_limits(site, 1.0), Journal(state.journal, "small"), modes.mode, overrides),
        store=store,
    )
    parts = Parts(site, store, loop, (device,), polled, modes, overrides)
    keeper = Keeper(store)
    control = Control(parts, keeper, clock, DemandResponse(loop, site, state, "r"))
    keeper.note(started_entry(RunConfig(run="r", start=START, mode=mode), parts, START))
    return SmallHall(parts, device, clock, keeper, control, Heart(parts, control, clock))


def _signals() -> Signals:
    return synthetic_signals("US-CAL-CISO", START - timedelta(days=30), 60, 1)


async def _drop(_: Sequence[Reading]) -> None:
    return None
