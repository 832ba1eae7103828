"""The service's HTTP API as the page uses it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx
import pandas as pd
import pyarrow as pa


class ApiError(Exception):
    """The service did not answer, or refused; the text is meant for the person at the page."""


class Api:
    """A connection to one service."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=5.0)

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON answer of one path."""
        return self._request(path, {}, parameters).json()

    def query(self, name: str, **parameters: Any) -> pd.DataFrame:
        """A named query as a data frame."""
        answer = self._request(f"/v1/query/{name}", {"Accept": "application/vnd.apache.arrow.stream"}, parameters)
        return pa.ipc.open_stream(answer.content).read_all().to_pandas()

    def series(self, points: Sequence[str], start: datetime, every_s: float, run: str) -> pd.DataFrame:
        """Bucket means since ``start`` in ``run``: a column a point, indexed by time; empty where nothing was read."""
        parameters = {"point": ",".join(points), "start": start.isoformat(), "every_s": every_s, "run": run}
        rows = self.query("series", **parameters)
        if rows.empty:
            return pd.DataFrame(columns=list(points))
        return rows.pivot_table(index="ts", columns="point", values="value").reindex(columns=list(points))

    def _request(self, path: str, headers: dict[str, str], parameters: dict[str, Any]) -> httpx.Response:
        try:
            answer = self._client.get(path, params=parameters, headers=headers)
        except httpx.HTTPError as error:
            raise ApiError(
                f"The service does not answer ({type(error).__name__}). It may be starting again."
            ) from error
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise ApiError("The service refused the token.")
        if answer.is_error:
            raise ApiError(f"The service answered {answer.status_code}: {answer.text}")
        return answer
