"""The HTTP API over a real store: who may ask, what may be asked, and in which form it is answered."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from apps.account import Summary
from apps.api import make_api
from apps.auth import Gate
from apps.emulator.redfish_tls import certificate_in
from apps.modes import Grant, ModeRules, Modes
from apps.proposals import Proposals
from apps.tokens import Role, Tokens
from apps.up import free_port
from apps.web import guest_server, listen_on
from facility.audit import Actor
from facility.errors import ConfigError, DataError
from facility.overrides import Overrides
from facility.records import Forecasts, Mode, Quality, Reading, State
from facility.site import ApiSettings
from facility.store import Store
from tests.apps.running import wait_for

TOKEN = "a-token-for-the-test"
START = datetime(2023, 6, 1, tzinfo=UTC)


class Control:
    """Keeps modes for real, and moves nothing."""

    def __init__(self, folder: Path) -> None:
        self.modes = Modes(folder / "mode.json", "run", Grant(Mode.SHADOW, START, "service"), ModeRules())
        self.proposals = Proposals()
        self.overrides = Overrides(folder / "overrides.json")

    async def set_mode(self, mode: Mode, actor: Actor, why: str, until: datetime | None) -> Grant:
        grant = Grant(mode, START, actor.name, actor.role, why, until)
        self.modes.entry(grant)
        self.modes.adopt(grant)
        return grant

    async def accept(self, name: str, actor: Actor, why: str) -> Any:
        raise DataError("no such proposal", where=name)


class View:
    """A service that stands still, over a real store."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.control: Any = Control(folder)

    def now(self) -> datetime:
        return START

    def carbon(self) -> dict[str, Any]:
        return {}

    def alarms(self) -> list[dict[str, Any]]:
        return [{"severity": "warning"}]

    def counters(self) -> dict[str, float]:
        return {"heartbeats_total": 3.0, "readings_waiting": 2.0}

    async def state_now(self) -> State:
        return State(START)

    def forecasts(self) -> Forecasts:
        return {}

    def about(self) -> dict[str, Any]:
        return {"site": {"name": "test"}}

    def health(self) -> dict[str, Any]:
        return {"status": "ok"}

    def summary(self) -> Summary:
        raise NotImplementedError


SETTINGS = ApiSettings(body_max_mb=0.1, requests_per_s=1000.0, burst=1000)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(tmp_path_factory.mktemp("tokens") / "tokens.json")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, tokens: Tokens) -> Iterator[httpx.URL]:
    """One server for all tests that leave it as it is."""
    with serving(tmp_path_factory.mktemp("api"), tokens) as client:
        yield client.base_url


@pytest.fixture
def client(url: httpx.URL) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        yield client


@contextlib.contextmanager
def serving(folder: Path, tokens: Tokens, settings: ApiSettings = SETTINGS) -> Iterator[httpx.Client]:
    """A client with the run's own token, of an API on a real socket."""
    store = Store.open(folder / "eco.duckdb")
    readings = [
        Reading("meter/power_w", 1000.0 + minute, "W", START + timedelta(minutes=minute), Quality.GOOD, "meter")
        for minute in range(10)
    ]
    store.append_readings(readings)
    app = make_api(View(store, folder), Gate(TOKEN, Role.ADMIN, tokens), settings)
    server = guest_server(app, settings.tls_cert, settings.tls_key)
    listener = listen_on(free_port(0))
    port = listener.getsockname()[1]
    thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listener]),))
    thread.start()
    wait_for(lambda: server.started, "the server")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    scheme = "https" if settings.tls_cert else "http"
    verify = ssl.create_default_context(cafile=settings.tls_cert) if settings.tls_cert else True
    try:
        with httpx.Client(base_url=f"{scheme}://127.0.0.1:{port}", headers=headers, verify=verify) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        store.close()


def as_person(tokens: Tokens, role: Role, valid: timedelta = timedelta(hours=1)) -> dict[str, str]:
    text, _ = tokens.create("Ada Lovelace", role, datetime.now(UTC) + valid)
    return {"Authorization": f"Bearer {text}"}


def every_path(client: httpx.Client) -> list[tuple[str, str]]:
    paths = client.get("/v1/openapi.json").json()["paths"]
    return [(method, path) for path, ways in paths.items() for method in ways if path != "/v1/health"]


def test_health_needs_no_token_and_everything_else_does(client: httpx.Client) -> None:
    del client.headers["Authorization"]
    assert client.get("/v1/health").status_code == 200
    ways = every_path(client)
    assert ("put", "/v1/mode") in ways
    answers = {(method, path): client.request(method, path).status_code for method, path in ways}
    assert answers == dict.fromkeys(ways, 401)


