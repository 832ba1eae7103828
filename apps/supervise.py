"""Keeps child processes running: starts them, restarts those that die, stops them in order."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facility.errors import ConfigError

RESTART_AFTER_S = 2.0  # a process that died rests this long before it is started again
RESTART_AFTER_MAX_S = 30.0
STEADY_S = 60.0  # after this long without dying, the next death counts as a first one
CONFIG_EXIT = 78  # EX_CONFIG of sysexits.h: the process ends so where its configuration is wrong; no start mends that
STOP_WITHIN_S = 30.0  # more than winding down takes where no device answers the release


PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with_parent() -> None:
    """On Linux, ask for SIGTERM when the supervisor dies, so that even its kill -9 leaves nobody behind in control."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Child:
    """One process: how it is started, where its output goes, and how often it died."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    died_at: float | None = None
    deaths: int = 0

    def start(self) -> None:
        """Start the process with its output appended to its log."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                list(self.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                preexec_fn=end_with_parent,
                start_new_session=True,  # an interrupt in the terminal reaches the supervisor alone
            )
        self.started_at, self.died_at = time.monotonic(), None

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return None if self.process is None else self.process.poll()

    @property
    def is_hopeless(self) -> bool:
        """Whether it ended for its configuration: it would end so again, however often it is started."""
        return self.exit_code == CONFIG_EXIT

    def rest_s(self) -> float:
        """How long to wait before the next start: twice as long after each death in a row."""
        return min(RESTART_AFTER_S * 2.0 ** max(self.deaths - 1, 0), RESTART_AFTER_MAX_S)

    def keep_running(self) -> str | None:
        """Restart the process when it has died and rested; says in words what happened, if anything did.

        Raises ConfigError with its last words where it ended for its configuration.
        """
        if self.is_hopeless:
            hint = f"correct it and start again; see {self.log}"
            raise ConfigError(f"it cannot run as it is configured:\n{self.last_words()}", where=self.name, hint=hint)
        if self.exit_code is None:
            return None
        now = time.monotonic()
        if self.died_at is None:
            self.died_at = now
            self.deaths = 1 if now - self.started_at > STEADY_S else self.deaths + 1
            return (
                f"{self.name} ended with code {self.exit_code}; starts again in {self.rest_s():.0f} s (log: {self.log})"
            )
        if now - self.died_at >= self.rest_s():
            self.start()
            return f"{self.name} started again"
        return None

    def stop(self) -> None:
        """Ask the process to end, and kill it where it does not."""
        if self.process is None or self.exit_code is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_words(self, lines: int = 5) -> str:
        """The end of the log, for an error message."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])
