"""Runs `eco up` for a test, and asks it things as a person or another program would."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

DEADLINE_S = 120.0
T = TypeVar("T")


def wait_for(look: Callable[[], T | None], what: str, deadline_s: float = DEADLINE_S) -> T:
    """Poll until ``look`` gives something true; fails with ``what`` after a generous deadline."""
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        with contextlib.suppress(httpx.HTTPError, OSError, ValueError, KeyError):
            found = look()
            if found:
                return found
        time.sleep(0.1)
    raise AssertionError(f"waited {deadline_s:.0f} s for {what}")


@dataclass
class Running:
    """A running `eco up`."""

    state: Path
    process: subprocess.Popen[str]

    def read(self, name: str) -> Any:
        """A JSON file of the state directory."""
        return json.loads((self.state / name).read_text(encoding="utf-8"))

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON answer of the API."""
        headers = {"Accept": "application/json"}
        if (self.state / "api.token").exists():
            headers["Authorization"] = f"Bearer {(self.state / 'api.token').read_text().strip()}"
        answer = httpx.get(self.read("api.json")["url"] + path, params=parameters, headers=headers, timeout=10.0)
        answer.raise_for_status()
        return answer.json()

    def wait_for_decisions(self, count: int) -> list[dict[str, Any]]:
        """The decisions, once there are ``count`` of them."""

        def enough() -> list[dict[str, Any]] | None:
            rows: list[dict[str, Any]] = self.get("/v1/query/decisions", limit=1000)
            return rows if len(rows) >= count else None

        return wait_for(enough, f"{count} decisions")

    def logs(self) -> str:
        """The ends of all logs, for a failure's message."""
        return "\n".join(f"== {log.name}\n{log.read_text()[-3000:]}" for log in sorted(self.state.glob("*.log")))


@contextlib.contextmanager
def eco_up(state: Path, *options: str) -> Iterator[Running]:
    """Start `eco up`, stop it with an interrupt at the end, and fail where it does not stop in order."""
    command = [sys.executable, "-m", "apps.cli", "up", "--state", str(state), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, text=True)
    running = Running(state, process)
    try:
        wait_for(lambda: (state / "api.json").exists(), "the API")
        yield running
    except BaseException:
        print(running.logs())
        raise
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        if process.poll() is None:
            process.kill()
            raise AssertionError("`eco up` did not stop")
