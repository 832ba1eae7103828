"""HTTP as every provider needs it: deadlines, a few tries with growing pauses, and errors that never show a key."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from apps.providers.port import ProviderError
from facility.errors import Reason

TRIES = 3
FIRST_PAUSE_S = 0.5  # doubled after each try
LONGEST_PAUSE_S = 30.0  # a service that asks for more is given up
DEADLINE_S = 20.0
AGAIN = {408, 425, 429, 500, 502, 503, 504}  # worth another try

Params = Mapping[str, str]


class Http:
    """One service's address; ``sleep`` is the clock that pauses run by."""

    def __init__(self, base_url: str, *, sleep: Callable[[float], None] = time.sleep, tries: int = TRIES) -> None:
        self._client = httpx.Client(base_url=base_url, timeout=DEADLINE_S, follow_redirects=False)
        self._base = base_url
        self._sleep = sleep
        self._tries = tries

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def json(
        self, path: str, params: Params, headers: Params | None = None, auth: tuple[str, str] | None = None
    ) -> dict[str, Any]:
        """The JSON object at ``path``."""
        try:
            document = json.loads(self.text(path, params, headers, auth))
        except json.JSONDecodeError as error:
            raise ProviderError("the answer is no JSON", where=self._base + path) from error
        if not isinstance(document, dict):
            raise ProviderError("the answer is no JSON object", where=self._base + path)
        return document

    def text(
        self, path: str, params: Params, headers: Params | None = None, auth: tuple[str, str] | None = None
    ) -> str:
        """The body at ``path``; raises ProviderError after the last try."""
        pause = FIRST_PAUSE_S
        for number in range(1, self._tries + 1):
            try:
                reply = self._client.get(
                    path, params=dict(params), headers=dict(headers or {}), auth=auth or httpx.USE_CLIENT_DEFAULT
                )
            except httpx.HTTPError as error:
                problem, wait = self._no_answer(path, error), pause
            else:
                if reply.status_code == httpx.codes.OK:
                    return reply.text
                problem, wait = self._refused(path, reply), max(pause, _asked_pause(reply))
                if reply.status_code not in AGAIN:
                    raise problem
            if number == self._tries or wait > LONGEST_PAUSE_S:
                raise problem
            self._sleep(wait)
            pause *= 2.0
        raise AssertionError("unreachable")

    def _no_answer(self, path: str, error: httpx.HTTPError) -> ProviderError:
        is_late = isinstance(error, httpx.TimeoutException)
        reason = Reason.TIMEOUT if is_late else Reason.UNREACHABLE
        what = f"no answer within {DEADLINE_S:g} s" if is_late else f"cannot be reached: {type(error).__name__}"
        return ProviderError(what, where=self._base + path, hint="check the address and the way there", reason=reason)

    def _refused(self, path: str, reply: httpx.Response) -> ProviderError:
        status = reply.status_code
        reason, hint = {
            401: (Reason.CREDENTIALS, "check the key that the configuration refers to"),
            403: (Reason.CREDENTIALS, "the key is not valid for this zone or signal"),
            404: (Reason.CONFIG, "check the zone"),
            429: (Reason.BUSY, "ask less often"),
        }.get(status, (Reason.ERROR, "try again later"))
        return ProviderError(f"answered {status}", where=self._base + path, hint=hint, reason=reason)


def _asked_pause(reply: httpx.Response) -> float:
    """Seconds that the service asks to be left alone; 0 where it does not say."""
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isdigit() else 0.0
