"""The emulated cluster's HTTP interface on loopback (docs/emulator.md), behind a bearer token."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from apps.emulator.building import Building
from facility.errors import DataError, EcoError
from scheduler.cluster.codec import CapRequest, RunRequest, from_json, job_from_json, to_json_bytes

BEARER = HTTPBearer(auto_error=False)
JsonObject = Annotated[dict[str, Any], Body()]


def make_cluster_api(
    building: Building, token: str, catch_up: Callable[[], None], changed: Callable[[], None]
) -> FastAPI:
    """The application; ``catch_up`` runs before every request, ``changed`` after one that altered the cluster."""

    def authorise(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        given = credentials.credentials if credentials is not None else ""
        if not secrets.compare_digest(given.encode(), token.encode()):
            raise HTTPException(401, "a bearer token is needed: see cluster.token in the state directory")

    app = FastAPI(
        title="Emulated cluster", version="1", dependencies=[Depends(authorise)], docs_url=None, redoc_url=None
    )
    app.add_exception_handler(EcoError, _refused)

    # Handlers are coroutines, so that they run in the event loop like everything else that touches the building.
    @app.get("/v1/cluster")
    async def cluster() -> Response:
        catch_up()
        return Response(to_json_bytes(building.cluster_state()), media_type="application/json")

    @app.get("/v1/truth")
    async def truth() -> dict[str, float]:
        catch_up()
        return building.truth()

    @app.post("/v1/jobs", status_code=201)
    async def submit(body: JsonObject) -> dict[str, str]:
        catch_up()
        job = job_from_json(body)
        building.cluster.submit(job)
        changed()
        return {"name": job.name}

    @app.post("/v1/jobs/{name}/run", status_code=204)
    async def run(name: str, body: JsonObject) -> None:
        catch_up()
        building.cluster.start(name, from_json(RunRequest, body).placement)
        changed()

    @app.post("/v1/jobs/{name}/suspend", status_code=204)
    async def suspend(name: str) -> None:
        catch_up()
        building.cluster.suspend(name)
        changed()

    @app.post("/v1/jobs/{name}/cap", status_code=204)
    async def cap(name: str, body: JsonObject) -> None:
        catch_up()
        building.cluster.set_cap(name, from_json(CapRequest, body).gpu_cap_w)
        changed()

    return app


async def _refused(_: Request, error: Exception) -> Response:
    status = 422 if isinstance(error, DataError) else 409
    parts = {name: getattr(error, name, "") for name in ("what", "where", "hint")}
    return JSONResponse({"error": parts}, status_code=status)
