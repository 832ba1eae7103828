"""The HTTP API of the service: state, decisions, forecasts and named queries, as JSON and Arrow; acts of persons.

Every path under /v1 but /v1/health wants ``Authorization: Bearer TOKEN``. There is no free SQL: a query is one of a
named list with typed parameters.
"""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse

from apps.api_acts import add_acts
from apps.auth import Gate
from apps.codec import forecast_json, state_json
from apps.limits import Limits
from apps.metrics import CONTENT_TYPE, exposition
from apps.service_view import ServiceView
from apps.tokens import Role
from facility import queries as named
from facility.errors import DataError, EcoError, StoreError
from facility.site import ApiSettings

ARROW = "application/vnd.apache.arrow.stream"
REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "no valid token"},
    403: {"description": "the role of the token is too low"},
    404: {"description": "there is nothing of this name, or a parameter is not one of its"},
    413: {"description": "the body is too large"},
    422: {"description": "what was sent cannot be read"},
    429: {"description": "too many requests; Retry-After says when"},
}


def make_api(service: ServiceView, gate: Gate, settings: ApiSettings) -> FastAPI:
    """The application; ``gate`` says who may what, ``settings`` how much one client may ask."""
    app = FastAPI(
        title="Eco-Orchestrator", version="1", docs_url="/v1/docs", redoc_url=None, openapi_url="/v1/openapi.json"
    )
    app.add_exception_handler(EcoError, _on_error)
    app.add_middleware(
        Limits,
        rate_per_s=settings.requests_per_s,
        burst=settings.burst,
        max_body_bytes=int(settings.body_max_mb * 1e6),
    )
    _add_status(app, service, gate)
    _add_data(app, service, gate)
    add_acts(app, service, gate, REFUSALS)
    return app


def _on_error(_: Request, error: Exception) -> JSONResponse:
    status = 404 if isinstance(error, StoreError) else 422 if isinstance(error, DataError) else 500
    return JSONResponse({"detail": str(error)}, status_code=status)


def _add_status(app: FastAPI, service: ServiceView, gate: Gate) -> None:
    look: dict[str, Any] = {"dependencies": [Depends(gate.requires(Role.VIEWER))], "responses": REFUSALS}

    @app.get("/v1/health")
    def health() -> dict[str, Any]:
        """Whether the loop runs; the only path that needs no token."""
        return service.health()

    @app.get("/v1/about", **look)
    def about() -> dict[str, Any]:
        """Site, mode, clock and what each point means."""
        return service.about()

    @app.get("/v1/state", **look)
    async def state() -> dict[str, Any]:
        """Every point with its age and quality, every unfinished job, every node."""
        return state_json(await service.state_now())

    @app.get("/v1/forecasts", **look)
    def forecasts() -> dict[str, Any]:
        """The forecasts that the last decision was made on."""
        return {name: forecast_json(forecast) for name, forecast in service.forecasts().items()}

    @app.get("/v1/carbon", **look)
    def carbon() -> dict[str, Any]:
        """The grid's intensity as energy is accounted with it: start, step and values in g/kWh."""
        return service.carbon()

    @app.get("/v1/summary", **look)
    def summary() -> dict[str, Any]:
        """The account of this run so far."""
        return service.summary().to_json()

    @app.get("/v1/alarms", **look)
    def alarms() -> list[dict[str, Any]]:
        """What is wrong now, worst first: severity, cause, and what to do."""
        return service.alarms()

    @app.get("/v1/metrics", response_class=Response, **look)
    def metrics() -> Response:
        """The service's own metrics, in the text format of Prometheus."""
        return Response(exposition(service), media_type=CONTENT_TYPE)


def _add_data(app: FastAPI, service: ServiceView, gate: Gate) -> None:
    look: dict[str, Any] = {"dependencies": [Depends(gate.requires(Role.VIEWER))], "responses": REFUSALS}
    put: dict[str, Any] = {"dependencies": [Depends(gate.may_ingest())], "responses": REFUSALS}

    @app.get("/v1/queries", **look)
    def queries() -> list[dict[str, Any]]:
        """The named queries with their parameters."""
        return named.describe()

    @app.get("/v1/query/{name}", **look)
    def query(name: str, request: Request) -> Response:
        """One named query; Arrow IPC stream, or JSON where the request accepts only that."""
        return _answer(service, name, dict(request.query_params), request)

    @app.get("/v1/audit", **look)
    def audit(request: Request) -> Response:
        """Who did what and why, newest first; the parameters are those of the query ``audit``."""
        return _answer(service, "audit", dict(request.query_params), request)

    @app.post("/v1/readings", **put)
    async def readings(request: Request) -> dict[str, int]:
        """Append readings sent as an Arrow IPC stream; the answer comes after they are durable."""
        body = await request.body()
        try:
            table = pa.ipc.open_stream(body).read_all()
        except pa.ArrowInvalid as error:
            raise DataError(f"the body is no Arrow IPC stream: {error}", where="/v1/readings") from error
        return {"acknowledged": await asyncio.to_thread(service.store.append_readings, table)}


def _answer(service: ServiceView, name: str, parameters: dict[str, str], request: Request) -> Response:
    table = service.store.query(name, **parameters)
    if request.headers.get("accept", "").startswith("application/json"):
        return JSONResponse(_json_rows(table))
    return Response(_arrow(table), media_type=ARROW)


def _arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _json_rows(table: pa.Table) -> list[dict[str, Any]]:
    return [{key: _plain(value) for key, value in row.items()} for row in table.to_pylist()]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
