"""The command line's way to the service that runs in a state directory."""

from __future__ import annotations

import os
import ssl
from types import TracebackType
from typing import Any, Self

import httpx

from apps.state_dir import StateDir, read_json
from facility.errors import EcoError

TOKEN_VARIABLE = "ECO_TOKEN"  # noqa: S105 - the name of a variable


class LocalApi:
    """A connection to the running service; acts go under the token in ``ECO_TOKEN``, or that of the run itself."""

    def __init__(self, state: StateDir) -> None:
        """Raises EcoError where no service runs in ``state``."""
        address = read_json(state.api)
        if address is None:
            raise EcoError(
                "no service runs here", where=str(state.root), hint="start `eco up` or `eco run`, or name --state"
            )
        token = os.environ.get(TOKEN_VARIABLE) or state.token("api")
        verify: ssl.SSLContext | bool = True
        if address.get("ca"):
            verify = ssl.create_default_context(cafile=address["ca"])
        self._client = httpx.Client(
            base_url=address["url"],
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=30.0,
            verify=verify,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON answer; raises EcoError with the service's own words where it refuses."""
        return self._ask("GET", path, params=parameters)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer to an act; raises EcoError with the service's own words where it refuses."""
        return self._ask(method, path, json=body)

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        where = f"{method} {path}"
        try:
            answer = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise EcoError(f"the service does not answer: {error}", where=where, hint="is it still running?") from error
        if answer.is_error:
            hint = f"set {TOKEN_VARIABLE} to a token of `eco token create`" if answer.status_code in (401, 403) else ""
            raise EcoError(f"{_detail(answer)} (HTTP {answer.status_code})", where=where, hint=hint)
        return answer.json()


def _detail(answer: httpx.Response) -> str:
    try:
        found = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]
    return found if isinstance(found, str) else "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in found)
