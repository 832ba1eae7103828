"""Strict Redfish services on loopback: sessions, versions, ranges, tasks, and the moods of a real BMC on request."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import secrets
import socket
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from apps.emulator.redfish_rules import Problem, error_body, is_writable, leaves, problems_of
from apps.emulator.redfish_tls import Certificate
from apps.emulator.redfish_tree import OFF, ON, ROOT, Json, Tree, actions_of, etag, normal
from apps.emulator.sockets import listen_tcp
from apps.web import GuestServer

SESSIONS = f"{ROOT}/SessionService/Sessions"
TASKS = f"{ROOT}/TaskService/TaskMonitors"
OPEN_PATHS = ("/redfish", ROOT)  # DSP0266: these need no credentials
SESSIONS_MAX = 16


@dataclass(slots=True)
class Moods:
    """What makes a real service hard to live with; each can be switched while it serves."""

    busy: int = 0  # this many requests are answered 503
    retry_after: str = "1"  # Retry-After of a 503 and of a task
    delay_s: float = 0.0  # before each answer
    slow_paths: tuple[str, ...] = ()  # only these are slow; empty: all
    is_deaf: bool = False  # writes are acknowledged and not done
    needs_version: bool = True  # a write without If-Match is answered 428
    tells_versions: bool = True  # otherwise there is no ETag to be had
    has_sessions: bool = True  # otherwise basic authentication alone
    task_polls: int = 0  # writes become tasks that take this many looks
    tasks_fail: bool = False
    broken: Mapping[str, bytes] = field(default_factory=dict)  # path -> what is sent instead of JSON
    failing: frozenset[str] = frozenset()  # paths that are answered 500


@dataclass(slots=True)
class _Task:
    polls: int
    path: str
    changes: list[tuple[tuple[str | int, ...], Json]]


class Service:
    """One Redfish service over a tree."""

    def __init__(self, tree: Tree, user: str = "", password: str = "", token: str = "") -> None:
        """Without a user everybody may do everything; ``token`` is one that was issued elsewhere (bearer)."""
        self.tree, self.moods = tree, Moods()
        self._user, self._password, self._token = user, password, token
        self.sessions: dict[str, str] = {}  # token by session id
        self.requests: deque[tuple[str, str]] = deque(maxlen=1000)  # method and path of the last ones
        self._tasks: dict[str, _Task] = {}
        self.app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        self.app.add_route("/{path:path}", self._serve, methods=["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"])

    def end_sessions(self) -> None:
        """As after the service's idle time, or its restart."""
        self.sessions.clear()

    async def _serve(self, request: Request) -> Response:
        path = normal(request.url.path)
        self.requests.append((request.method, path))
        if self.moods.delay_s and path.startswith(self.moods.slow_paths or "/"):
            await asyncio.sleep(self.moods.delay_s)
        if self.moods.busy > 0:
            self.moods.busy -= 1
            busy = Problem("ServiceTemporarilyUnavailable", "The service is temporarily unavailable.")
            return _no(503, busy, **{"Retry-After": self.moods.retry_after})
        if path not in OPEN_PATHS and (request.method, path) != ("POST", SESSIONS) and not self._knows(request):
            return _no(401, Problem("NoValidSession", "There is no valid session established."))
        if path in self.moods.broken:
            return Response(self.moods.broken[path], media_type="application/json")
        if path in self.moods.failing:
            return _no(500, Problem("InternalError", "The request failed due to an internal service error."))
        return await self._dispatch(request, path)

    async def _dispatch(self, request: Request, path: str) -> Response:
        if path.startswith((SESSIONS, TASKS)):
            return await self._serve_own(request, path)
        if request.method in ("GET", "HEAD"):
            return self._read(request, path)
        if request.method == "POST":
            return await self._act(request, path)
        resource = self.tree.get(path)
        if resource is None:
            return _missing(path)
        if request.method != "PATCH" or not is_writable(resource):
            return _not_allowed("GET, HEAD, PATCH" if is_writable(resource) else "GET, HEAD")
        return await self._patch(request, path, resource)

    # Who is there ------------------------------------------------------------------------------------------------

    def _knows(self, request: Request) -> bool:
        if not self._user:
            return True
        if request.headers.get("X-Auth-Token", "") in self.sessions.values():
            return True
        scheme, _, said = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer":
            return bool(self._token) and secrets.compare_digest(said.encode(), self._token.encode())
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            user, _, password = base64.b64decode(said, validate=True).decode().partition(":")
            return scheme == "Basic" and self._is_right(user, password)
        return False

    def _is_right(self, user: str, password: str) -> bool:
        same = (
            secrets.compare_digest(a.encode(), b.encode()) for a, b in ((user, self._user), (password, self._password))
        )
        return all([*same])

    async def _serve_own(self, request: Request, path: str) -> Response:
        """Sessions and tasks: what the service itself keeps."""
        name = path.rpartition("/")[2]
        if path.startswith(TASKS):
            return self._look_at(name, path)
        if not self.moods.has_sessions:
            return _missing(path)
        if path == SESSIONS and request.method == "POST":
            return await self._log_in(request)
        if path == SESSIONS and request.method == "GET":
            members = [{"@odata.id": f"{SESSIONS}/{known}"} for known in self.sessions]
            return _json(200, {"@odata.id": SESSIONS, "Members": members, "Members@odata.count": len(members)})
        if name not in self.sessions:
            return _missing(path)
        if request.method == "DELETE":
            del self.sessions[name]
            return Response(status_code=204)
        return _json(200, {"@odata.id": path, "Id": name, "UserName": self._user})

    async def _log_in(self, request: Request) -> Response:
        body = await _body_of(request)
        said = [body.get(key) for key in ("UserName", "Password")] if isinstance(body, dict) else [None]
        if not all(isinstance(text, str) for text in said):
            return _no(400, Problem("PropertyMissing", "The properties UserName and Password are required."))
        if self._user and not self._is_right(*said):
            return _no(401, Problem("ResourceAtUriUnauthorized", "The service denied access: wrong user or password."))
        if len(self.sessions) >= SESSIONS_MAX:
            return _no(503, Problem("SessionLimitExceeded", "The limit of simultaneous sessions has been reached."))
        name, token = secrets.token_hex(4), secrets.token_urlsafe(24)
        self.sessions[name] = token
        where = {"X-Auth-Token": token, "Location": f"{SESSIONS}/{name}"}
        return _json(201, {"@odata.id": f"{SESSIONS}/{name}", "Id": name, "UserName": self._user}, where)

    # Resources ---------------------------------------------------------------------------------------------------

    def _read(self, request: Request, path: str) -> Response:
        if path == "/redfish":
            return _json(200, {"v1": f"{ROOT}/"})
        if any(key.startswith("$") for key in request.query_params):
            return _no(501, Problem("QueryNotSupported", "Querying is not supported by the implementation."))
        resource = self.tree.get(path)
        if resource is None:
            return _missing(path)
        allow = {"Allow": "GET, HEAD, PATCH" if is_writable(resource) else "GET, HEAD"}
        version = etag(resource)
        if request.headers.get("If-None-Match") == version:
            return Response(status_code=304)
        return _json(200, resource, {**allow, **({"ETag": version} if self.moods.tells_versions else {})})

    async def _patch(self, request: Request, path: str, resource: Json) -> Response:
        wanted = request.headers.get("If-Match")
        if wanted is None and self.moods.needs_version:
            return _no(428, Problem("PreconditionRequired", "A precondition header or annotation is required."))
        if wanted not in (None, "*", etag(resource)):
            return _no(412, Problem("PreconditionFailed", "The ETag supplied did not match the current one."))
        body = await _body_of(request)
        problems = problems_of(resource, body)
        if problems:
            return _no(400, *problems)
        changes = list(leaves(body))
        if self.moods.task_polls:
            return self._promise(_Task(self.moods.task_polls, path, changes))
        self._do(path, changes)
        after = self.tree.get(path)
        return _json(200, after, {"ETag": etag(after)})

    def _do(self, path: str, changes: list[tuple[tuple[str | int, ...], Json]]) -> None:
        if not self.moods.is_deaf:
            for way, value in changes:
                self.tree.write(path, way, value)

    def _promise(self, task: _Task) -> Response:
        name = secrets.token_hex(4)
        self._tasks[name] = task
        return self._task(202, name, "Running")

    def _look_at(self, name: str, path: str) -> Response:
        task = self._tasks.get(name)
        if task is None:
            return _missing(path)
        task.polls -= 1
        if task.polls > 0:
            return self._task(202, name, "Running")
        del self._tasks[name]
        if self.moods.tasks_fail:
            return self._task(200, name, "Exception")
        self._do(task.path, task.changes)
        return self._task(200, name, "Completed")

    def _task(self, status: int, name: str, state: str) -> Response:
        body = {"@odata.id": f"{ROOT}/TaskService/Tasks/{name}", "Id": name, "TaskState": state}
        waits = {"Location": f"{TASKS}/{name}", "Retry-After": self.moods.retry_after} if status == 202 else {}
        return _json(status, body, waits)

    async def _act(self, request: Request, path: str) -> Response:
        for owner, resource in list(self.tree.resources.items()):
            for name, action in actions_of(resource).items():
                if action.get("target") == path:
                    return self._call(name, action, owner, await _body_of(request))
        return _missing(path) if self.tree.get(path) is None else _not_allowed("GET, HEAD")

    def _call(self, name: str, action: Mapping[str, Json], owner: str, body: Json) -> Response:
        parameters = body if isinstance(body, dict) else {}
        known = ("ResetType",) if name == "ComputerSystem.Reset" else ()
        for parameter in parameters:
            if parameter not in known:
                return _no(400, Problem("ActionParameterUnknown", f"{name} has no parameter {parameter}."))
        if known:
            kind = parameters.get("ResetType")
            allowed = action.get("ResetType@Redfish.AllowableValues", [*ON, *OFF])
            if kind not in allowed:
                return _no(400, Problem("ActionParameterNotSupported", f"{name} does not support ResetType {kind!r}."))
        if not self.moods.is_deaf:
            self.tree.act(name, owner, parameters)
        return Response(status_code=204)


