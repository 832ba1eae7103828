"""The HTTP API of the service: state, decisions, forecasts and named queries, as JSON and Arrow.

Every path under /v1 but /v1/health wants ``Authorization: Bearer TOKEN``. There is no free SQL: a query is one of a
named list with typed parameters.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

import pyarrow as pa
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from apps.account import Summary
from apps.codec import forecast_json, state_json
from facility import queries as named
from facility.errors import DataError, EcoError, StoreError
from facility.records import Forecasts, State
from facility.store import Store

_BEARER = HTTPBearer(auto_error=False)
ARROW = "application/vnd.apache.arrow.stream"


class ServiceView(Protocol):
    """What the API may see of the running service."""

    @property
    def store(self) -> Store:
        """The store of this process."""
        ...

    async def state_now(self) -> State:
        """The state at this moment."""
        ...

    def forecasts(self) -> Forecasts:
        """The forecasts of the last tick."""
        ...

    def about(self) -> dict[str, Any]:
        """Site, mode, clock and roles."""
        ...

    def health(self) -> dict[str, Any]:
        """Whether the loop runs, and what it has acknowledged."""
        ...

    def summary(self) -> Summary:
        """The account of this run so far."""
        ...


def make_api(service: ServiceView, token: str) -> FastAPI:
    """The application; ``token`` is compared in constant time."""
    app = FastAPI(title="Eco-Orchestrator", version="1", docs_url="/v1/docs", openapi_url="/v1/openapi.json")
    signed_in = [Depends(_require(token))]
    app.add_exception_handler(EcoError, _on_error)
    _add_status(app, service, signed_in)
    _add_data(app, service, signed_in)
    return app


def _require(token: str) -> Callable[..., None]:
    def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> None:
        if given is None or not secrets.compare_digest(given.credentials.encode(), token.encode()):
            raise HTTPException(
                401,
                "a bearer token is needed: it is in api.token of the state directory",
                {"WWW-Authenticate": "Bearer"},
            )

    return check


def _on_error(_: Request, error: Exception) -> JSONResponse:
    status = 404 if isinstance(error, StoreError) else 422 if isinstance(error, DataError) else 500
    return JSONResponse({"detail": str(error)}, status_code=status)


def _add_status(app: FastAPI, service: ServiceView, signed_in: list[Any]) -> None:
    @app.get("/v1/health")
    def health() -> dict[str, Any]:
        """Whether the loop runs; the only path that needs no token."""
        return service.health()

    @app.get("/v1/about", dependencies=signed_in)
    def about() -> dict[str, Any]:
        """Site, mode, clock and what each point means."""
        return service.about()

    @app.get("/v1/state", dependencies=signed_in)
    async def state() -> dict[str, Any]:
        """Every point with its age and quality, every unfinished job, every node."""
        return state_json(await service.state_now())

    @app.get("/v1/forecasts", dependencies=signed_in)
    def forecasts() -> dict[str, Any]:
        """The forecasts that the last decision was made on."""
        return {name: forecast_json(forecast) for name, forecast in service.forecasts().items()}

    @app.get("/v1/summary", dependencies=signed_in)
    def summary() -> dict[str, Any]:
        """The account of this run so far."""
        return service.summary().to_json()


def _add_data(app: FastAPI, service: ServiceView, signed_in: list[Any]) -> None:
    @app.get("/v1/queries", dependencies=signed_in)
    def queries() -> list[dict[str, Any]]:
        """The named queries with their parameters."""
        return named.describe()

    @app.get("/v1/query/{name}", dependencies=signed_in)
    def query(name: str, request: Request) -> Response:
        """One named query; Arrow IPC stream, or JSON where the request accepts only that."""
        table = service.store.query(name, **dict(request.query_params))
        if request.headers.get("accept", "").startswith("application/json"):
            return JSONResponse(_json_rows(table))
        return Response(_arrow(table), media_type=ARROW)

    @app.post("/v1/readings", dependencies=signed_in)
    async def readings(request: Request) -> dict[str, int]:
        """Append readings sent as an Arrow IPC stream; the answer comes after they are durable."""
        body = await request.body()
        try:
            table = pa.ipc.open_stream(body).read_all()
        except pa.ArrowInvalid as error:
            raise DataError(f"the body is no Arrow IPC stream: {error}", where="/v1/readings") from error
        return {"acknowledged": await asyncio.to_thread(service.store.append_readings, table)}


def _arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _json_rows(table: pa.Table) -> list[dict[str, Any]]:
    return [
        {key: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value for key, value in row.items()}
        for row in table.to_pylist()
    ]
