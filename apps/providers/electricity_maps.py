"""Electricity Maps: average intensity, life-cycle or direct, of most zones of the world; with its own forecast."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from apps.providers.hourly import hourly_forecast, hourly_series, parse
from apps.providers.http import Http
from apps.providers.port import ProviderError
from facility.records import Forecast
from twin.forecasting.kinds import CarbonKind, Scope
from twin.signals.series import Series

URL = "https://api.electricitymaps.com"
SPAN = timedelta(days=10)  # the longest that one hourly request may cover


class ElectricityMaps:
    """API v3: /carbon-intensity/past-range and /carbon-intensity/forecast, key in the header auth-token."""

    name = "electricity-maps"

    def __init__(self, http: Http, zone: str, kind: CarbonKind, key: str) -> None:
        self.zone, self.kind = zone, kind
        self._http = http
        self._headers = {"auth-token": key}
        self._params = {"zone": zone, "emissionFactorType": "direct" if kind.scope is Scope.DIRECT else "lifecycle"}
        self._source = f"Electricity Maps {zone} ({kind})"

    def history(self, start: datetime, end: datetime) -> Series:
        """Hours within [start, end), ten days a request."""
        points: dict[datetime, float] = {}
        while start < end:
            stop = min(start + SPAN, end)
            span = {"start": start.isoformat(), "end": stop.isoformat()}
            points |= self._points("/v3/carbon-intensity/past-range", span, "data")
            start = stop
        return hourly_series(points, zone=self.zone, kind=self.kind, source=self._source)

    def forecast(self, now: datetime) -> Forecast | None:
        """The service's forecast, issued when it says it was updated."""
        document = self._ask("/v3/carbon-intensity/forecast", {})
        issued_at = parse(str(document.get("updatedAt", now.isoformat())))
        points = self._read(document, "forecast")
        return hourly_forecast(points, kind=self.kind, source=f"{self._source}, forecast", issued_at=issued_at)

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def _ask(self, path: str, params: dict[str, str]) -> dict[str, Any]:
        return self._http.json(path, self._params | params, self._headers)

    def _points(self, path: str, params: dict[str, str], key: str) -> dict[datetime, float]:
        return self._read(self._ask(path, params), key)

    def _read(self, document: dict[str, Any], key: str) -> dict[datetime, float]:
        """Refuses rows of the other scope: a plan that does not offer direct factors answers with life-cycle ones."""
        found = {}
        try:
            for row in document[key]:
                scope = row.get("emissionFactorType")
                if scope is not None and scope != self._params["emissionFactorType"]:
                    hint = "the plan of this key does not offer that scope"
                    raise ProviderError(f"{scope} values where {self.kind} are wanted", where=self._source, hint=hint)
                if row["carbonIntensity"] is not None:
                    found[parse(row["datetime"])] = float(row["carbonIntensity"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProviderError(f"an answer of another form: {error!r}", where=self._source) from error
        return found
