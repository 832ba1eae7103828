"""Providers against a small local server that speaks as the services do: values, kinds, keys, tries, the cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from apps.providers import Feed, ProviderError, open_provider
from apps.providers.eia import Eia
from apps.providers.electricity_maps import ElectricityMaps
from apps.providers.entsoe import Entsoe
from apps.providers.http import Http
from apps.providers.uk import UkCarbonIntensity
from apps.providers.watttime import WattTime
from facility.errors import ConfigError, Reason
from facility.site import CarbonProvider
from tests.peers.carbon_service import Service
from twin.forecasting.kinds import Accounting, CarbonKind, Scope

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIRECT = CarbonKind(Scope.DIRECT)


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    yield server
    server.close()


@pytest.fixture
def http(service: Service) -> Iterator[Http]:
    client = Http(service.url, sleep=lambda _: None)
    yield client
    client.close()


def stamp(hours: float) -> str:
    return (NOON + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


def electricity_maps(path: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
    if headers.get("auth-token") != "secret":
        return 401, '{"error": "Invalid auth-token"}'
    kind = query["emissionFactorType"]
    base = 300.0 if kind == "direct" else 400.0
    rows = [
        {
            "zone": "DE",
            "datetime": stamp(h),
            "carbonIntensity": base + h,
            "emissionFactorType": kind,
            "isEstimated": False,
        }
        for h in range(6)
        if path.endswith("forecast") or h != 3
    ]
    key = "forecast" if path.endswith("forecast") else "data"
    return 200, json.dumps({"zone": "DE", key: rows, "updatedAt": stamp(-1)})


class TestElectricityMaps:
    def test_direct_and_life_cycle_are_two_series(self, service: Service, http: Http) -> None:
        service.answer = electricity_maps
        for scope, first in ((Scope.DIRECT, 300.0), (Scope.LIFECYCLE, 400.0)):
            provider = ElectricityMaps(http, "DE", CarbonKind(scope), "secret")
            series = provider.history(NOON, NOON + timedelta(hours=6))
            assert series.value.tolist() == [first + h for h in range(6)]  # the missing hour is interpolated
            assert [gap.start for gap in series.gaps] == [NOON + timedelta(hours=3)]
            assert (series.kind, series.zone, series.start) == (scope, "DE", NOON)

    def test_its_forecast_has_its_time_of_issue(self, service: Service, http: Http) -> None:
        service.answer = electricity_maps
        forecast = ElectricityMaps(http, "DE", DIRECT, "secret").forecast(NOON)
        assert forecast is not None
        assert forecast.issued_at == NOON - timedelta(hours=1)
        assert forecast.value[0] == 300.0
        assert forecast.low is None

    def test_values_of_the_other_scope_are_refused(self, service: Service, http: Http) -> None:
        other = {"emissionFactorType": "lifecycle", "carbonIntensity": 1, "datetime": stamp(0)}
        service.answer = lambda *_: (200, json.dumps({"data": [other]}))
        with pytest.raises(ProviderError, match="lifecycle values where direct average are wanted"):
            ElectricityMaps(http, "DE", DIRECT, "secret").history(NOON, NOON + timedelta(hours=1))

    def test_long_spans_are_asked_in_parts(self, service: Service, http: Http) -> None:
        service.answer = electricity_maps
        ElectricityMaps(http, "DE", DIRECT, "secret").history(NOON, NOON + timedelta(days=25))
        assert len(service.asked) == 3

    def test_a_wrong_key_is_told_apart_and_never_shown(self, service: Service, http: Http) -> None:
        service.answer = electricity_maps
        with pytest.raises(ProviderError, match="answered 401") as caught:
            ElectricityMaps(http, "DE", DIRECT, "mistyped").history(NOON, NOON + timedelta(hours=1))
        assert caught.value.reason is Reason.CREDENTIALS
        assert "mistyped" not in str(caught.value)
        assert len(service.asked) == 1  # not worth another try


class TestUk:
    def test_half_hours_become_hours(self, service: Service, http: Http) -> None:
        def answer(path: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
            rows = [
                {
                    "from": (NOON + timedelta(minutes=30 * n)).strftime("%Y-%m-%dT%H:%MZ"),
                    "intensity": {"forecast": 100 + n, "actual": None if n == 5 else 200 + n, "index": "moderate"},
                }
                for n in range(-1, 6)
            ]
            return 200, json.dumps({"data": rows})

        service.answer = answer
        provider = UkCarbonIntensity(http)
        series = provider.history(NOON, NOON + timedelta(hours=3))
        assert series.value.tolist() == [200.5, 202.5, 204.0]
        forecast = provider.forecast(NOON)
        assert forecast is not None
        assert forecast.value.tolist() == [100.5, 102.5, 104.5]
        assert service.asked[-1][0] == "/intensity/2026-03-01T12:00Z/fw48h"


class TestWattTime:
    def test_marginal_values_are_of_their_own_quantity(self, service: Service, http: Http) -> None:
        tokens: list[str] = []

        def answer(path: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
            if path == "/login":
                tokens.append(f"token-{len(tokens)}")
                return 200, json.dumps({"token": tokens[-1]})
            if headers["Authorization"] != "Bearer token-1":  # the first one has run out
                return 401, ""
            rows = [{"point_time": (NOON + timedelta(minutes=5 * n)).isoformat(), "value": 1000.0} for n in range(12)]
            meta = {"units": "lbs_co2_per_mwh", "generated_at": NOON.isoformat()}
            return 200, json.dumps({"data": rows, "meta": meta})

        service.answer = answer
        provider = WattTime(http, "CAISO_NORTH", "me", "secret")
        with pytest.raises(ProviderError):
            provider.history(NOON, NOON + timedelta(hours=1))  # a fresh token that is refused is not tried again
        series = provider.history(NOON, NOON + timedelta(hours=1))
        assert series.value.tolist() == pytest.approx([453.59237])
        assert series.quantity == "marginal_carbon_intensity_g_kwh"
        assert provider.kind.accounting is Accounting.MARGINAL

    def test_other_units_are_refused(self, service: Service, http: Http) -> None:
        service.answer = lambda path, *_: (200, json.dumps({"token": "t", "data": [], "meta": {"units": "percentile"}}))
        with pytest.raises(ProviderError, match="units 'percentile'"):
            WattTime(http, "CAISO_NORTH", "me", "secret").history(NOON, NOON + timedelta(hours=1))


class TestEia:
    def test_the_mix_of_the_hour_that_ends_at_the_stamp(self, service: Service, http: Http) -> None:
        mix = {"NG": "6000", "SUN": "3000", "WAT": "1000", "BAT": "-500", "OTH": None}
        rows = [
            {
                "period": f"{NOON + timedelta(hours=h + 1):%Y-%m-%dT%H}",
                "respondent": "CISO",
                "fueltype": fuel,
                "value": mw,
            }
            for h in range(2)
            for fuel, mw in mix.items()
        ]
        service.answer = lambda *_: (200, json.dumps({"response": {"total": "10", "data": rows}}))
        direct = Eia(http, "CISO", DIRECT, "secret").history(NOON, NOON + timedelta(hours=2))
        assert direct.value.tolist() == pytest.approx([0.6 * 370.0] * 2)
        assert (direct.start, direct.zone) == (NOON, "US-CAL-CISO")
        life = Eia(http, "CISO", CarbonKind(Scope.LIFECYCLE), "secret").history(NOON, NOON + timedelta(hours=2))
        assert life.value[0] == pytest.approx(0.6 * 490.0 + 0.3 * 48.0 + 0.1 * 24.0)

    def test_pages_are_joined(self, service: Service, http: Http) -> None:
        def answer(path: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
            first = int(query["offset"])
            rows = [
                {"period": f"{NOON + timedelta(hours=h + 1):%Y-%m-%dT%H}", "fueltype": "COL", "value": "1"}
                for h in range(first, min(first + 5000, 5010))
            ]
            return 200, json.dumps({"response": {"data": rows}})

        service.answer = answer
        series = Eia(http, "CISO", DIRECT, "secret").history(NOON, NOON + timedelta(hours=6000))
        assert len(series.value) == 5010


def generation_xml(kind: str, quantities: dict[int, float], *, consumed: bool = False) -> str:
    domain = "outBiddingZone_Domain.mRID" if consumed else "inBiddingZone_Domain.mRID"
    points = "".join(f"<Point><position>{p}</position><quantity>{q}</quantity></Point>" for p, q in quantities.items())
    return (
        f"<TimeSeries><{domain}>10Y1001A1001A83F</{domain}><MktPSRType><psrType>{kind}</psrType></MktPSRType><Period>"
        "<timeInterval><start>2026-03-01T12:00Z</start><end>2026-03-01T14:00Z</end></timeInterval>"
        f"<resolution>PT15M</resolution>{points}</Period></TimeSeries>"
    )


def market_document(*series: str) -> str:
    space = "urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0"
    inner = "".join(series)
    return f'<?xml version="1.0" encoding="UTF-8"?><GL_MarketDocument xmlns="{space}">{inner}</GL_MarketDocument>'


class TestEntsoe:
    def test_quarters_that_repeat_are_left_out_and_pumping_does_not_count(self, service: Service, http: Http) -> None:
        body = market_document(
            generation_xml("B02", {1: 1000.0, 5: 3000.0}),
            generation_xml("B19", {1: 1000.0}),
            generation_xml("B10", {1: 700.0}, consumed=True),
        )
        service.answer = lambda *_: (200, body)
        series = Entsoe(http, "DE", DIRECT, "secret").history(NOON, NOON + timedelta(hours=2))
        assert series.value.tolist() == pytest.approx([0.5 * 957.0, 0.75 * 957.0])
        assert service.asked[0][1]["periodStart"] == "202603011200"

    @pytest.mark.parametrize(("code", "words"), [("999", "there are no values"), ("401", "refused: no such domain")])
    def test_nothing_found_is_told_from_refused(self, service: Service, http: Http, code: str, words: str) -> None:
        reason = f"<Reason><code>{code}</code><text>no such domain</text></Reason>"
        service.answer = lambda *_: (200, f"<Acknowledgement_MarketDocument>{reason}</Acknowledgement_MarketDocument>")
        with pytest.raises(ProviderError, match=words):
            Entsoe(http, "DE", DIRECT, "secret").history(NOON, NOON + timedelta(hours=2))

    def test_entities_are_refused(self, service: Service, http: Http) -> None:
        service.answer = lambda *_: (200, '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
        with pytest.raises(ProviderError, match="entities"):
            Entsoe(http, "DE", DIRECT, "secret").history(NOON, NOON + timedelta(hours=2))


class TestTries:
    def test_a_busy_service_is_asked_again_after_its_pause(self, service: Service) -> None:
        pauses: list[float] = []
        client = Http(service.url, sleep=pauses.append)
        service.headers = {"Retry-After": "7"}
        service.answer = lambda *_: (429, "") if len(service.asked) < 3 else (200, "{}")
        assert client.json("/x", {}) == {}
        assert pauses == [7.0, 7.0]
        client.close()

    def test_it_gives_up_after_three_and_says_why(self, service: Service, http: Http) -> None:
        service.answer = lambda *_: (503, "")
        with pytest.raises(ProviderError, match="answered 503"):
            http.text("/x", {"api_key": "secret"})
        assert len(service.asked) == 3

    def test_nobody_there(self) -> None:
        client = Http("http://127.0.0.1:9", sleep=lambda _: None)
        with pytest.raises(ProviderError) as caught:
            client.text("/x", {"api_key": "secret"})
        assert caught.value.reason is Reason.UNREACHABLE
        assert "secret" not in str(caught.value)
        client.close()

    @pytest.mark.parametrize("body", ["", "[]", "<html>", '{"data": 3}', '{"data": [{"datetime": 1}]}'])
    def test_an_answer_of_another_form_is_an_error_of_ours(self, service: Service, http: Http, body: str) -> None:
        service.answer = lambda *_: (200, body)
        with pytest.raises(ProviderError):
            ElectricityMaps(http, "DE", DIRECT, "secret").history(NOON, NOON + timedelta(hours=1))


class TestFeed:
    def test_what_is_kept_serves_while_the_service_is_down(self, service: Service, http: Http, tmp_path: Path) -> None:
        service.answer = electricity_maps
        provider = ElectricityMaps(http, "DE", DIRECT, "secret")
        now = NOON + timedelta(hours=6)
        fresh = Feed(provider, tmp_path).update(now, days=2)
        assert fresh.words == ""
        service.answer = lambda *_: (500, "")
        again = Feed(provider, tmp_path).update(now + timedelta(hours=5), days=2)  # a new process
        assert again.series.value.tolist() == fresh.series.value.tolist()
        assert "kept carbon up to 2026-03-01 18:00 UTC serves" in again.words
        assert (again.series.kind, again.series.quantity) == ("direct", provider.kind.quantity)

    def test_only_what_is_new_is_asked_for_and_never_too_often(
        self, service: Service, http: Http, tmp_path: Path
    ) -> None:
        def answer(path: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
            start, end = (datetime.fromisoformat(query[key]) for key in ("start", "end"))
            hours = [start + timedelta(hours=h) for h in range(int((end - start).total_seconds() // 3600))]
            return 200, json.dumps({"data": [{"datetime": h.isoformat(), "carbonIntensity": h.hour} for h in hours]})

        service.answer = answer
        feed = Feed(ElectricityMaps(http, "DE", DIRECT, "secret"), tmp_path)
        feed.update(NOON, days=8)
        feed.update(NOON + timedelta(minutes=5), days=8)
        assert len(service.asked) == 1
        later = feed.update(NOON + timedelta(hours=3), days=8).series
        assert service.asked[-1][1]["start"] == (NOON - timedelta(hours=48)).isoformat()
        assert (later.start, later.end) == (NOON - timedelta(days=8), NOON + timedelta(hours=3))

    def test_nothing_kept_and_nobody_there(self, service: Service, http: Http, tmp_path: Path) -> None:
        service.answer = lambda *_: (500, "")
        with pytest.raises(ProviderError):
            Feed(ElectricityMaps(http, "DE", DIRECT, "secret"), tmp_path).update(NOON)


class TestConfig:
    def test_a_key_comes_from_the_environment(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        service.answer = electricity_maps
        config = CarbonProvider(provider="electricity-maps", zone="DE", key="env:EM_KEY", url=service.url)
        with pytest.raises(ConfigError, match="EM_KEY"):
            open_provider(config)
        monkeypatch.setenv("EM_KEY", "secret")
        provider = open_provider(config)
        assert provider.history(NOON, NOON + timedelta(hours=2)).kind == "lifecycle"
        provider.close()

    @pytest.mark.parametrize("name", ["electricity-maps", "entsoe", "eia", "uk-carbon-intensity", "watttime"])
    def test_every_provider_opens(self, name: str, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEY", "k")
        fields = {"provider": name, "zone": "DE", "scope": "direct", "key": "env:KEY", "user": "env:KEY"}
        provider = open_provider(CarbonProvider.model_validate(fields | {"url": service.url}))
        assert provider.name == name
        assert service.asked == []
        provider.close()

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"provider": "eia"}, "needs a key"),
            ({"provider": "eia", "key": "literal"}, "never the secret itself"),
            ({"provider": "watttime", "key": "env:K", "scope": "direct"}, "needs a user"),
            ({"provider": "uk-carbon-intensity"}, "direct intensity only"),
        ],
    )
    def test_what_is_wrong_is_said(self, fields: dict[str, str], words: str) -> None:
        with pytest.raises(ValidationError, match=words):
            CarbonProvider.model_validate(fields)

    def test_an_area_that_entsoe_does_not_have(self) -> None:
        with pytest.raises(ConfigError, match="does not know 'XX'"):
            open_provider(CarbonProvider(provider="entsoe", zone="XX", key="env:K"))
