"""The HTTP API over a real store: who may ask, what may be asked, and in which form it is answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
import uvicorn

from apps.account import Summary
from apps.api import make_api
from apps.up import free_port
from facility.records import Forecasts, Quality, Reading, State
from facility.store import Store
from tests.apps.running import wait_for

TOKEN = "a-token-for-the-test"
START = datetime(2023, 6, 1, tzinfo=UTC)


class View:
    """A service that stands still, over a real store."""

    def __init__(self, store: Store) -> None:
        self.store = store

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


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    store = Store.open(tmp_path / "eco.duckdb")
    readings = [
        Reading("meter/power_w", 1000.0 + minute, "W", START + timedelta(minutes=minute), Quality.GOOD, "meter")
        for minute in range(10)
    ]
    store.append_readings(readings)
    config = uvicorn.Config(make_api(View(store), TOKEN), host="127.0.0.1", port=free_port(0), log_level="warning")
    server = uvicorn.Server(config)
    serving = threading.Thread(target=server.run)
    serving.start()
    wait_for(lambda: server.started, "the server")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{config.port}", headers=headers) as client:
        yield client
    server.should_exit = True
    serving.join()
    store.close()


def test_health_needs_no_token_and_everything_else_does(client: httpx.Client) -> None:
    del client.headers["Authorization"]
    assert client.get("/v1/health").status_code == 200
    paths = [route for route in client.get("/v1/openapi.json").json()["paths"] if route != "/v1/health"]
    answers = {path: client.request("POST" if path == "/v1/readings" else "GET", path).status_code for path in paths}
    assert answers == dict.fromkeys(paths, 401)


@pytest.mark.parametrize(
    "given", ["Bearer wrong", "Bearer", "Basic eDp5", f"Bearer {TOKEN}x", "Bearer \u00fc".encode("latin-1")]
)
def test_a_wrong_token_is_refused(client: httpx.Client, given: str | bytes) -> None:
    assert client.get("/v1/state", headers={"Authorization": given}).status_code == 401


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
