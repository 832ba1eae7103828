"""`eco up`: the embedded default. Building, service and page as processes of their own, restarted when they die."""

from __future__ import annotations

import contextlib
import getpass
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apps.assembly import JOB_DAYS
from apps.dashboard.command import page_command
from apps.run_config import RunConfig, Sources
from apps.shared_clock import SharedClock, set_clock, start_clock
from apps.site_devices import emulated_secrets
from apps.state_dir import StateDir, only_one, read_json, write_json
from apps.supervise import Child
from apps.world import first_start, jobs_of, signals_of
from facility.errors import ConfigError, EcoError
from facility.records import Mode
from facility.site import Site, load_site
from scheduler.cluster.codec import job_to_json

READY_WITHIN_S = 60.0
LOOK_S = 0.1
PAGE_PORT = 8501
API_PORT = 8400


NOTHING_GIVEN = Sources()


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What the person asked for."""

    state: Path
    site: Path | None = None
    sources: Sources = NOTHING_GIVEN
    speed: float = 60.0
    duration: timedelta | None = None
    page: bool = True
    start: datetime | None = None


class Up:
    """One embedded run: set up the state directory, start the processes, watch them, stop them in order."""

    def __init__(self, options: UpOptions, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._state = StateDir(options.state).create()
        self._site = self._emulated_site()
        self._is_stopping = False  # a plain flag: an Event set in a signal handler can deadlock with its own wait

    def _emulated_site(self) -> Site:
        site = load_site(self._options.site)
        if not site.site.emulated:
            raise ConfigError(
                "this site is not emulated, and `eco up` controls only an emulated building",
                where=str(self._options.site),
                hint="use `eco run --site ...` for real devices",
            )
        return site

    def run(self) -> dict[str, Any] | None:
        """Run until the duration is over or somebody stops it; the summary where there was an end."""
        with only_one(self._state), self._stop_on_signals():
            config = self._configure()
            children = self._children(config)
            try:
                self._start(children, config)
                self._watch(children)
            finally:
                stopping_at = SharedClock(self._state).now()
                for child in reversed(children):
                    child.stop()
                self._keep_place(self._came_to(stopping_at))
            summary = read_json(self._state.summary)
        return summary if isinstance(summary, dict) else None

    def _configure(self) -> RunConfig:
        """Write clock, world and run where the processes look for them."""
        options, site = self._options, self._site
        start = self._start_time()
        config = RunConfig(
            run=uuid.uuid4().hex[:12],
            site=str(options.site.resolve()) if options.site else "",
            sources=options.sources,
            mode=Mode.ACTIVE,  # allowed because the site is emulated: checked above
            person=f"{getpass.getuser()} (eco up)",
            active_until=start + timedelta(days=JOB_DAYS),
            start=start,
            until=start + options.duration if options.duration else None,
            speed=options.speed,
            api_port=API_PORT,
        )
        signals = signals_of(options.sources, site, start, year=start.year)
        if config.until is not None and config.until > signals.end:
            raise ConfigError(
                f"the signals end at {signals.end:%Y-%m-%d %H:%M} UTC, the run at {config.until:%Y-%m-%d %H:%M}",
                where="--for",
                hint="run for a shorter time, or give files that reach further",
            )
        for stale in (self._state.summary, self._state.ports, self._state.api):
            stale.unlink(missing_ok=True)
        if not self._is_resumed(start):
            (self._state.root / "emulator.json").unlink(missing_ok=True)
        set_clock(self._state, start, options.speed)
        jobs = jobs_of(options.sources, site, start, JOB_DAYS, config.utilisation)
        hours = int((min(signals.end, start + timedelta(days=JOB_DAYS)) - start).total_seconds() // 3600)
        until = start + timedelta(hours=hours)
        world = {
            "start": start.isoformat(),
            "step_s": 3600.0,
            "drybulb_c": signals.drybulb.window(start, until, 3600.0).tolist(),
            "rh_pct": signals.rh.window(start, until, 3600.0).tolist(),
            "jobs": [job_to_json(job) for job in jobs],
        }
        write_json(self._state.world, world)
        config.save(self._state)
        self._describe(config, signals.synthetic)
        return config

    def _start_time(self) -> datetime:
        """Where the last run in this directory stopped, so that its history goes on; otherwise the beginning."""
        first = self._options.start or first_start(self._options.sources, self._site, datetime.now(UTC))
        left = read_json(self._state.root / "left.json")
        if left is None or left["sources"] != self._options.sources.model_dump(mode="json"):
            return first
        at = datetime.fromisoformat(left["at"])
        if self._options.start is not None and self._options.start < at:
            raise ConfigError(
                f"the last run here came to {at:%Y-%m-%d %H:%M} UTC with the same signals: time does not go back",
                where="--start",
                hint="choose another --state, or a later --start",
            )
        return max(first, at)

    def _is_resumed(self, start: datetime) -> bool:
        left = read_json(self._state.root / "left.json")
        return left is not None and datetime.fromisoformat(left["at"]) == start

    def _children(self, config: RunConfig) -> list[Child]:
        state = str(self._state.root)
        site = ["--site", config.site] if config.site else []
        environment = emulated_secrets(self._state)
        python = sys.executable
        building = Child(
            "building",
            [python, "-m", "apps.emulator", "--state", state, *site],
            self._state.log("building"),
            environment,
        )
        service = Child("service", [python, "-m", "apps.service", state], self._state.log("service"), environment)
        if not self._options.page:
            return [building, service]
        return [building, service, self._page()]

    def _page(self) -> Child:
        port = free_port(PAGE_PORT)
        environment = {"ECO_STATE": str(self._state.root)}
        write_json(self._state.root / "page.json", {"url": f"http://localhost:{port}"})
        return Child("page", page_command(port), self._state.log("page"), environment)

    def _start(self, children: list[Child], config: RunConfig) -> None:
        building, service, *page = children
        building.start()
        self._await(building, self._state.ports)
        service.start()
        self._await(service, self._state.api)
        if self._is_stopping:
            return  # stopped before everything listened: there is nothing to announce
        for child in page:
            child.start()
        start_clock(self._state)
        if page:
            url = read_json(self._state.root / "page.json")["url"]
            self._say(f"The twin: {url}")
        self._say(f"API: {read_json(self._state.api)['url']}/v1 (token in {self._state.root / 'api.token'})")
        self._say(f"State, logs and ports: {self._state.root}. Stop with Ctrl-C.")

    def _await(self, child: Child, ready: Path) -> None:
        """Wait for the file that says a process listens; raises EcoError with its last words where it ends first."""
        deadline = time.monotonic() + READY_WITHIN_S
        while not ready.exists() and not self._is_stopping:
            if child.exit_code is not None or time.monotonic() > deadline:
                raise EcoError(f"it did not start:\n{child.last_words()}", where=child.name, hint=f"see {child.log}")
            time.sleep(LOOK_S)

    def _watch(self, children: list[Child]) -> None:
        service = children[1]
        while not self._is_stopping:
            self._keep_place(SharedClock(self._state).now())
            if service.exit_code == 0 and self._state.summary.exists():
                return
            for child in children:
                event = child.keep_running()
                if event:
                    self._say(event)
            time.sleep(LOOK_S)

    def _keep_place(self, at: datetime) -> None:
        """Note how far the building has come, for the next run in this directory."""
        place = {"at": at.isoformat(), "sources": self._options.sources.model_dump(mode="json")}
        write_json(self._state.root / "left.json", place)

    def _came_to(self, stopping_at: datetime) -> datetime:
        """Where the building stopped: the clock itself runs on while processes end, and is of no use by then."""
        saved = read_json(self._state.root / "emulator.json")
        return stopping_at if saved is None else max(stopping_at, datetime.fromisoformat(saved["at"]))

    def _describe(self, config: RunConfig, synthetic: bool) -> None:
        world = "synthetic (labelled as such everywhere)" if synthetic else "recorded"
        self._say(f"{self._site.site.name}: an emulated building; signals: {world}.")
        end = f" to {config.until:%Y-%m-%d %H:%M}" if config.until else ""
        self._say(f"Simulated time from {config.start:%Y-%m-%d %H:%M}{end} UTC at {config.speed:g} times real time.")

    @contextlib.contextmanager
    def _stop_on_signals(self) -> Iterator[None]:
        def stop(*_: object) -> None:
            self._is_stopping = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def free_port(preferred: int) -> int:
    """``preferred`` where nobody listens on it, otherwise one that is free."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise EcoError("no free port on the loopback interface")
