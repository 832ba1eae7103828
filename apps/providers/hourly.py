"""Stamped values of any step as an hourly Series: the longest unbroken stretch that reaches the newest value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from apps.providers.port import ProviderError
from facility.records import FloatArray, Forecast
from twin.forecasting.kinds import CarbonKind
from twin.signals.grid import MAX_FILL_H
from twin.signals.series import Gap, Series
from twin.signals.zones import canonical_zone

HOUR_S = 3600


def parse(text: str) -> datetime:
    """An ISO time with offset, as UTC; without one it is UTC."""
    when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def hourly_series(
    points: Mapping[datetime, float], *, zone: str, kind: CarbonKind, source: str, late_s: float = HOUR_S
) -> Series:
    """Hourly means of ``points`` (stamp of the beginning of a step, g/kWh); ``late_s`` after its stamp one is public.

    Gaps of at most 3 h are interpolated and listed; what lies before a longer one is left out, and said. Raises
    ProviderError where there are no points.
    """
    if not points:
        raise ProviderError("there are no values", where=source, hint="check zone and span")
    hours, means = _means(points)
    breaks = np.flatnonzero(np.diff(hours) > MAX_FILL_H + 1)
    notes: tuple[str, ...] = ()
    if len(breaks):
        left_out = int(breaks[-1]) + 1
        notes = (f"{left_out} h before a gap of more than {MAX_FILL_H:g} h are left out",)
        hours, means = hours[left_out:], means[left_out:]
    full = np.arange(hours[0], hours[-1] + 1)
    gaps = tuple(
        Gap(_time(int(hours[place]) + 1), int(hours[place + 1] - hours[place]) - 1)
        for place in np.flatnonzero(np.diff(hours) > 1)
    )
    return Series(
        quantity=kind.quantity,
        unit="gCO2eq/kWh",
        zone=canonical_zone(zone),
        start=_time(int(hours[0])),
        step_s=float(HOUR_S),
        value=np.interp(full, hours, means),
        known_lag_s=late_s,
        source=source,
        kind=str(kind.scope),
        gaps=gaps,
        notes=notes,
    )


def hourly_forecast(
    points: Mapping[datetime, float], *, kind: CarbonKind, source: str, issued_at: datetime
) -> Forecast | None:
    """Hourly means of a service's own forecast, without a band; None where it says nothing."""
    if not points:
        return None
    hours, means = _means(points)
    full = np.arange(hours[0], hours[-1] + 1)
    return Forecast(
        quantity=kind.quantity,
        unit="gCO2eq/kWh",
        issued_at=issued_at,
        start=_time(int(hours[0])),
        step_s=float(HOUR_S),
        value=np.interp(full, hours, means),
        low=None,
        high=None,
        source=source,
    )


def _means(points: Mapping[datetime, float]) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], FloatArray]:
    """Hours since 1970 that have any value, in order, and the mean of each."""
    stamp = np.array([int(when.timestamp()) // HOUR_S for when in points], np.int64)
    value = np.array(list(points.values()), np.float64)
    hours, place = np.unique(stamp, return_inverse=True)
    return hours, np.bincount(place, weights=value) / np.bincount(place)


def _time(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * HOUR_S, UTC)
