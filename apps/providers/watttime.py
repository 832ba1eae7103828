"""WattTime: marginal operating emissions rate, five minutes a step; a token is had with name and password."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from apps.providers.hourly import hourly_forecast, hourly_series, parse
from apps.providers.http import Http
from apps.providers.port import ProviderError
from facility.errors import Reason
from facility.records import Forecast
from twin.forecasting.kinds import Accounting, CarbonKind, Scope
from twin.signals.series import Series

URL = "https://api.watttime.org"
G_KWH_PER_LB_MWH = 453.59237 / 1000.0
UNITS = "lbs_co2_per_mwh"
SIGNAL = "co2_moer"


class WattTime:
    """API v3: /login, /v3/historical and /v3/forecast of the signal co2_moer."""

    name = "watttime"
    kind = CarbonKind(Scope.DIRECT, Accounting.MARGINAL)

    def __init__(self, http: Http, zone: str, user: str, password: str) -> None:
        self.zone = zone
        self._http = http
        self._login = (user, password)
        self._token: str | None = None

    def history(self, start: datetime, end: datetime) -> Series:
        """Hours within [start, end): means of the five-minute values."""
        document = self._ask("/v3/historical", {"start": start.isoformat(), "end": end.isoformat()})
        return hourly_series(
            self._points(document), zone=self.zone, kind=self.kind, source=f"WattTime {self.zone} (marginal)"
        )

    def forecast(self, now: datetime) -> Forecast | None:
        """The newest forecast, issued when it says it was generated."""
        document = self._ask("/v3/forecast", {})
        issued_at = parse(str(document.get("meta", {}).get("generated_at", now.isoformat())))
        source = f"WattTime {self.zone} (marginal), forecast"
        return hourly_forecast(self._points(document), kind=self.kind, source=source, issued_at=issued_at)

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def _ask(self, path: str, params: dict[str, str]) -> dict[str, Any]:
        """One request; a token lives for half an hour, so one that is refused is renewed once."""
        wanted = {"region": self.zone, "signal_type": SIGNAL} | params
        had_token = self._token is not None
        try:
            return self._http.json(path, wanted, {"Authorization": f"Bearer {self._bearer()}"})
        except ProviderError as error:
            if not had_token or error.reason is not Reason.CREDENTIALS:
                raise
        self._token = None
        return self._http.json(path, wanted, {"Authorization": f"Bearer {self._bearer()}"})

    def _bearer(self) -> str:
        if self._token is None:
            token = self._http.json("/login", {}, auth=self._login).get("token")
            if not isinstance(token, str):
                raise ProviderError("no token in the answer", where="WattTime /login", reason=Reason.CREDENTIALS)
            self._token = token
        return self._token

    def _points(self, document: dict[str, Any]) -> dict[datetime, float]:
        try:
            units = document["meta"]["units"]
            if units != UNITS:
                raise ProviderError(f"units {units!r}, expected {UNITS!r}", where=f"WattTime {self.zone}")
            return {parse(row["point_time"]): float(row["value"]) * G_KWH_PER_LB_MWH for row in document["data"]}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProviderError(f"an answer of another form: {error!r}", where=f"WattTime {self.zone}") from error
