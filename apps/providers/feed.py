"""A provider's history on disk: only what is new is asked for, and what is kept serves while the service is down."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from apps.providers.port import Provider, ProviderError
from facility.errors import DataError
from twin.signals.series import Series

FORMAT = 1
KEEP_D = 800  # two years of season, for climatology and a fit
OVERLAP_H = 48  # asked for again each time: services revise their newest hours
FRESH_S = 600.0  # asked again no sooner


@dataclass(frozen=True, slots=True)
class Update:
    """What is known of a zone's carbon, and why it is not newer, in words (empty where it is)."""

    series: Series
    words: str = ""


class Feed:
    """One provider with its cache file."""

    def __init__(self, provider: Provider, folder: Path) -> None:
        self.provider = provider
        scope, accounting = provider.kind.scope, provider.kind.accounting
        self._path = folder / f"{provider.name}_{provider.zone.replace('/', '-')}_{scope}_{accounting}.json"
        self._series: Series | None = None
        self._asked: datetime | None = None

    def update(self, now: datetime, days: float = 60.0) -> Update:
        """History up to ``now``, at least ``days`` of it; while the service fails, what was kept.

        Raises ProviderError where it fails and nothing was kept.
        """
        kept = self._kept()
        if kept is not None and self._asked is not None and 0 <= (now - self._asked).total_seconds() < FRESH_S:
            return Update(kept)
        begin = _hour(now) - timedelta(days=days)
        if kept is not None and kept.start <= begin and kept.end > begin:
            begin = kept.end - timedelta(hours=OVERLAP_H)
        try:
            new = self.provider.history(begin, _hour(now))
        except ProviderError as error:
            if kept is None:
                raise
            return Update(kept, f"kept carbon up to {kept.end:%Y-%m-%d %H:%M} UTC serves: {error}")
        self._series, self._asked = _joined(kept, new), now
        self._save(self._series)
        return Update(self._series)

    def _kept(self) -> Series | None:
        if self._series is None and self._path.exists():
            self._series = self._load()
        return self._series

    def _save(self, series: Series) -> None:
        """Written beside and moved, so that a stop in between leaves the old file whole."""
        document = {
            "format": FORMAT,
            "start": series.start.isoformat(),
            "zone": series.zone,
            "source": series.source,
            "known_lag_s": series.known_lag_s,
            "value": series.value.tolist(),
        }
        beside = self._path.with_suffix(".new")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(document), encoding="utf-8")
        os.replace(beside, self._path)

    def _load(self) -> Series:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']}")
            return Series(
                quantity=self.provider.kind.quantity,
                unit="gCO2eq/kWh",
                zone=str(document["zone"]),
                start=datetime.fromisoformat(document["start"]),
                step_s=3600.0,
                value=np.array(document["value"], np.float64),
                known_lag_s=float(document["known_lag_s"]),
                source=str(document["source"]),
                kind=str(self.provider.kind.scope),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"a cache that cannot be read: {error}", where=str(self._path), hint="delete it") from error


def _hour(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _joined(kept: Series | None, new: Series) -> Series:
    """Kept values, the new ones over and after them; the new alone where a gap would lie between."""
    if kept is None or not kept.start <= new.start <= kept.end:
        return new
    before = round((new.start - kept.start).total_seconds() / new.step_s)
    after = before + len(new.value)
    value = np.concatenate([kept.value[:before], new.value, kept.value[after:]])
    most = KEEP_D * 24
    begin = max(0, len(value) - most)
    return replace(new, value=value[begin:], start=kept.start + timedelta(hours=begin))
