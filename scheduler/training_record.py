"""The record of a training: from what, how, and what the policy is worth on windows that training never saw."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from facility.site import Hall
from scheduler.score import PolicyScore
from twin.signals import Signals
from twin.traces import Trace


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One roll-out of the learning curve, exploration included."""

    steps: int  # hall steps taken so far
    reward: float  # mean of a step
    reward_sd: float  # over the halls' means


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """How a policy came to be, and what it is worth; ``score`` is on windows that training never saw."""

    policy: str  # file name
    policy_sha256: str
    centre: dict[str, float]  # parameters of the rule that is moved
    synthetic: bool
    sources: tuple[str, ...]
    signals_sha256: str
    jobs_sha256: str
    hall_sha256: str
    unseen_from: str  # start of the first window of the score
    seed: int
    steps: int  # whole roll-outs: at least as many as were asked for
    seconds: float
    settings: dict[str, Any]
    versions: dict[str, str | None]
    curve: tuple[CurvePoint, ...]
    score: tuple[PolicyScore, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def sources(signals: Signals) -> tuple[str, ...]:
    """Of every signal that is used."""
    return tuple(sorted({series.source for series in signals.series}))


def fingerprint(signals: Signals) -> str:
    """Of every value that training or score can read, with its place in time."""
    digest = hashlib.sha256(f"{signals.altitude_m!r}".encode())
    for series in signals.series:
        digest.update(f"{series.quantity} {series.start.isoformat()} {series.step_s!r}".encode())
        digest.update(series.value.astype("<f8").tobytes())
    return digest.hexdigest()


def trace_fingerprint(trace: Trace) -> str:
    """Of every job of the trace."""
    digest = hashlib.sha256(trace.form.encode())
    for column in (trace.submit_s, trace.duration_s, trace.gpus):
        digest.update(column.astype("<f8").tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str | None]:
    """Of Python and of what decides the outcome; None where a package is not installed."""
    names = ("eco-orchestrator", "numpy", "gymnasium", "stable-baselines3", "torch")
    return {"python": platform.python_version(), **{name: _version(name) for name in names}}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout that was never installed
        return None


def hall_fingerprint(hall: Hall) -> str:
    """Of every parameter of the hall."""
    return hashlib.sha256(hall.model_dump_json().encode()).hexdigest()
