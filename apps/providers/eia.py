"""The hourly grid monitor of the US Energy Information Administration (form EIA-930): generation by source of each
balancing authority, California's among them.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from apps.providers.hourly import hourly_series, parse
from apps.providers.http import Http
from apps.providers.port import ProviderError
from facility.records import Forecast
from twin.forecasting.kinds import CarbonKind
from twin.forecasting.mix import Fuel, intensity_g_kwh
from twin.signals.series import Series

URL = "https://api.eia.gov"
PATH = "/v2/electricity/rto/fuel-type-data/data/"
PAGE = 5000  # rows, the most that one request gives
MOST_PAGES = 50
LATE_S = 2 * 3600.0  # the newest hours are published one to two hours after they end
FUELS = {
    "COL": Fuel.COAL,
    "NG": Fuel.GAS,
    "OIL": Fuel.OIL,
    "NUC": Fuel.NUCLEAR,
    "WAT": Fuel.HYDRO,
    "SUN": Fuel.SOLAR,
    "SNB": Fuel.SOLAR,
    "WND": Fuel.WIND,
    "WNB": Fuel.WIND,
    "GEO": Fuel.GEOTHERMAL,
    "BAT": Fuel.STORAGE,
    "PS": Fuel.STORAGE,
    "UES": Fuel.STORAGE,
}


class Eia:
    """API v2. A period is the hour that ends at its stamp, in UTC."""

    name = "eia"

    def __init__(self, http: Http, zone: str, kind: CarbonKind, key: str) -> None:
        self.zone, self.kind = zone, kind
        self._http = http
        self._key = key
        self._source = f"EIA-930 {zone} (mix, {kind})"

    def history(self, start: datetime, end: datetime) -> Series:
        """Hours within [start, end), from the mix of each."""
        mixes: dict[datetime, dict[Fuel, float]] = defaultdict(lambda: defaultdict(float))
        for page in range(MOST_PAGES):
            rows = self._page(start, end, page * PAGE)
            for row in rows:
                self._add(mixes, row)
            if len(rows) < PAGE:
                break
        found = {when: intensity_g_kwh(mix, self.kind.scope) for when, mix in mixes.items() if start <= when < end}
        points = {when: value for when, value in found.items() if value is not None}
        return hourly_series(points, zone=self.zone, kind=self.kind, source=self._source, late_s=LATE_S)

    def forecast(self, now: datetime) -> Forecast | None:
        """None: the monitor forecasts demand, not the mix."""
        return None

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def _page(self, start: datetime, end: datetime, offset: int) -> list[dict[str, Any]]:
        params = {
            "api_key": self._key,
            "frequency": "hourly",
            "data[0]": "value",
            "facets[respondent][]": self.zone,
            "start": f"{start + timedelta(hours=1):%Y-%m-%dT%H}",
            "end": f"{end:%Y-%m-%dT%H}",
            "sort[0][column]": "period",
            "sort[0][direction]": "asc",
            "offset": str(offset),
            "length": str(PAGE),
        }
        document = self._http.json(PATH, params)
        try:
            rows = document["response"]["data"]
        except (KeyError, TypeError) as error:
            raise ProviderError(f"an answer of another form: {error!r}", where=self._source) from error
        return list(rows)

    def _add(self, mixes: dict[datetime, dict[Fuel, float]], row: dict[str, Any]) -> None:
        try:
            if row["value"] is None:
                return
            begin = parse(row["period"] + ":00") - timedelta(hours=1)
            mixes[begin][FUELS.get(row["fueltype"], Fuel.OTHER)] += float(row["value"])
        except (KeyError, TypeError, ValueError) as error:
            raise ProviderError(f"a row of another form: {error!r}", where=self._source) from error
