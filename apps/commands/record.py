"""`eco record`: what a site's devices say, as a recording."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import signal
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from apps.commands.output import console, parse_duration, print_json
from apps.shared_clock import SharedClock
from apps.site_devices import open_devices
from apps.state_dir import StateDir, default_state_dir, read_json
from facility.clock import Clock, WallClock
from facility.collector import Collector, Polled
from facility.devices.replay import ReplayDevice
from facility.errors import ConfigError
from facility.recorder import Recorder, Summary
from facility.records import Actuator, Point, Reading
from facility.site import Site, load_site

LOOK_S = 0.2  # wall seconds between looks at the time
COPY_ROWS = 10_000


def record(
    site: Annotated[Path, typer.Option(metavar="SITE", help="The site file.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the recording; it must not hold one.")],
    duration: Annotated[
        timedelta | None,
        typer.Option("--for", parser=parse_duration, metavar="DURATION", help="How long, e.g. 10m; else until Ctrl-C."),
    ] = None,
    every: Annotated[
        timedelta | None,
        typer.Option(parser=parse_duration, metavar="DURATION", help="Poll every device so often, not as configured."),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="State directory of a running emulated building.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Poll every device of SITE, read-only, and write what was said as Parquet with points.csv.

    A site of replay devices alone is copied row by row, bit for bit. Times of an emulated site are its own.
    Exits with 1 where no device said anything.
    """
    loaded = load_site(site)
    if not loaded.device:
        raise ConfigError("no devices are configured: there is nothing to record", where=str(site))
    clock, devices = _open_all(loaded, StateDir(state or default_state_dir()))
    recorder = Recorder(out)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(f"recording {len(devices)} devices")
        replays = [device for device in devices if isinstance(device, ReplayDevice)]
        if len(replays) == len(devices):
            _copy(replays, recorder)
        else:
            polled = [
                Polled(device, settings.poll_s if every is None else every.total_seconds(), settings.deadline_s)
                for device, settings in zip(devices, loaded.device, strict=True)
            ]
            asyncio.run(_listen(polled, clock, recorder, duration))
    summary = recorder.close()
    _show(summary, json=json)
    if not summary.rows:
        raise typer.Exit(1)


def _open_all(site: Site, state: StateDir) -> tuple[Clock, tuple[Actuator, ...]]:
    """The clock, and every device of the site; an emulated one must be running."""
    if site.site.emulated and (read_json(state.ports) is None or read_json(state.clock) is None):
        hint = "start it with `eco up`, and name its --state"
        raise ConfigError("the emulated building does not run", where=str(state.root), hint=hint)
    clock: Clock = SharedClock(state) if site.site.emulated else WallClock()
    return clock, open_devices(site, state, clock)


def _copy(devices: Sequence[ReplayDevice], recorder: Recorder) -> None:
    """Every row of every recording, by time."""
    points: dict[str, Point] = {name: point for device in devices for name, point in device.points.items()}
    rows = heapq.merge(*(device.history() for device in devices), key=lambda reading: reading.measured_at)
    while batch := list(itertools.islice(rows, COPY_ROWS)):
        recorder.add(batch, points)


async def _listen(polled: Sequence[Polled], clock: Clock, recorder: Recorder, duration: timedelta | None) -> None:
    """Poll until the time is over or a signal comes; whatever happens, connections are closed."""

    async def keep(readings: list[Reading]) -> None:
        points = {name: point for one in polled for name, point in one.device.points.items()}
        await asyncio.to_thread(recorder.add, readings, points)

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if isinstance(clock, SharedClock):
        await clock.started()
    collector = Collector(polled, clock, keep)
    polling = asyncio.create_task(collector.run())
    end = None if duration is None else clock.now() + duration
    try:
        while not stop.is_set() and not polling.done() and (end is None or clock.now() < end):
            await asyncio.sleep(LOOK_S)
        if polling.done():
            polling.result()  # raises what ended it
    finally:
        collector.stop()
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        for one in polled:
            await one.device.close()
    for one in polled:
        if one_error := collector.health(one.device.name).last_error:
            console.print(f"{one.device.name}: {one_error}", highlight=False, markup=False)


def _show(summary: Summary, *, json: bool) -> None:
    data: dict[str, Any] = asdict(summary) | {"folder": str(summary.folder)}
    if json:
        print_json(data)
        return
    span = "" if summary.first is None else f" from {summary.first:%Y-%m-%d %H:%M:%S} to {summary.last:%H:%M:%S} UTC"
    console.print(
        f"{summary.folder}: {summary.rows:,} rows of {summary.points:,} points{span}; {summary.bad:,} bad,"
        f" {summary.uncertain:,} uncertain; {summary.size_bytes:,} bytes",
        highlight=False,
    )