@pytest.mark.parametrize(
    "given", ["Bearer wrong", "Bearer", "Basic eDp5", f"Bearer {TOKEN}x", "Bearer \u00fc".encode("latin-1")]
)
def test_a_wrong_token_is_refused(client: httpx.Client, given: str | bytes) -> None:
    value = given if isinstance(given, bytes) else given.encode()
    assert client.get("/v1/state", headers={b"Authorization": value}).status_code == 401


def test_a_named_query_answers_in_arrow(client: httpx.Client) -> None:
    answer = client.get("/v1/query/series", params={"point": "meter/power_w", "start": START.isoformat()})
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table["value"].to_pylist() == [1000.0 + minute for minute in range(10)]


def test_or_in_json_where_that_is_asked_for(client: httpx.Client) -> None:
    parameters = {"point": "meter/power_w", "start": START.isoformat()}
    answer = client.get("/v1/query/series", params=parameters, headers={"Accept": "application/json"})
    assert answer.json()[0]["ts"] == "2023-06-01T00:00:00+00:00"


def test_there_is_no_free_sql(client: httpx.Client) -> None:
    answer = client.get("/v1/query/select%201")
    assert answer.status_code == 404
    assert "series" in answer.json()["detail"]  # the names that there are
    injected = client.get(
        "/v1/query/series", params={"point": "x'; drop table readings; --", "start": START.isoformat()}
    )
    assert pa.ipc.open_stream(injected.content).read_all().num_rows == 0
    assert client.get("/v1/query/latest").status_code == 200


@pytest.mark.parametrize("parameters", [{"pint": "x"}, {"point": "x", "start": "yesterday"}, {}])
def test_wrong_parameters_are_named(client: httpx.Client, parameters: dict[str, str]) -> None:
    answer = client.get("/v1/query/series", params=parameters)
    assert answer.status_code in (404, 422)
    assert answer.json()["detail"]


def test_readings_are_acknowledged_when_they_are_kept(client: httpx.Client) -> None:
    table = pa.table(
        {
            "ts": pa.array([START], pa.timestamp("us", "UTC")),
            "point": ["meter/power_w"],
            "value": [5.0],
            "unit": ["W"],
            "quality": ["good"],
            "source": ["test"],
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    answer = client.post("/v1/readings", content=sink.getvalue().to_pybytes())
    assert answer.json() == {"acknowledged": 1}
    assert client.post("/v1/readings", content=b"no arrow").status_code == 422


def test_a_viewer_looks_on_and_is_refused_every_act(client: httpx.Client, tokens: Tokens) -> None:
    headers = as_person(tokens, Role.VIEWER)
    assert client.get("/v1/mode", headers=headers).status_code == 200
    acts = [way for way in every_path(client) if way[0] != "get"]
    answers = {way: client.request(way[0], way[1], headers=headers, json={"why": "x"}).status_code for way in acts}
    assert answers == dict.fromkeys(acts, 403)


def test_an_operator_acts_under_the_own_name_and_puts_no_readings_in(client: httpx.Client, tokens: Tokens) -> None:
    headers = as_person(tokens, Role.OPERATOR)
    wish = {"mode": "active", "why": "trial", "for_s": 3600.0}
    answer = client.put("/v1/mode", headers=headers, json=wish)
    assert answer.status_code == 200
    assert (answer.json()["person"], answer.json()["until"]) == ("Ada Lovelace", "2023-06-01T01:00:00+00:00")
    assert client.post("/v1/readings", headers=headers, content=b"x").status_code == 403
    assert client.post("/v1/readings", headers=as_person(tokens, Role.ADMIN), content=b"x").status_code == 422


def test_active_without_an_expiry_is_a_conflict_that_says_so(client: httpx.Client) -> None:
    answer = client.put("/v1/mode", json={"mode": "active", "why": "trial"})
    assert answer.status_code == 409
    assert "expiry" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"mode": "active"},
        {"mode": "full", "why": "x"},
        {"mode": "off", "why": "x", "by": "me"},
        {"mode": "off", "why": ""},
    ],
)
def test_a_body_that_is_not_as_described_is_refused(client: httpx.Client, body: dict[str, str]) -> None:
    assert client.put("/v1/mode", json=body).status_code == 422


