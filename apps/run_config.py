"""What one run of the service was asked to do; written by the command line, read by the service."""

from __future__ import annotations

from pathlib import Path

from pydantic import AwareDatetime, Field

from apps.state_dir import StateDir, read_json, write_json
from facility.errors import ConfigError
from facility.records import Mode
from facility.site import Site, StrictModel, load_site, validate


class Sources(StrictModel):
    """Files of signals and jobs; an empty one means the documented synthetic stand-in."""

    carbon: tuple[str, ...] = ()
    weather: tuple[str, ...] = ()
    price: tuple[str, ...] = ()
    jobs: str = ""
    carbon_model: str = ""  # of `eco forecast fit`; without one, carbon repeats its daily profile


class RunConfig(StrictModel):
    """One run: site, signals, span, and what the loop may do."""

    run: str  # names this run in the store
    site: str = ""  # path; empty for the reference hall
    sources: Sources = Sources()
    mode: Mode = Mode.SHADOW
    person: str = ""  # who started it; ACTIVE needs one
    active_until: AwareDatetime | None = None  # ACTIVE falls back to SHADOW then
    start: AwareDatetime
    until: AwareDatetime | None = None
    speed: float = Field(default=1.0, gt=0)
    api_port: int = Field(default=8400, ge=1024, le=65535)
    utilisation: float = Field(default=0.6, gt=0, le=1)

    def load_site(self) -> Site:
        """The site of this run."""
        return load_site(self.site or None)

    def save(self, state: StateDir) -> None:
        """Write this run where the service looks for it."""
        write_json(state.run, self.model_dump(mode="json"))


def load_run(state: StateDir) -> RunConfig:
    """The run that was configured in ``state``; raises ConfigError where there is none."""
    path = state.run
    if not path.exists():
        raise ConfigError("no run is configured here", where=str(path), hint="start with `eco up` or `eco run`")
    return validate(RunConfig, read_json(path), path)


def resolved(paths: tuple[Path, ...] | None) -> tuple[str, ...]:
    """Absolute paths as text, checked to exist; raises ConfigError for the first that does not."""
    for path in paths or ():
        if not path.exists():
            raise ConfigError("no such file", where=str(path), hint="check the path")
    return tuple(str(path.resolve()) for path in paths or ())
