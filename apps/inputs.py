"""All that a decision was made on, packed for the store: the same inputs give the same bytes, and back, bit for bit."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import numpy as np

from apps.codec import forecast_json
from facility.errors import DataError
from facility.records import (
    Decision,
    FloatArray,
    Forecast,
    Forecasts,
    JobStatus,
    Mode,
    NodeStatus,
    PointState,
    Quality,
    State,
)
from scheduler.cluster.codec import from_json, to_json

FORM = 1


@dataclass(frozen=True, slots=True)
class Inputs:
    """State and forecasts of one tick, and by whom it was decided."""

    state: State
    forecasts: Forecasts
    policy: str
    policy_version: str
    mode: str

    @classmethod
    def of(cls, state: State, forecasts: Forecasts, decision: Decision, mode: Mode) -> Inputs:
        """What ``decision`` was made on."""
        return cls(state, forecasts, decision.policy, decision.policy_version, mode.value)


def pack(inputs: Inputs) -> bytes:
    """Deterministic: keys are sorted, floats have their shortest exact form. Missing forecast values are null."""
    state = inputs.state
    data = {
        "form": FORM,
        "policy": inputs.policy,
        "policy_version": inputs.policy_version,
        "mode": inputs.mode,
        "at": state.at.isoformat(),
        "points": {name: _point(point) for name, point in state.points.items()},
        "jobs": [to_json(job) for job in state.jobs],
        "nodes": [to_json(node) for node in state.nodes],
        "forecasts": {name: forecast_json(forecast) for name, forecast in inputs.forecasts.items()},
    }
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return zlib.compress(text.encode(), 6)


def unpack(content: bytes) -> Inputs:
    """What ``pack`` packed; raises DataError where it cannot be read."""
    try:
        data = json.loads(zlib.decompress(content))
        if data["form"] != FORM:
            raise ValueError(f"form {data['form']} is not known")
        state = State(
            datetime.fromisoformat(data["at"]),
            {name: _point_state(row) for name, row in data["points"].items()},
            tuple(from_json(JobStatus, job) for job in data["jobs"]),
            tuple(from_json(NodeStatus, node) for node in data["nodes"]),
        )
        forecasts = {name: _forecast(row) for name, row in data["forecasts"].items()}
        return Inputs(state, forecasts, data["policy"], data["policy_version"], data["mode"])
    except (zlib.error, KeyError, TypeError, ValueError) as error:
        raise DataError(f"not the inputs of a decision: {error!r}", where="inputs") from error


def _point(point: PointState) -> list[Any]:
    return [point.value, point.unit, point.measured_at.isoformat(), point.age_s, point.quality.value]


def _point_state(row: list[Any]) -> PointState:
    value, unit, measured_at, age_s, quality = row
    return PointState(value, unit, datetime.fromisoformat(measured_at), age_s, Quality(quality))


def _forecast(row: Mapping[str, Any]) -> Forecast:
    values = dict(row)
    for name in ("issued_at", "start"):
        values[name] = datetime.fromisoformat(values[name])
    for name in ("value", "low", "high"):
        values[name] = None if values[name] is None else _array(values[name])
    return Forecast(**{field.name: values[field.name] for field in fields(Forecast)})


def _array(values: list[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
