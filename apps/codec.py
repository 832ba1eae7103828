"""Records to JSON: the form in the store's payloads and in the API."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np

from facility.records import Decision, Forecast, PointState, State
from twin.signals import Series


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, np.ndarray):
        return [None if np.isnan(item) else float(item) for item in value]
    return value


def decision_json(decision: Decision) -> dict[str, Any]:
    """A decision with all its commands, outcomes and reasons."""
    plain: dict[str, Any] = _plain(asdict(decision))
    return plain


def point_json(point: PointState) -> dict[str, Any]:
    """A point's newest reading with its age."""
    plain: dict[str, Any] = _plain(asdict(point))
    return plain


def state_json(state: State) -> dict[str, Any]:
    """The whole state as the last tick or query saw it."""
    return {
        "at": state.at.isoformat(),
        "points": {name: point_json(point) for name, point in sorted(state.points.items())},
        "jobs": [_plain(asdict(job)) for job in state.jobs],
        "nodes": [_plain(asdict(node)) for node in state.nodes],
    }


def forecast_json(forecast: Forecast) -> dict[str, Any]:
    """A forecast with the time it was issued and its band."""
    plain: dict[str, Any] = _plain(asdict(forecast))
    return plain


def series_json(series: Series) -> dict[str, Any]:
    """A signal as it is known now; a step without a value is null."""
    return {
        "quantity": series.quantity,
        "unit": series.unit,
        "zone": series.zone,
        "start": series.start.isoformat(),
        "step_s": series.step_s,
        "value": _plain(series.value),
        "kind": series.kind,
        "source": series.source,
        "synthetic": series.synthetic,
    }
