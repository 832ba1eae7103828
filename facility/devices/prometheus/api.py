"""Prometheus' HTTP API: instant and range queries, and what its errors mean."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np

from facility.devices.redfish.http import failure, parse, tls
from facility.errors import DeviceError, DeviceTimeout, Reason
from facility.records import FloatArray
from facility.site import Http, resolve_path, resolve_secret

log = logging.getLogger("eco.prometheus")

QUERY_ERRORS = (400, 422)  # the query cannot be parsed, or cannot be executed: others may do


class QueryError(DeviceError):
    """Prometheus refuses this query; other queries may do."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series at one moment; ``value`` is None where Prometheus has no number (NaN, infinite, stale)."""

    labels: Mapping[str, str]
    at: datetime
    value: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One series over time: seconds since 1970 and values, NaN where there is no number; both of shape (n,)."""

    labels: Mapping[str, str]
    at_s: FloatArray
    value: FloatArray


class PrometheusApi:
    """A client of one server; every request has a deadline in wall seconds."""

    def __init__(self, name: str, host: str, port: int, http: Http, deadline_s: float) -> None:
        """Nothing is sent before the first query; raises ConfigError for a secret or CA file that is not there."""
        self._name, self._deadline_s = name, deadline_s
        self._where = f"{http.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        headers, auth = {}, None
        if http.token is not None:
            headers["Authorization"] = f"Bearer {resolve_secret(http.token)}"
        elif http.password is not None:
            auth = httpx.BasicAuth(http.user, resolve_secret(http.password))
        verify = tls(resolve_path(http.ca_file), http.verify) if http.scheme == "https" else False
        self._client = httpx.AsyncClient(
            base_url=self._where, headers=headers, auth=auth, verify=verify, timeout=deadline_s, trust_env=False
        )
        self._said: set[str] = set()  # warnings that were logged already

    async def query(self, promql: str) -> list[Sample]:
        """The vector (or scalar) that ``promql`` is now; raises QueryError, DeviceTimeout or DeviceError."""
        data = await self._get("/api/v1/query", {"query": promql})
        kind, result = data.get("resultType"), data.get("result")
        if kind == "scalar":
            scalar = _sample({}, result)
            return [] if scalar is None else [scalar]
        if kind != "vector" or not isinstance(result, list):
            raise QueryError(f"answers a {kind}, a vector is needed", where=promql, hint="take a range away")
        found = (_sample(one.get("metric"), one.get("value")) for one in result if isinstance(one, dict))
        return [sample for sample in found if sample is not None]  # a native histogram is no number

    async def history(self, promql: str, start: datetime, end: datetime, step_s: float) -> list[Series]:
        """What ``promql`` was from ``start`` to ``end``, every ``step_s``; raises as ``query`` does."""
        span = {"start": str(start.timestamp()), "end": str(end.timestamp()), "step": str(step_s)}
        data = await self._get("/api/v1/query_range", {"query": promql, **span})
        result = data.get("result")
        if data.get("resultType") != "matrix" or not isinstance(result, list):
            raise DeviceError("no matrix came", where=self._where, reason=Reason.WRONG_DEVICE)
        return [_series(one) for one in result if isinstance(one, dict)]

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _get(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._deadline_s):  # of the whole answer; httpx times each piece of it
                answer = await self._client.get(path, params=parameters)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise DeviceTimeout(f"no answer within {self._deadline_s:g} s", where=self._where) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise failure(self._name, self._where, error) from error
        body = parse(answer.content)
        if not isinstance(body, dict) or "status" not in body or answer.status_code in (401, 403):
            raise self._refusal(answer.status_code)
        if body["status"] != "success":
            said = f"{body.get('errorType')}: {body.get('error')}"
            if answer.status_code in QUERY_ERRORS:
                raise QueryError(said, where=parameters["query"], hint="see the query in the profile")
            raise DeviceError(said, where=self._where, reason=Reason.BUSY if answer.status_code == 503 else None)
        self._note(body.get("warnings"))
        data = body.get("data")
        return data if isinstance(data, dict) else {}

    def _note(self, warnings: object) -> None:
        """Say once what the server warns of: a part of the data that it could not reach, for one."""
        for warning in {str(text) for text in warnings if text} - self._said if isinstance(warnings, list) else ():
            self._said.add(warning)
            log.warning("%s: %s", self._name, warning)

    def _refusal(self, status: int) -> DeviceError:
        """An answer that is none of Prometheus' own: a proxy before it, or another service."""
        if status in (401, 403):
            hint = "check user and password, or the token"
            return DeviceError(f"HTTP {status}", where=self._where, hint=hint, reason=Reason.CREDENTIALS)
        if status in (429, 502, 503, 504):
            return DeviceError(f"HTTP {status}", where=self._where, hint="it is starting, or busy", reason=Reason.BUSY)
        hint = "is this Prometheus, and is there no path before /api/v1?"
        return DeviceError(f"HTTP {status}, not its API", where=self._where, hint=hint, reason=Reason.WRONG_DEVICE)


def number(text: object) -> float | None:
    """A sample's value, which comes as text; None for NaN (stale markers are one), infinities and anything else."""
    try:
        value = float(text) if isinstance(text, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def moment(seconds: object) -> datetime | None:
    """A time in seconds since 1970; None where it is none."""
    known = number(seconds)
    try:
        return None if known is None else datetime.fromtimestamp(known, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _pair(found: object) -> tuple[object, object]:
    return (found[0], found[1]) if isinstance(found, list) and len(found) == 2 else (None, None)


def _labels(metric: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in metric.items()} if isinstance(metric, dict) else {}


def _sample(metric: object, found: object) -> Sample | None:
    seconds, text = _pair(found)
    at = moment(seconds)
    return None if at is None else Sample(_labels(metric), at, number(text))


def _series(one: Mapping[str, Any]) -> Series:
    values = one.get("values")
    pairs = [_pair(found) for found in values] if isinstance(values, list) else []
    known = [(number(seconds), number(text)) for seconds, text in pairs]
    rows = [(at, math.nan if value is None else value) for at, value in known if at is not None]
    return Series(_labels(one.get("metric")), np.array([at for at, _ in rows]), np.array([value for _, value in rows]))
