"""What stood at each point before the first write, on disk before that write goes out: a crash cannot lose it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from facility.errors import GuardError


class Journal:
    """Points of one site that were written and not given back, each with the value that stood there before.

    ``site`` names it with what its devices are: the same name at other addresses is another site.
    """

    def __init__(self, path: Path, site: str) -> None:
        """Reads what an earlier run left; raises GuardError where the file is damaged or belongs to another site."""
        self._path = path
        self._site = site
        self._before = self._load()

    @property
    def points(self) -> frozenset[str]:
        """Every point that was written and not given back."""
        return frozenset(self._before)

    def before(self, point: str) -> float | None:
        """The value that stood at ``point``; None where it was not known."""
        return self._before.get(point)

    def remember(self, point: str, value: float | None) -> None:
        """Keep what stands at ``point`` now, unless an earlier value is kept already; returns when it is on disk."""
        if point not in self._before:
            self._save({**self._before, point: value})

    def forget(self, points: Iterable[str]) -> None:
        """The points were given back."""
        gone = set(points)
        self._save({point: value for point, value in self._before.items() if point not in gone})

    def _load(self) -> dict[str, float | None]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            site, entries = content["site"], dict(content["before"])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise GuardError(
                f"cannot read the journal of written points: {error!r}",
                where=str(self._path),
                hint="check the devices by hand, then delete the file",
            ) from error
        if entries and site != self._site:
            raise GuardError(
                f"the journal names points that a run of site {site!r} wrote and did not give back; "
                f"this is {self._site!r}",
                where=str(self._path),
                hint="start that site once more to give them back, or use another --state",
            )
        return entries

    def _save(self, before: dict[str, float | None]) -> None:
        """Adopted only when it is on disk: with a full disk nothing is written to a device either."""
        draft = self._path.with_suffix(".draft")
        with draft.open("w", encoding="utf-8") as file:
            json.dump({"site": self._site, "before": before}, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name too
        finally:
            os.close(folder)
        self._before = before
