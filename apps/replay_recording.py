"""A recording through the loop in SHADOW: the same collector, policy and guard as live, on the recording's clock."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from apps.assembly import fresh_s, guard_limits
from apps.deciding import Decider, make_joint
from apps.outlook import open_outlook
from apps.replay import Replayed, plain
from apps.run_config import Sources
from apps.service import next_multiple
from apps.tick import Loop
from apps.world import signals_of
from facility.clock import ManualClock
from facility.collector import Collector, Polled
from facility.devices.replay import ReplayDevice
from facility.errors import DataError
from facility.guard import Guard
from facility.journal import Journal
from facility.recording import load_recording
from facility.records import Mode, Reading
from facility.site import Site
from facility.store import Store

NAME = "recording"
DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Window:
    """Times of the recording to replay; None: from its beginning, to its end."""

    start: datetime | None = None
    end: datetime | None = None


async def replay_recording(
    path: Path, site: Site, policy: str, window: Window, sources: Sources
) -> AsyncIterator[Replayed]:
    """Decisions and verdicts at every tick of the site in ``window``; nothing can be written, and nothing is.

    Raises DataError where the recording cannot be read or has nothing of that time.
    """
    recording = load_recording(path)
    start = max(window.start or recording.start, recording.start)
    end = min(window.end or recording.end, recording.end)
    tick_s = site.control.tick_s
    clock = ManualClock(start)
    due = next_multiple(start - timedelta(microseconds=1), tick_s)
    if due > end:
        span = f"{recording.start.isoformat()} to {recording.end.isoformat()}"
        raise DataError("no tick falls into that time", where=str(path), hint=f"it goes from {span}")
    with tempfile.TemporaryDirectory(prefix="eco-replay-") as folder:
        device = ReplayDevice(NAME, recording, clock)
        loop, polled = _loop(device, site, policy, sources, clock, Path(folder))
        try:
            while due <= end:
                clock.advance((due - clock.now()).total_seconds())
                await loop.collector.poll(polled)
                decision = await loop.tick(due)
                verdicts = [_verdict(asdict(done.verdict)) for done in loop.last_written]
                yield Replayed(due, plain(decision), None, None, verdicts)
                due = next_multiple(due, tick_s)
        finally:
            loop.outlook.close()
            loop.store.close()


def _loop(
    device: ReplayDevice, site: Site, policy: str, sources: Sources, clock: ManualClock, folder: Path
) -> tuple[Loop, Polled]:
    max_age_s = fresh_s(site, 1.0)
    polled = Polled(device, site.control.tick_s, DEADLINE_S)
    guard = Guard([device], guard_limits(site, 1.0), Journal(folder / "written.json", NAME), Mode.SHADOW)
    signals = signals_of(sources, site, clock.now(), year=clock.now().year)
    loop = Loop(
        collector=Collector([polled], clock, _drop),
        cluster=None,
        outlook=open_outlook(sources, site, signals, folder / "carbon"),
        decider=Decider(make_joint(policy, site, max_age_s), site, max_age_s),
        guard=guard,
        store=Store.open(folder / "eco.duckdb", NAME),
    )
    return loop, polled


async def _drop(_: list[Reading]) -> None:
    """The recording is kept already."""


def _verdict(data: dict[str, object]) -> dict[str, object]:
    found: dict[str, object] = json.loads(json.dumps(data, default=str))
    return found
