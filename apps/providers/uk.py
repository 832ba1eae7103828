"""The Carbon Intensity API of Great Britain: direct average intensity each half hour, and 48 h ahead."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from apps.providers.hourly import hourly_forecast, hourly_series, parse
from apps.providers.http import Http
from apps.providers.port import ProviderError
from facility.records import Forecast
from twin.forecasting.kinds import CarbonKind, Scope
from twin.signals.series import Series

URL = "https://api.carbonintensity.org.uk"
SPAN = timedelta(days=14)  # the longest that one request may cover
_FORM = "%Y-%m-%dT%H:%MZ"


class UkCarbonIntensity:
    """/intensity/{from}/{to} and /intensity/{from}/fw48h; no key is needed."""

    name = "uk-carbon-intensity"
    zone = "GB"
    kind = CarbonKind(Scope.DIRECT)

    def __init__(self, http: Http) -> None:
        self._http = http

    def history(self, start: datetime, end: datetime) -> Series:
        """Hours within [start, end): means of the half hours' actual values."""
        points: dict[datetime, float] = {}
        while start < end:
            stop = min(start + SPAN, end)
            points |= self._points(f"/intensity/{start:{_FORM}}/{stop:{_FORM}}", "actual", start)
            start = stop
        return hourly_series(points, zone=self.zone, kind=self.kind, source="UK Carbon Intensity (actual)")

    def forecast(self, now: datetime) -> Forecast | None:
        """The operator's forecast for the next 48 h, as served at ``now``."""
        points = self._points(f"/intensity/{now:{_FORM}}/fw48h", "forecast", now)
        return hourly_forecast(points, kind=self.kind, source="UK Carbon Intensity, forecast", issued_at=now)

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def _points(self, path: str, which: str, first: datetime) -> dict[datetime, float]:
        document: dict[str, Any] = self._http.json(path, {})
        found = {}
        try:
            for row in document["data"]:
                when, value = parse(row["from"]), row["intensity"][which]
                if value is not None and when >= first:  # the service begins with the half hour before
                    found[when] = float(value)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProviderError(f"an answer of another form: {error!r}", where=path) from error
        return found
