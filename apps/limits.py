"""What one client may ask of the API: so many requests, each with a body of at most so many bytes."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLIENTS_KEPT = 4096  # the client that asked longest ago is forgotten first, and then has a full bucket


class Limits:
    """ASGI middleware: a token bucket for each client address, and a bound on what is read of a body."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        rate_per_s: float,
        burst: int,
        max_body_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._rate_per_s, self._burst, self._max_body_bytes = app, rate_per_s, burst, max_body_bytes
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # by client: tokens left, and when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 429 or 413, or hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wait_s = self._wait_s(scope)
        if wait_s > 0.0:
            await _refuse(send, 429, "too many requests", [(b"retry-after", str(int(wait_s) + 1).encode())])
            return
        body = await self._body(scope, receive)
        if body is None:
            await _refuse(send, 413, f"the body is larger than {self._max_body_bytes} bytes")
            return
        await self._app(scope, _replay(body, receive), send)

    def _wait_s(self, scope: Scope) -> float:
        """Seconds until this client may ask again; 0 where it may now."""
        now, client = self._clock(), (scope.get("client") or ("unknown",))[0]
        left, at = self._buckets.pop(client, (float(self._burst), now))
        left = min(left + (now - at) * self._rate_per_s, float(self._burst))
        may = left >= 1.0
        self._buckets[client] = (left - 1.0 if may else left, now)
        while len(self._buckets) > CLIENTS_KEPT:
            self._buckets.popitem(last=False)
        return 0.0 if may else (1.0 - left) / self._rate_per_s

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None as soon as it is too large, whatever its header says."""
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self._max_body_bytes:
            return None
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                break  # the client is gone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._max_body_bytes:
                return None
            if not message.get("more_body", False):
                break
        return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(send: Send, status: int, detail: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    body = json.dumps({"detail": detail}).encode()
    kind = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*kind, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})
