"""The collector under load: many emulated devices, some dead and some slow, into a real store."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facility.clock import WallClock
from facility.collector import LATENCY_S, Collector, Polled
from facility.devices import open_device
from facility.errors import ConfigError
from facility.records import Reading
from facility.site import Device
from facility.store import Store

DEADLINE_S = 8.0
UNITS_A_LINE = 5  # healthy Modbus units that share a gateway
POINT = {
    "modbus": "address = {place2}\ntype = 'float32'",
    "snmp": "oid = '1.3.6.1.4.1.99999.{place1}.0'",
    "redfish": "resource = '/redfish/v1/Chassis/1/Bench'\npointer = '/Readings/{place1}'",
}


@dataclass(frozen=True, slots=True)
class Load:
    """What is emulated, for how long (seconds), and which shares of it are dead and slow."""

    modbus: int = 750
    snmp: int = 200
    redfish: int = 50
    points: int = 20_000
    period_s: float = 10.0
    duration_s: float = 300.0
    dead: float = 0.05
    slow: float = 0.05

    @property
    def devices(self) -> int:
        """All devices."""
        return self.modbus + self.snmp + self.redfish

    def states(self, count: int) -> dict[str, int]:
        """How many of ``count`` devices are in each state; the dead are half refused, half mute."""
        dead, slow = round(count * self.dead), round(count * self.slow)
        return {"healthy": count - dead - slow, "slow": slow, "mute": dead // 2, "refused": dead - dead // 2}


@dataclass(slots=True)
class Measured:
    """What one run showed."""

    readings: int = 0
    rows: int = 0
    latencies_s: dict[str, list[float]] | None = None


def bench_collector(load: Load, progress: Callable[[float], None] = lambda share: None) -> dict[str, Any]:
    """Poll for ``load.duration_s`` seconds; the figures. ``progress`` is told the share that is done."""
    if load.devices < 1 or load.points < load.devices:
        raise ConfigError("a device needs at least one point", where="--points", hint="fewer devices or more points")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        devices = [
            device
            for kind, count in (("modbus", load.modbus), ("snmp", load.snmp), ("redfish", load.redfish))
            if count
            for device in _devices(kind, load, count, folder, stack)
        ]
        store = Store.open(folder / "bench.duckdb")
        stack.callback(store.close)
        return asyncio.run(_measure(load, devices, store, progress))


def _devices(kind: str, load: Load, count: int, folder: Path, stack: contextlib.ExitStack) -> list[tuple[str, Device]]:
    """Start the devices of a kind in a process of their own; state and settings of each."""
    profile = _profile(kind, round(load.points / load.devices), folder)
    states = load.states(count)
    units = UNITS_A_LINE if kind == "modbus" else 1
    ports = stack.enter_context(_serving(kind, -(-states["healthy"] // units), states["slow"], states["mute"]))
    ports["healthy"] = [port for port in ports["healthy"] for _ in range(units)][: states["healthy"]]
    ports["refused"] = [_closed_port(kind) for _ in range(states["refused"])]
    return [
        (state, _settings(f"{kind}-{state}-{number}", profile, port, number % units + 1, load.period_s))
        for state, found in ports.items()
        for number, port in enumerate(found)
    ]


def _settings(name: str, profile: Path, port: int, unit: int, period_s: float) -> Device:
    kind = name.split("-")[0]
    settings: dict[str, Any] = {
        "name": name,
        "protocol": kind,
        "profile": str(profile),
        "port": port,
        "unit_id": unit,
        "poll_s": period_s,
        "deadline_s": DEADLINE_S,
    }
    if kind == "snmp":
        secret = profile.with_name("community")
        secret.write_text("bench", encoding="utf-8")
        settings["snmp"] = {"version": "2c", "community": f"file:{secret}"}
    if kind == "redfish":
        settings["http"] = {"scheme": "http"}
    return Device.model_validate(settings)


def _profile(kind: str, points: int, folder: Path) -> Path:
    path = folder / f"bench-{kind}.toml"
    parts = [f"[profile]\nname = 'bench-{kind}'\nprotocol = '{kind}'\nsource = 'the load benchmark'\n"]
    for place in range(points):
        address = POINT[kind].format(place1=place + 1, place2=2 * place)
        parts.append(f"[[point]]\nname = 'p{place}_w'\nkind = 'power'\nunit = 'W'\n{address}\nscale = 0.1\n")
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


@contextlib.contextmanager
def _serving(kind: str, healthy: int, slow: int, mute: int) -> Iterator[dict[str, list[int]]]:
    command = [sys.executable, "-m", "apps.bench_devices", kind, str(healthy), str(slow), str(mute)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("pipes were asked for")
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def _closed_port(kind: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "snmp" else socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _measure(
    load: Load, devices: list[tuple[str, Device]], store: Store, progress: Callable[[float], None]
) -> dict[str, Any]:
    clock, seen = WallClock(), Measured(latencies_s={})
    opened = [(state, open_device(settings, clock)) for state, settings in devices]
    polled = [Polled(device, load.period_s, DEADLINE_S) for _, device in opened]

    async def keep(readings: list[Reading]) -> None:
        seen.readings += len(readings)
        _note_latencies(seen, readings)
        seen.rows += await asyncio.to_thread(store.append_readings, readings)

    collector = Collector(polled, clock, keep)
    cpu_s, began = _cpu_s(), time.monotonic()
    running = asyncio.create_task(collector.run())
    while (passed_s := time.monotonic() - began) < load.duration_s:
        progress(passed_s / load.duration_s)
        await asyncio.sleep(min(1.0, load.duration_s - passed_s))
    cpu_s, wall_s = _cpu_s() - cpu_s, time.monotonic() - began
    collector.stop()
    running.cancel()
    await asyncio.wait([running], timeout=2.0 * DEADLINE_S)
    for _, device in opened:
        await device.close()
    return _figures(load, [(state, device.name) for state, device in opened], collector, seen, cpu_s, wall_s)


def _note_latencies(seen: Measured, readings: list[Reading]) -> None:
    if seen.latencies_s is None:
        return
    for reading in readings:
        if reading.point.endswith(LATENCY_S) and reading.value is not None:
            seen.latencies_s.setdefault(reading.point.split("/")[0], []).append(reading.value)


def _figures(
    load: Load, names: list[tuple[str, str]], collector: Collector, seen: Measured, cpu_s: float, wall_s: float
) -> dict[str, Any]:
    healthy = [name for state, name in names if state == "healthy"]
    slow = [name for state, name in names if state == "slow"]
    dead = [name for state, name in names if state in ("mute", "refused")]
    health = collector.health
    took_s = [value for name in healthy for value in (seen.latencies_s or {}).get(name, [])] or [float("nan")]
    return {
        "devices": load.devices,
        "points": load.points,
        "period_s": load.period_s,
        "seconds": wall_s,
        "healthy_devices": len(healthy),
        "healthy_polls": sum(health(name).polls for name in healthy),
        "healthy_polls_fewest": min((health(name).polls for name in healthy), default=0),
        "healthy_missed_periods": sum(health(name).missed for name in healthy),
        "healthy_failed_polls": sum(health(name).failures for name in healthy),
        "healthy_poll_p50_ms": 1000.0 * float(np.percentile(took_s, 50)),
        "healthy_poll_p99_ms": 1000.0 * float(np.percentile(took_s, 99)),
        "slow_devices": len(slow),
        "slow_missed_periods": sum(health(name).missed for name in slow),
        "slow_failed_polls": sum(health(name).failures for name in slow),
        "dead_devices": len(dead),
        "dead_polls": sum(health(name).polls for name in dead),
        "readings_per_s": seen.readings / wall_s,
        "rows_stored": seen.rows,
        "readings_dropped": collector.dropped,
        "cpu_share_pct": 100.0 * cpu_s / wall_s,
        "memory_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    }


def _cpu_s() -> float:
    """User and system time of this process alone: collector, clients and store."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
