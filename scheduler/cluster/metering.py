"""The two things a receipt is made of: what pods used, and what the grid emitted meanwhile; each behind a port.

What a job used is settled in steps: up to now, for the pods it has and had since the last time. The account stands in
the job's ledger; a controller that was killed goes on from where the account ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from facility.records import Forecast
from scheduler.cluster.ledger import Account

WH_PER_KWH = 1000.0


@dataclass(frozen=True, slots=True)
class Slot:
    """Energy of some pods over [start, end)."""

    start: datetime
    end: datetime
    it_wh: float
    covered_s: float  # of the span, for which there were readings


@dataclass(frozen=True, slots=True)
class Usage:
    """What pods used over a span; None is not measured."""

    slots: tuple[Slot, ...] = ()
    gpu_w: float | None = None  # mean of each of their GPUs
    utilisation: float | None = None  # 0..1
    stall_share: float | None = None  # of the time, waiting for data
    steps: float | None = None  # training steps made


class Meter(Protocol):
    """What pods used; blocking. Raises DeviceError where the source does not answer."""

    def usage(self, namespace: str, pods: Sequence[str], start: datetime, end: datetime) -> Usage:
        """Of these pods over [start, end): IT energy that is theirs, in slots of at most an hour."""
        ...


class Outlook(Protocol):
    """The grid: what is known and what is forecast."""

    def forecast(self, now: datetime) -> Forecast | None:
        """Carbon intensity as forecast at ``now``, g/kWh; None where none can be issued."""
        ...

    def age_s(self, now: datetime) -> float:
        """How old the newest published value is; infinite where there is none."""
        ...

    def intensity_g_kwh(self, start: datetime, end: datetime, now: datetime) -> float | None:
        """Mean over [start, end): as published at ``now``, and as forecast where it is not yet; None is not known."""
        ...


def settle(
    account: Account, usage: Usage, end: datetime, outlook: Outlook, gpu_s: float, market_g_kwh: float | None
) -> Account:
    """The account with ``usage`` from where it ends up to ``end``; ``gpu_s`` are the GPU seconds that pods held."""
    wh = sum(slot.it_wh for slot in usage.slots)
    grams = known_wh = 0.0
    for slot in usage.slots:
        intensity = outlook.intensity_g_kwh(slot.start, slot.end, end)
        if intensity is not None:
            grams += slot.it_wh / WH_PER_KWH * intensity
            known_wh += slot.it_wh
    market = None if market_g_kwh is None else (account.market_g or 0.0) + wh / WH_PER_KWH * market_g_kwh
    steps = account.steps if usage.steps is None else (account.steps or 0.0) + usage.steps
    return replace(
        account,
        until=end,
        it_wh=account.it_wh + wh,
        location_g=account.location_g + grams,
        market_g=market,
        carbon_wh=account.carbon_wh + known_wh,
        gpu_s=account.gpu_s + gpu_s,
        steps=steps,
        covered_s=account.covered_s + sum(slot.covered_s for slot in usage.slots),
        span_s=account.span_s + sum((slot.end - slot.start).total_seconds() for slot in usage.slots),
    )
