"""What Prometheus, or whatever stands before it, may answer; and what becomes of series whose exporter has gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facility.clock import WallClock
from facility.devices.prometheus import PrometheusDevice
from facility.devices.prometheus.api import PrometheusApi
from facility.errors import DeviceError, DeviceTimeout, EcoError, Reason
from facility.profile import Profile, load_profile
from facility.records import Quality, Reading
from facility.site import Device, Http
from tests.facility.test_prometheus import Hall, exporters
from tests.peers.prometheus import prometheus

PLAIN = Http(scheme="http")
ONE = Profile.model_validate(
    {
        "profile": {"name": "one", "protocol": "prometheus", "source": "a test"},
        "point": [{"name": "x_w", "kind": "power", "unit": "W", "query": "up"}],
    }
)


class Oracle(ThreadingHTTPServer):
    """Answers every request with what it was told to, after a while."""

    daemon_threads = True
    status, body, after_s = 200, b"", 0.0
    asked: Mapping[str, str] = {}  # path and headers of the last request

    def says(self, status: int, body: object, after_s: float = 0.0) -> Oracle:
        self.status, self.after_s = status, after_s
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Oracle)
        self.server.asked = {"path": self.path, **self.headers}
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.send_header("Location", "/login")
        self.end_headers()
        for piece in (self.server.body[:1], self.server.body[1:]):
            self.wfile.write(piece)
            time.sleep(self.server.after_s)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with Oracle(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _read(port: int, profile: Profile = ONE, deadline_s: float = 5.0, http: Http = PLAIN) -> dict[str, Reading]:
    about = Device(
        name="prom", protocol="prometheus", profile=profile.name, port=port, http=http, deadline_s=deadline_s
    )

    async def once() -> dict[str, Reading]:
        device = PrometheusDevice(about, profile, WallClock())
        try:
            return {reading.point: reading for reading in await device.read()}
        finally:
            await device.close()

    return asyncio.run(once())


def _vector(*rows: Mapping[str, Any], **more: object) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "vector", "result": list(rows)}, **more}


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, b"Unauthorized", Reason.CREDENTIALS),
        (401, {"kind": "Status", "status": "Failure", "code": 401}, Reason.CREDENTIALS),
        (403, {"status": "error", "error": "no org id"}, Reason.CREDENTIALS),
        (302, {}, Reason.WRONG_DEVICE),
        (404, b"404 page not found", Reason.WRONG_DEVICE),
        (200, b"<html>", Reason.WRONG_DEVICE),
        (503, b"Service Unavailable", Reason.BUSY),
        (503, {"status": "error", "errorType": "timeout", "error": "query timed out"}, Reason.BUSY),
        (500, {"status": "error", "errorType": "internal", "error": "x"}, Reason.ERROR),
        (422, {"status": "error", "errorType": "execution", "error": "many-to-many"}, Reason.ERROR),
    ],
)
def test_refusals_are_told_apart(oracle: Oracle, status: int, body: object, reason: Reason) -> None:
    oracle.says(status, body)
    with pytest.raises(DeviceError) as caught:
        _read(oracle.server_port)
    assert caught.value.reason is reason


def test_a_bearer_token_is_sent_and_kept_out_of_errors(oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECO_TOKEN", "bearer-secret-7")
    oracle.says(401, b"Unauthorized")
    http = Http.model_validate({"scheme": "http", "token": "env:ECO_TOKEN"})
    with pytest.raises(DeviceError) as caught:
        _read(oracle.server_port, http=http)
    assert oracle.asked["Authorization"] == "Bearer bearer-secret-7"
    assert oracle.asked["path"] == "/api/v1/query?query=up"
    assert caught.value.reason is Reason.CREDENTIALS
    assert "secret" not in str(caught.value)


def test_an_answer_that_trickles_in_ends_at_the_deadline(oracle: Oracle) -> None:
    oracle.says(200, _vector(), after_s=0.4)
    with pytest.raises(DeviceTimeout, match=r"within 0\.2 s"):
        _read(oracle.server_port, deadline_s=0.2)


@pytest.mark.parametrize("host", ["::1", "no such host!!"])
def test_a_host_that_cannot_be_reached_is_a_typed_error(host: str) -> None:
    async def ask() -> None:
        api = PrometheusApi("prom", host, 1, PLAIN, 5.0)
        try:
            await api.query("up")
        finally:
            await api.close()

    with pytest.raises(DeviceError) as caught:
        asyncio.run(ask())
    assert caught.value.reason in (Reason.REFUSED, Reason.UNREACHABLE, Reason.ERROR)


@pytest.mark.parametrize(
    "row",
    [
        {"metric": {}, "histogram": [1e9, {"count": "7", "sum": "3"}]},
        {"metric": {}, "value": ["soon", "1"]},
        {"metric": {}, "value": [1e300, "1"]},
        {"metric": {}, "value": [1e9]},
        {"metric": {}, "value": [1e9, "NaN"]},
        {"metric": {}, "value": [1e9, "+Inf"]},
    ],
)
def test_what_is_no_number_at_a_time_is_no_value(oracle: Oracle, row: dict[str, Any]) -> None:
    oracle.says(200, _vector(row))
    reading = _read(oracle.server_port)["prom/x_w"]
    assert (reading.value, reading.quality) == (None, Quality.BAD)


def test_what_the_server_warns_of_is_said_once(oracle: Oracle, caplog: pytest.LogCaptureFixture) -> None:
    oracle.says(200, _vector({"metric": {}, "value": [1e9, "1"]}, warnings=["a store is down"]))
    assert _read(oracle.server_port)["prom/x_w"].value == 1.0
    assert [record.message for record in caplog.records] == ["prom: a store is down"]


def _json() -> st.SearchStrategy[Any]:
    words = ("status", "success", "error", "data", "result", "resultType", "vector", "scalar", "matrix", "metric")
    text = st.sampled_from((*words, "value", "values", "warnings", "NaN", "1e999", "7")) | st.text(max_size=5)
    plain = st.none() | st.booleans() | st.integers() | st.floats() | text
    anything = st.recursive(
        plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=12
    )
    kinds = st.sampled_from(("vector", "scalar", "matrix")) | anything
    metric = st.dictionaries(text, anything, max_size=3) | anything
    row = st.fixed_dictionaries({"metric": metric, "value": st.lists(anything, min_size=2, max_size=2) | anything})
    data = st.fixed_dictionaries({"resultType": kinds, "result": st.lists(row | anything, max_size=3) | anything})
    whole = st.fixed_dictionaries({"status": st.just("success"), "data": data | anything, "warnings": anything})
    return whole | anything


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=_json() | st.binary(max_size=40), status=st.sampled_from((200, 200, 200, 400, 401, 422, 500, 503)))
def test_whatever_comes_is_a_reading_or_a_typed_error(oracle: Oracle, body: object, status: int) -> None:
    oracle.says(status, body)
    try:
        readings = _read(oracle.server_port)
    except EcoError:
        return
    assert all(reading.value is None or math.isfinite(reading.value) for reading in readings.values())


# A real server ----------------------------------------------------------------------------------------------------

NODE, POD = "prom/node-1/cpu_power_w", "prom/training/job-1-node-1/cpu_power_w"


def _short(name: str) -> Profile:
    """A shipped profile with rates over 8 s, so that a test need not last minutes."""
    shipped = load_profile(name)
    points = [point.model_copy(update={"query": point.query.replace("[2m]", "[8s]")}) for point in shipped.point]
    return shipped.model_copy(update={"point": tuple(points)})


def test_an_exporter_that_is_scraped_twice_counts_once_and_one_that_has_gone_not_at_all(tmp_path: Path) -> None:
    profile, until, watts = _short("kepler"), time.monotonic() + 60.0, 0.0
    with contextlib.ExitStack() as peers, contextlib.ExitStack() as hall:
        ports = [port for _ in range(2) for port in hall.enter_context(exporters(Hall()))]
        server = peers.enter_context(prometheus(tmp_path, ports))
        while time.monotonic() < until and abs(watts - 500.0) > 75.0:
            time.sleep(0.5)
            readings = _read(server.port, profile)
            watts = readings[NODE].value or 0.0 if NODE in readings else 0.0
        assert watts == pytest.approx(500.0, rel=0.15)
        assert readings[POD].value == pytest.approx(0.5 * watts, rel=0.01)
        hall.close()
        gone_at = datetime.now(UTC)
        while time.monotonic() < until and readings:
            readings = _read(server.port, profile)
            assert all(reading.measured_at <= gone_at for reading in readings.values())
            time.sleep(0.2)
        assert readings == {}
