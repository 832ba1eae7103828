"""ENTSO-E's transparency platform: generation by source of the European zones, as XML."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from xml.etree.ElementTree import Element, ParseError, fromstring

from apps.providers.hourly import hourly_series, parse
from apps.providers.http import Http
from apps.providers.port import ProviderError
from facility.errors import Reason
from facility.records import Forecast
from twin.forecasting.kinds import CarbonKind
from twin.forecasting.mix import Fuel, intensity_g_kwh
from twin.signals.series import Series

URL = "https://web-api.tp.entsoe.eu"
LATE_S = 2 * 3600.0  # generation is due within an hour of the end of its period; many zones need two
SPAN = timedelta(days=30)  # a request may cover a year; a month keeps answers small
AREAS = {  # EIC codes of countries and bidding zones (EIC list, type Y)
    "DE": "10Y1001A1001A83F",
    "FR": "10YFR-RTE------C",
    "NL": "10YNL----------L",
    "BE": "10YBE----------2",
    "AT": "10YAT-APG------L",
    "CH": "10YCH-SWISSGRIDZ",
    "ES": "10YES-REE------0",
    "PL": "10YPL-AREA-----S",
    "IE": "10YIE-1001A00010",
}
FUELS = {
    "B01": Fuel.BIOMASS,
    "B02": Fuel.LIGNITE,
    "B03": Fuel.GAS,
    "B04": Fuel.GAS,
    "B05": Fuel.COAL,
    "B06": Fuel.OIL,
    "B09": Fuel.GEOTHERMAL,
    "B10": Fuel.STORAGE,
    "B11": Fuel.HYDRO,
    "B12": Fuel.HYDRO,
    "B14": Fuel.NUCLEAR,
    "B16": Fuel.SOLAR,
    "B17": Fuel.WASTE,
    "B18": Fuel.WIND,
    "B19": Fuel.WIND,
    "B25": Fuel.STORAGE,
}
_NAMESPACE = re.compile(r"\{[^}]*\}")
_RESOLUTION = {"PT15M": 15, "PT30M": 30, "PT60M": 60, "PT1H": 60}
_NOTHING_FOUND = "999"


class Entsoe:
    """Document A75 (actual generation per type), process A16 (realised)."""

    name = "entsoe"

    def __init__(self, http: Http, zone: str, kind: CarbonKind, key: str) -> None:
        self.zone, self.kind = zone, kind
        self._http = http
        self._key = key
        self._source = f"ENTSO-E {zone} (mix, {kind})"

    def history(self, start: datetime, end: datetime) -> Series:
        """Hours within [start, end), from the mix of each quarter or hour."""
        mixes: dict[datetime, dict[Fuel, float]] = defaultdict(lambda: defaultdict(float))
        while start < end:
            stop = min(start + SPAN, end)
            for when, fuel, generation_mw in self._generation(start, stop):
                if start <= when < stop:
                    mixes[when][fuel] += generation_mw
            start = stop
        found = {when: intensity_g_kwh(mix, self.kind.scope) for when, mix in mixes.items()}
        points = {when: value for when, value in found.items() if value is not None}
        return hourly_series(points, zone=self.zone, kind=self.kind, source=self._source, late_s=LATE_S)

    def forecast(self, now: datetime) -> Forecast | None:
        """None: the platform forecasts wind, sun and load, and no intensity."""
        return None

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def _generation(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, Fuel, float]]:
        params = {
            "securityToken": self._key,
            "documentType": "A75",
            "processType": "A16",
            "in_Domain": AREAS[self.zone],
            "periodStart": f"{start:%Y%m%d%H%M}",
            "periodEnd": f"{end:%Y%m%d%H%M}",
        }
        text = self._http.text("/api", params)
        if "<!DOCTYPE" in text or "<!ENTITY" in text:  # the platform sends none; an expanding one would eat the memory
            raise ProviderError("an answer with entities", where=self._source)
        try:
            document = fromstring(text)  # noqa: S314 - entities are refused above
        except ParseError as error:
            raise ProviderError(f"the answer is no XML: {error}", where=self._source) from error
        if _tag(document) == "Acknowledgement_MarketDocument":
            self._refused(document)
            return
        for series in _children(document, "TimeSeries"):
            if any(True for _ in _children(series, "outBiddingZone_Domain.mRID")):
                continue  # what pumped storage takes in
            yield from self._series(series)

    def _series(self, series: Element) -> Iterator[tuple[datetime, Fuel, float]]:
        fuel = FUELS.get(_text(next(_children(series, "MktPSRType")), "psrType"), Fuel.OTHER)
        for period in _children(series, "Period"):
            interval = next(_children(period, "timeInterval"))
            begin, end = parse(_text(interval, "start")), parse(_text(interval, "end"))
            step = timedelta(minutes=_RESOLUTION[_text(period, "resolution")])
            given = {int(_text(p, "position")): float(_text(p, "quantity")) for p in _children(period, "Point")}
            value = 0.0
            for position in range(1, (end - begin) // step + 1):
                value = given.get(position, value)  # curve A03 leaves out a value that repeats the one before
                yield begin + (position - 1) * step, fuel, value

    def _refused(self, document: Element) -> None:
        """An acknowledgement says that there is nothing (which leaves a gap), or why it will not answer."""
        reason = next(_children(document, "Reason"))
        code, words = _text(reason, "code"), _text(reason, "text")
        if code != _NOTHING_FOUND:
            raise ProviderError(f"refused: {words}", where=self._source, reason=Reason.CONFIG)


def _tag(element: Element) -> str:
    return _NAMESPACE.sub("", element.tag)


def _children(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element if _tag(child) == name)


def _text(element: Element, name: str) -> str:
    """The text of a child; raises ProviderError where it is missing."""
    for child in _children(element, name):
        return (child.text or "").strip()
    raise ProviderError(f"no {name} in {_tag(element)}", where="ENTSO-E")