def _json(status: int, body: Json, headers: Mapping[str, str] | None = None) -> Response:
    said = {"OData-Version": "4.0", "Cache-Control": "no-cache", **(headers or {})}
    return Response(json.dumps(body), status, said, media_type="application/json")


def _no(status: int, *problems: Problem, **headers: str) -> Response:
    return _json(status, error_body(*problems), headers)


def _missing(path: str) -> Response:
    return _no(404, Problem("ResourceMissingAtURI", f"The resource at the URI {path} was not found."))


def _not_allowed(allow: str) -> Response:
    return _no(405, Problem("OperationNotAllowed", "The HTTP method is not allowed on this resource."), Allow=allow)


async def _body_of(request: Request) -> Json:
    try:
        return json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError):
        return None


# Serving --------------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def serving(
    services: Mapping[str, Service], *, tls: Certificate | None = None, wishes: Mapping[str, int] | None = None
) -> AsyncIterator[dict[str, int]]:
    """Serve each service on a loopback port of its own, in the running loop; yields the ports by name.

    A port that is wished for and taken is replaced by a free one. Without a certificate it is plain HTTP.
    """
    listeners: dict[str, socket.socket] = {}
    apps: dict[int, FastAPI] = {}
    for name, service in services.items():
        listeners[name] = listen_tcp((wishes or {}).get(name, 0))
        apps[listeners[name].getsockname()[1]] = service.app

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        await apps[scope["server"][1]](scope, receive, send)

    files = {} if tls is None else {"ssl_certfile": str(tls.cert), "ssl_keyfile": str(tls.key)}
    options = {"log_level": "warning", "lifespan": "off", "access_log": False, "timeout_graceful_shutdown": 1}
    server = GuestServer(uvicorn.Config(dispatch, **options, **files))  # type: ignore[arg-type]  # options by name
    running = asyncio.create_task(server.serve(sockets=list(listeners.values())))
    try:
        while not server.started and not running.done():
            await asyncio.sleep(0.01)
        yield {name: listener.getsockname()[1] for name, listener in listeners.items()}
    finally:
        server.should_exit = True
        await running
