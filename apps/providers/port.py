"""What every provider serves, and the error that each of them raises."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from facility.errors import DataError, Reason
from facility.records import Forecast
from twin.forecasting.kinds import CarbonKind
from twin.signals.series import Series


class ProviderError(DataError):
    """A service that could not be asked, refused, or answered with something else; ``reason`` sorts it."""

    def __init__(self, what: str, *, where: str = "", hint: str = "", reason: Reason = Reason.ERROR) -> None:
        super().__init__(what, where=where, hint=hint)
        self.reason = reason


class Provider(Protocol):
    """One zone's carbon intensity of one kind, from one service."""

    name: str
    zone: str
    kind: CarbonKind

    def history(self, start: datetime, end: datetime) -> Series:
        """Hourly intensity within [start, end), as far as it is published, g/kWh.

        Raises ProviderError where the service cannot be asked or has nothing.
        """
        ...

    def forecast(self, now: datetime) -> Forecast | None:
        """The service's own forecast, with its time of issue; None where it has none."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...
