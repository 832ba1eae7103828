"""What pods used, from Prometheus: power and utilisation of their GPUs under dcgm-exporter's names and pod labels.

The node agent exports the same names where dcgm-exporter is absent. A pod's IT energy is that of its GPUs and, for each
GPU, a share of its host that the operator sets; how the shares add up to what nodes and feeds measure is the business
of ``pod_energy``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
import numpy as np

from facility.errors import DeviceError, DeviceTimeout
from facility.records import FloatArray
from facility.site import StrictModel
from scheduler.cluster.metering import Slot, Usage

POWER = "DCGM_FI_DEV_POWER_USAGE"
UTILISATION = "DCGM_FI_DEV_GPU_UTIL"
STALLED = "eco_agent_pod_stalled"
STEP_S = 30.0
SLOT_S = 900.0
MOST_POINTS = 5000  # of one answer; Prometheus refuses more than 11,000
MOST_PODS = 50  # of one selector


class PrometheusSettings(StrictModel):
    """Where Prometheus is, and how it calls things."""

    url: str
    token_file: str = ""
    namespace_label: str = "namespace"  # exported_namespace where the scrape does not honour labels
    pod_label: str = "pod"
    steps_metric: str = ""  # a counter of training steps with the same labels; empty: steps are not counted
    timeout_s: float = 20.0


class PrometheusMeter:
    """The Meter port over Prometheus' HTTP API."""

    def __init__(
        self, settings: PrometheusSettings, host_w_per_gpu: float, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Nothing is asked yet; ``transport`` is for tests."""
        self._settings, self._host_w = settings, host_w_per_gpu
        self._client = httpx.Client(
            base_url=settings.url, timeout=settings.timeout_s, trust_env=False, transport=transport
        )

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def usage(self, namespace: str, pods: Sequence[str], start: datetime, end: datetime) -> Usage:
        """Energy in quarters of an hour, mean power, utilisation, stalls and steps; raises DeviceError."""
        span_s = (end - start).total_seconds()
        if span_s <= 0.0 or not pods:
            return Usage()
        step_s = max(min(STEP_S, span_s), span_s / MOST_POINTS)
        watts = count = np.zeros(max(1, round(span_s / step_s)))
        utilisation: list[float] = []
        for first in range(0, len(pods), MOST_PODS):
            chosen = self._selector(namespace, pods[first : first + MOST_PODS])
            watts = watts + self._series(f"sum({POWER}{chosen})", start, step_s, len(watts))
            count = count + self._series(f"count({POWER}{chosen})", start, step_s, len(watts))
            utilisation += self._values(f"avg_over_time({UTILISATION}{chosen}[{span_s:.0f}s])", end)
        slots = _slots(watts + count * self._host_w, count > 0, start, step_s)
        gpu_samples = float(count.sum())
        return Usage(
            slots,
            float(watts.sum()) / gpu_samples if gpu_samples else None,
            float(np.mean(utilisation)) / 100.0 if utilisation else None,
            self._stalls(namespace, pods, span_s, end),
            self._steps(namespace, pods, span_s, end),
        )

    def _stalls(self, namespace: str, pods: Sequence[str], span_s: float, end: datetime) -> float | None:
        where = "|".join(re.escape(f"{namespace}/{pod}") for pod in pods[:MOST_PODS])
        found = self._values(f"avg_over_time({STALLED}{{of=~{_quoted(where)}}}[{span_s:.0f}s])", end)
        return float(np.mean(found)) if found else None

    def _steps(self, namespace: str, pods: Sequence[str], span_s: float, end: datetime) -> float | None:
        metric = self._settings.steps_metric
        if not metric:
            return None
        chosen = self._selector(namespace, pods[:MOST_PODS])
        found = self._values(f"max(increase({metric}{chosen}[{span_s:.0f}s]))", end)
        return found[0] if found else None

    def _selector(self, namespace: str, pods: Sequence[str]) -> str:
        names = "|".join(re.escape(pod) for pod in pods)
        return f"{{{self._settings.namespace_label}={_quoted(namespace)},{self._settings.pod_label}=~{_quoted(names)}}}"

    def _series(self, query: str, start: datetime, step_s: float, count: int) -> FloatArray:
        """One value for each step's middle; zero where there is none."""
        first = start.timestamp() + step_s / 2
        asked = {"query": query, "start": first, "end": first + step_s * (count - 1), "step": step_s}
        result = self._get("/api/v1/query_range", asked)
        found = np.zeros(count)
        for series in result:
            for at, value in series.get("values") or ():
                index = round((float(at) - first) / step_s)
                if 0 <= index < count and np.isfinite(float(value)):
                    found[index] += float(value)
        return found

    def _values(self, query: str, at: datetime) -> list[float]:
        result = self._get("/api/v1/query", {"query": query, "time": at.timestamp()})
        values = [float(one["value"][1]) for one in result if "value" in one]
        return [value for value in values if np.isfinite(value)]

    def _get(self, path: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
        headers = {}
        try:
            if self._settings.token_file:
                with open(self._settings.token_file, encoding="utf-8") as file:
                    headers["Authorization"] = f"Bearer {file.read().strip()}"
            answer = self._client.post(path, data={key: str(value) for key, value in asked.items()}, headers=headers)
            body = answer.json()
            if answer.is_error or body.get("status") != "success":
                raise DeviceError(f"HTTP {answer.status_code}: {body.get('error', '')}", where=self._settings.url)
            result: list[dict[str, Any]] = body["data"]["result"]
        except httpx.TimeoutException as error:
            raise DeviceTimeout("no answer in time", where=self._settings.url) from error
        except (httpx.HTTPError, OSError, ValueError, KeyError, TypeError) as error:
            hint = "is [meter] url that of Prometheus?"
            raise DeviceError(f"no usable answer: {error!r}", where=self._settings.url, hint=hint) from error
        return result


def _slots(it_w: FloatArray, is_known: Any, start: datetime, step_s: float) -> tuple[Slot, ...]:
    """Samples gathered into slots; times without pods are in none."""
    each = max(1, int(SLOT_S // step_s))
    slots = []
    for first in range(0, len(it_w), each):
        known = is_known[first : first + each]
        covered_s = float(np.count_nonzero(known)) * step_s
        if not covered_s:
            continue
        begin = start + timedelta(seconds=first * step_s)
        wh = float(it_w[first : first + each][known].sum()) * step_s / 3600.0
        slots.append(Slot(begin, begin + timedelta(seconds=len(known) * step_s), wh, covered_s))
    return tuple(slots)


def _quoted(text: str) -> str:
    """A PromQL string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
