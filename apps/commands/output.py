"""What every command prints: people read stderr and tables, programs read JSON on stdout."""

from __future__ import annotations

import json
import math
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import typer
from rich.console import Console

console = Console(stderr=True, soft_wrap=True)

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def print_json(data: Any) -> None:
    """Strict JSON on standard output: a figure that is not known is null, never NaN."""
    json.dump(_finite(data), sys.stdout, indent=2, default=str, allow_nan=False)
    sys.stdout.write("\n")


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


def parse_duration(text: str) -> timedelta:
    """``2h``, ``90min``, ``1.5d``; raises typer.BadParameter for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or float(match[1]) <= 0:
        raise typer.BadParameter(f"{text!r} is no duration; write for example 90s, 30min, 2h or 7d")
    return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])


def parse_time(text: str) -> datetime:
    """An ISO date or time; without an offset it is UTC. Raises typer.BadParameter for anything else."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no ISO date or time; write for example 2023-06-01") from error
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
