"""The state directory: database, journal, ports, tokens and clock of one running site."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facility.errors import ConfigError


def default_state_dir() -> Path:
    """``$XDG_STATE_HOME/eco-orchestrator``, or its default under the home directory."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "eco-orchestrator"


@dataclass(frozen=True, slots=True)
class StateDir:
    """Names of the files in the state directory; nothing else in the product spells them."""

    root: Path

    def create(self) -> StateDir:
        """Make the directory, private to its owner; raises ConfigError where that cannot be."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"cannot make the state directory: {error.strerror}",
                where=str(self.root),
                hint="choose another --state",
            ) from error
        return self

    @property
    def database(self) -> Path:
        """The DuckDB file; one process owns it."""
        return self.root / "eco.duckdb"

    @property
    def journal(self) -> Path:
        """What stood at each point before the first write."""
        return self.root / "written.json"

    @property
    def mode(self) -> Path:
        """The mode that the present run is in."""
        return self.root / "mode.json"

    @property
    def overrides(self) -> Path:
        """Points that a person holds."""
        return self.root / "overrides.json"

    @property
    def event(self) -> Path:
        """The demand-response event that is under way; absent where none is."""
        return self.root / "event.json"

    @property
    def history(self) -> Path:
        """Folder of the Parquet segments to which old rows go."""
        return self.root / "history"

    @property
    def tokens(self) -> Path:
        """Personal tokens of the API, hashed."""
        return self.root / "tokens.json"

    @property
    def clock(self) -> Path:
        """Epoch and speed of an emulated site's clock."""
        return self.root / "clock.json"

    @property
    def world(self) -> Path:
        """Weather and jobs of the emulated building."""
        return self.root / "world.json"

    @property
    def run(self) -> Path:
        """What the service was asked to do."""
        return self.root / "run.json"

    @property
    def ports(self) -> Path:
        """Where each emulated device, the API and the page listen."""
        return self.root / "ports.json"

    @property
    def api(self) -> Path:
        """Address of the service's API; present while it serves."""
        return self.root / "api.json"

    @property
    def summary(self) -> Path:
        """Written when a run with an end is over."""
        return self.root / "summary.json"

    def log(self, process: str) -> Path:
        """The log file of one process."""
        return self.root / f"{process}.log"

    def token(self, name: str) -> str:
        """The token in ``name.token``, made at first need and readable by its owner alone."""
        path = self.root / f"{name}.token"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text(encoding="utf-8").strip()
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32))
        return path.read_text(encoding="utf-8").strip()


@contextlib.contextmanager
def only_one(state: StateDir) -> Iterator[None]:
    """Hold the state directory: a second `eco up` or `eco run` in it is refused with ConfigError."""
    with (state.root / "run.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                "another `eco up` or `eco run` uses this state directory",
                where=str(state.root),
                hint="stop it, or choose another --state",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def write_json(path: Path, data: Any) -> None:
    """Replace a JSON file in one step: a reader sees the old one or the new one, never half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(data, indent=1, default=str), encoding="utf-8")
    draft.replace(path)


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None where there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
