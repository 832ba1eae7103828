"""Redfish services for the tests: the strict server over real captures or an emulated node, and a client for it."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from apps.emulator.redfish import Service, serving
from apps.emulator.redfish_node import NodeNumbers, NodePlate, NodeTree
from apps.emulator.redfish_tls import Certificate, certificate_in
from apps.emulator.redfish_tree import Tree, load_capture
from facility.clock import WallClock
from facility.devices.redfish import RedfishDevice
from facility.profile import load_profile
from facility.records import Reading
from facility.site import Device
from facility.site.site import Http
from tests.peers.processes import answers_tcp, running
from tests.shared import shared

USER, PASSWORD = "eco", "a-long-secret"
EIGHT_GPUS = NodeNumbers(gpu_w=(700.0,) * 6 + (90.0,) * 2, node_w=6200.0, energy_wh=123_400.0, inlet_c=24.5)
TWO_GPUS = NodeNumbers(gpu_w=(700.0, 90.0), node_w=1900.0, energy_wh=123_400.0, inlet_c=24.5)


def in_a_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A coroutine test as a plain one, in an event loop of its own."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        async def whole() -> None:
            await test(*arguments, **named)

        asyncio.run(whole())

    return run


def captured(name: str) -> Service:
    """A real capture behind the strict server; skips the test where it is absent."""
    return Service(Tree(load_capture(shared(f"facility/redfish/{name}"))), USER, PASSWORD)


def emulated_node(numbers: NodeNumbers = TWO_GPUS) -> Service:
    """A node that draws the ``numbers``; its GPUs take limits of 200 to 1000 W."""
    plate = NodePlate(gpus=len(numbers.gpu_w), gpu_min_w=200.0, gpu_max_w=1000.0)
    return Service(NodeTree(plate, lambda: numbers), USER, PASSWORD)


@asynccontextmanager
async def served(service: Service, tls: Certificate | None = None, port: int = 0) -> AsyncIterator[int]:
    """One service; yields its port."""
    async with serving({"bmc": service}, tls=tls, wishes={"bmc": port}) as ports:
        yield ports["bmc"]


@asynccontextmanager
async def device_at(
    port: int, profile: str | Path, http: Http | None = None, deadline_s: float = 10.0
) -> AsyncIterator[RedfishDevice]:
    """The product's own device, over plain HTTP unless told otherwise."""
    http = http or Http(scheme="http", user=USER, password="env:TEST_PASSWORD")
    settings = Device(
        name="node-1", protocol="redfish", profile=str(profile), port=port, http=http, deadline_s=deadline_s
    )
    device = RedfishDevice(settings, load_profile(profile), WallClock())
    try:
        yield device
    finally:
        await device.close()


@asynccontextmanager
async def connected(service: Service, profile: str | Path, deadline_s: float = 10.0) -> AsyncIterator[RedfishDevice]:
    """A served service and a device that talks to it."""
    async with served(service) as port, device_at(port, profile, deadline_s=deadline_s) as device:
        yield device


def values(readings: list[Reading]) -> dict[str, float | None]:
    """Values by the profile's own names."""
    return {reading.point.partition("/")[2]: reading.value for reading in readings}


@contextmanager
def process(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The emulated node over TLS in a process of its own; killed (-9) at the end."""
    command = [sys.executable, "-m", "tests.peers.redfish", str(folder), str(port)]
    with running(command, folder / "redfish.log", lambda: answers_tcp(port)) as running_process:
        yield running_process


async def _serve(folder: Path, port: int) -> None:
    async with served(emulated_node(), certificate_in(folder), port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
