"""The API server as plain dicts: the official client's configuration, credentials and connections, none of its models.

Its generated models refuse a whole list for one field that they do not expect. Every call has a deadline; every
failure is one of the errors here. Calls block: an event loop runs them in threads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from kubernetes import client, config
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from facility.errors import ConfigError, DeviceError
from scheduler.cluster import names
from scheduler.cluster.kinds import Kind

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
TIMEOUT_S = 10.0
PAGE = 500  # objects of one answer to a list
POOL = 32  # connections: a watch holds one each

Json = dict[str, Any]


class KubeError(DeviceError):
    """The API server refused, or cannot be reached; ``status`` is the HTTP status, 0 where there was no answer."""

    def __init__(self, what: str, *, where: str = "", hint: str = "", status: int = 0) -> None:
        super().__init__(what, where=where, hint=hint)
        self.status = status


class Conflict(KubeError):  # noqa: N818 - names the state
    """Somebody changed the object first, or a test of the patch failed."""


class NotFound(KubeError):  # noqa: N818 - names the state
    """No such object, or the server does not know such a kind."""


class Gone(KubeError):  # noqa: N818 - names the state
    """The server no longer knows that version: list again."""


_ERRORS: Mapping[int, type[KubeError]] = {404: NotFound, 409: Conflict, 410: Gone, 422: Conflict}
_HINTS = {401: "the token is not valid", 403: "the ServiceAccount lacks this verb: see apps/deploy"}


def connect(kubeconfig: str = "", context: str | None = None) -> client.ApiClient:
    """A client from a kubeconfig, else from the pod's ServiceAccount; raises ConfigError where there is neither."""
    settings = client.Configuration()
    settings.retries = False  # a call that fails is seen, and its deadline holds
    settings.connection_pool_maxsize = POOL
    try:
        if kubeconfig:
            config.load_kube_config(kubeconfig, context=context, client_configuration=settings)  # type: ignore[no-untyped-call]
        else:
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        hint = "name a kubeconfig with --kubeconfig, or run in a pod with a ServiceAccount"
        raise ConfigError(str(error), where=kubeconfig or "in-cluster configuration", hint=hint) from error
    return client.ApiClient(settings)


def path_of(kind: Kind, namespace: str | None = None, name: str | None = None, sub: str = "") -> str:
    """URL path of a collection, an object or its subresource."""
    parts = [kind.base]
    if namespace is not None:
        parts.append(f"namespaces/{quote(namespace, safe='')}")
    parts.append(kind.plural)
    if name is not None:
        parts.append(quote(name, safe=""))
    if sub:
        parts.append(sub)
    return "/".join(parts)


class Kube:
    """Calls of one API server."""

    def __init__(self, api: client.ApiClient, timeout_s: float = TIMEOUT_S) -> None:
        self._api, self._timeout_s = api, timeout_s

    def get(self, path: str, **query: str) -> Json:
        """One object, or one page of a list."""
        return self._json("GET", path, query)

    def items(self, path: str, **query: str) -> tuple[list[Json], str]:
        """Every object of a collection, page by page, and the version of the list."""
        found: list[Json] = []
        more = ""
        while True:
            page = self.get(path, **query, limit=str(PAGE), **({"continue": more} if more else {}))
            found += page.get("items") or []
            more = page.get("metadata", {}).get("continue") or ""
            if not more:
                return found, str(page["metadata"].get("resourceVersion", ""))

    def create(self, path: str, body: Json, **query: str) -> Json:
        """Create an object in a collection."""
        return self._json("POST", path, {"fieldManager": names.FIELD_MANAGER, **query}, body, "application/json")

    def replace(self, path: str, body: Json) -> Json:
        """Replace an object; its resourceVersion is tested by the server."""
        return self._json("PUT", path, {"fieldManager": names.FIELD_MANAGER}, body, "application/json")

    def patch(self, path: str, body: Json | list[Json], content: str = JSON_PATCH, **query: str) -> Json:
        """Patch an object as our field manager."""
        return self._json("PATCH", path, {"fieldManager": names.FIELD_MANAGER, **query}, body, content)

    def apply(self, path: str, body: Json) -> Json:
        """Server-side apply, never by force: a field that another manager owns is a Conflict."""
        return self.patch(path, body, APPLY_PATCH)

    def delete(self, path: str, **options: Any) -> Json:
        """Delete an object or a collection; ``options`` are those of DeleteOptions."""
        return self._json("DELETE", path, {}, options, "application/json")

    def watch(self, path: str, version: str, seconds: int, **query: str) -> Iterator[Json]:
        """Events of a collection from ``version`` for at most ``seconds``, with bookmarks; raises Gone on 410."""
        asked = {
            **query,
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        answer = self._send("GET", path, asked, None, "", (self._timeout_s, seconds + self._timeout_s))
        try:
            for line in _lines(answer):
                event: Json = json.loads(line)
                if event.get("type") == "ERROR":
                    said = event.get("object") or {}
                    raise _error(int(said.get("code") or 500), str(said.get("message", "")), f"watch {path}")
                yield event
        except (HTTPError, ValueError) as error:
            raise KubeError(f"the watch broke: {error}", where=f"kubernetes: watch {path}") from error
        finally:
            answer.close()

    def _json(self, method: str, path: str, query: Mapping[str, str], body: Any = None, content: str = "") -> Json:
        answer = self._send(method, path, query, body, content, self._timeout_s)
        try:
            parsed: Json = json.loads(answer.data)
        except (HTTPError, ValueError) as error:
            raise KubeError(f"the answer broke off: {error}", where=f"kubernetes: {method} {path}") from error
        return parsed

    def _send(self, method: str, path: str, query: Mapping[str, str], body: Any, content: str, timeout: Any) -> Any:
        """The urllib3 response of a call that succeeded; raises KubeError."""
        headers = {"Accept": "application/json", **({"Content-Type": content} if content else {})}
        # The client's serialiser adds host and credentials, refreshed where the configuration says how.
        method, url, headers, _, _ = self._api.param_serialize(
            method, path, query_params=list(query.items()), header_params=headers, auth_settings=["BearerToken"]
        )
        where = f"kubernetes: {method} {path}"
        try:
            rest: Any = self._api.rest_client  # the client ships half of its types
            answer = rest.request(method, url, headers, body, _request_timeout=timeout).response
            if answer.status >= 400:
                raise _error(answer.status, _said(answer.data), where)
        except client.ApiException as error:
            raise _error(int(error.status or 0), str(error.reason), where) from error
        except (HTTPError, OSError) as error:
            raise KubeError(f"cannot reach the API server: {error}", where=where) from error
        return answer


def pointer(*keys: str | int) -> str:
    """A JSON pointer, escaped after RFC 6901."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def tested(version: str, operations: Sequence[Json]) -> list[Json]:
    """A JSON patch that is refused where the object has changed since ``version``."""
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": version}, *operations]


def _lines(answer: Any) -> Iterator[bytes]:
    rest = b""
    for part in answer.stream(amt=None, decode_content=True) if not answer.chunked else answer.read_chunked():
        *whole, rest = (rest + part).split(b"\n")
        yield from (line for line in whole if line.strip())


def _said(body: bytes) -> str:
    """The message of a Status, or the beginning of what came instead."""
    try:
        return str(json.loads(body).get("message", ""))[:500]
    except (ValueError, AttributeError):
        return body.decode(errors="replace")[:300]


def _error(status: int, message: str, where: str) -> KubeError:
    kind = _ERRORS.get(status, KubeError)
    return kind(f"HTTP {status}: {message}", where=where, hint=_HINTS.get(status, ""), status=status)
