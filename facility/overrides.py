"""Points that a person holds: the loop leaves them alone until the override is lifted, across restarts too."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from facility.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Override:
    """One point that is a person's. ``value`` None: whatever stands there stays, and nobody writes."""

    point: str
    value: float | None  # in the point's unit
    person: str
    why: str
    since: datetime
    is_found: bool = False  # seen at the device, rather than asked for


class Overrides:
    """The overrides of one site, on disk before they are in force."""

    def __init__(self, path: Path) -> None:
        """Reads what an earlier run left; raises ConfigError where the file cannot be read."""
        self._path = path
        self._held = self._load()

    @property
    def held(self) -> Mapping[str, Override]:
        """Every override by its point."""
        return MappingProxyType(self._held)

    def of(self, point: str) -> Override | None:
        """The override of ``point``; None where there is none."""
        return self._held.get(point)

    def hold(self, override: Override) -> None:
        """Put ``override`` in force, in place of an earlier one of its point."""
        self._save({**self._held, override.point: override})

    def lift(self, point: str) -> Override | None:
        """End the override of ``point``; None where there was none."""
        gone = self._held.get(point)
        if gone is not None:
            self._save({name: one for name, one in self._held.items() if name != point})
        return gone

    def _load(self) -> dict[str, Override]:
        try:
            rows = json.loads(self._path.read_text(encoding="utf-8"))
            found = [Override(**{**row, "since": datetime.fromisoformat(row["since"])}) for row in rows]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"cannot read the overrides: {error!r}",
                where=str(self._path),
                hint="ask the operators which points they hold, then delete the file",
            ) from error
        return {override.point: override for override in found}

    def _save(self, held: dict[str, Override]) -> None:
        rows = [{**asdict(one), "since": one.since.isoformat()} for one in held.values()]
        draft = self._path.with_suffix(".draft")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        self._held = held
