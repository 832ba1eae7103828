"""BACnet/IP peers in processes of their own: a device on bacpypes3, and BAC0 as a second client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from socket import SOCK_DGRAM
from typing import Any, Self

from tests.peers.processes import free_port, running

INSTANCE = 1234


@contextlib.contextmanager
def bacnet_device(
    scratch: Path, *options: str, port: int | None = None, instance: int = INSTANCE
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A device with the objects of ``tests.peers.bacnet_device``; yields its port and process."""
    port = port or free_port(SOCK_DGRAM)
    log = scratch / f"bacnet-{port}.log"
    command = [sys.executable, "-m", "tests.peers.bacnet_device", str(port), str(instance), *options]
    with running(command, log, lambda: "READY" in log.read_text()) as process:
        yield port, process


class Bac0:
    """BAC0 in a process of its own."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.peers.bac0_client", str(free_port(SOCK_DGRAM))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, command: str) -> Any:
        """What BAC0 makes of one command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            if line.startswith("ANSWER "):
                return json.loads(line.removeprefix("ANSWER "))
        raise AssertionError("BAC0 ended without an answer")


Ask = Callable[..., Awaitable[list[Any]]]


@contextlib.contextmanager
def asking_bac0() -> Iterator[Ask]:
    """Ask BAC0 some commands in turn, without holding up the event loop."""
    with Bac0() as client:

        async def answers(*commands: str) -> list[Any]:
            return [await asyncio.to_thread(client.ask, each) for each in commands]

        yield answers


def present_value(port: int, kind: str, instance: int) -> str:
    """BAC0's command to read a present value."""
    return f"read 127.0.0.1:{port} {kind} {instance} presentValue"


def write(port: int, kind: str, instance: int, value: str, priority: int) -> str:
    """BAC0's command to write a present value at a priority; ``null`` relinquishes."""
    return f"write 127.0.0.1:{port} {kind} {instance} presentValue {value} - {priority}"