def test_an_expired_and_a_revoked_token_are_refused(
    client: httpx.Client, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, token = tokens.create("Ada Lovelace", Role.ADMIN, datetime.now(UTC) + timedelta(hours=1))
    headers = {"Authorization": f"Bearer {text}"}
    assert client.get("/v1/mode", headers=headers).status_code == 200
    tokens.revoke(token.id)
    answer = client.get("/v1/mode", headers=headers)
    assert (answer.status_code, "revoked" in answer.json()["detail"]) == (401, True)
    late = as_person(tokens, Role.ADMIN, timedelta(seconds=0.2))
    wait_for(lambda: client.get("/v1/mode", headers=late).status_code == 401, "its end")
    assert "expired" in client.get("/v1/mode", headers=late).json()["detail"]


def test_an_oversized_body_is_refused_whatever_its_header_says(client: httpx.Client) -> None:
    assert client.post("/v1/readings", content=b"x" * 200_000).status_code == 413
    chunks = (b"x" * 50_000 for _ in range(4))  # sent without a length
    assert client.post("/v1/readings", content=chunks).status_code == 413


@pytest.mark.parametrize(
    "parameters",
    [
        {"point": "x", "run": "' OR 1=1 --"},
        {"point": "x,y'); DROP TABLE readings; --"},
        {"point": "x", "start": "2023-06-01T00:00:00+00:00'; DROP TABLE audit; --"},
        {"point": "x", "every_s": "1); DROP TABLE readings; --"},
        {"point": "x\x00y"},
        {"point": "x", "$start": "1"},
    ],
)
def test_an_injection_in_a_parameter_is_data_or_refused(client: httpx.Client, parameters: dict[str, str]) -> None:
    as_json = {"Accept": "application/json"}
    before = client.get("/v1/query/counts", headers=as_json).json()
    answer = client.get("/v1/query/series", params=parameters, headers=as_json)
    assert (answer.status_code, answer.json()) == (200, []) or answer.status_code in (404, 422)
    assert client.get("/v1/query/counts", headers=as_json).json() == before
    assert client.get("/v1/audit", headers=as_json).json() == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/query/../../etc/passwd",
        "/v1/query/..%2F..%2Fapi.token",
        "/v1/%2e%2e/%2e%2e/tokens.json",
        "/v1/proposals/..%2f..%2fmode/accept",
        "//etc/passwd",
        "/v1/docs/../../eco.duckdb",
    ],
)
def test_a_path_leads_to_no_file(client: httpx.Client, path: str) -> None:
    host, port = client.base_url.host, client.base_url.port
    assert port is not None
    with socket.create_connection((host, port), timeout=10) as raw:  # a client library would tidy the path up
        lines = (f"GET {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {TOKEN}", "Connection: close", "", "")
        raw.sendall("\r\n".join(lines).encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.split()[1] in (b"404", b"405")
    assert TOKEN.encode() not in answer


def test_a_client_that_asks_too_often_waits(tmp_path: Path, tokens: Tokens) -> None:
    settings = ApiSettings(requests_per_s=0.5, burst=5)
    with serving(tmp_path, tokens, settings) as client:
        answers = [client.get("/v1/health") for _ in range(8)]
    assert [answer.status_code for answer in answers].count(429) in (2, 3)
    assert int(answers[-1].headers["Retry-After"]) >= 1


def test_over_tls_plain_http_gets_nothing(tmp_path: Path, tokens: Tokens) -> None:
    pair = certificate_in(tmp_path)
    settings = ApiSettings(tls_cert=str(pair.cert), tls_key=str(pair.key))
    with serving(tmp_path, tokens, settings) as client:
        assert client.get("/v1/mode").json()["mode"] == "shadow"
        plain = str(client.base_url).replace("https", "http")
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{plain}/v1/health")
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"{client.base_url}/v1/health")


def test_tls_with_no_certificate_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot use the certificate"):
        guest_server(FastAPI(), str(tmp_path / "none.pem"), str(tmp_path / "none.key"))


def test_beyond_loopback_there_is_no_plain_http() -> None:
    with pytest.raises(ValueError, match="needs 'tls_cert' and 'tls_key'"):
        ApiSettings(host="0.0.0.0")


def test_metrics_are_what_prometheus_reads(client: httpx.Client) -> None:
    answer = client.get("/v1/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert families["eco_heartbeats"].samples[0].value == 3.0
    assert {sample.labels["mode"]: sample.value for sample in families["eco_mode"].samples}["off"] == 0.0
    assert {sample.labels["severity"]: sample.value for sample in families["eco_alarms"].samples}["warning"] == 1.0
