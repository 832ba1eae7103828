"""The meter on a real Prometheus that scrapes made-up GPUs under dcgm-exporter's names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from facility.errors import DeviceError
from scheduler.cluster.prometheus_meter import PrometheusMeter, PrometheusSettings
from tests.peers.processes import free_port
from tests.peers.prometheus import prometheus

LABELS = ("namespace", "pod", "gpu")
HOST_W = 100.0
SCRAPES = 7
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    registry = CollectorRegistry()
    power = Gauge("DCGM_FI_DEV_POWER_USAGE", "W", LABELS, registry=registry)
    busy = Gauge("DCGM_FI_DEV_GPU_UTIL", "%", LABELS, registry=registry)
    stalled = Gauge("eco_agent_pod_stalled", "1", ("of",), registry=registry)
    steps = Counter("training_steps", "steps", ("namespace", "pod"), registry=registry)
    for pod, watts in (("train-1", 300.0), ("train-2", 200.0), ("train-10", 999.0)):
        for gpu in ("0", "1"):
            power.labels("team", pod, gpu).set(watts)
            busy.labels("team", pod, gpu).set(80.0)
    stalled.labels("team/train-1").set(1.0)
    port = free_port()
    served, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    with prometheus(tmp_path_factory.mktemp("prometheus"), [port]) as server:
        address, until = f"http://127.0.0.1:{server.port}", time.monotonic() + PATIENCE_S
        while scrapes(address) < SCRAPES:
            assert time.monotonic() < until, "Prometheus does not scrape"
            steps.labels("team", "train-1").inc(5.0)
            time.sleep(0.5)
        yield address
    served.shutdown()
    served.server_close()
    thread.join()


def scrapes(address: str) -> int:
    """How often the target was scraped."""
    asked = {"query": "max(count_over_time(up[5m]))"}
    result = httpx.get(f"{address}/api/v1/query", params=asked, trust_env=False).json()["data"]["result"]
    return int(result[0]["value"][1]) if result else 0


def test_energy_is_that_of_these_pods_and_their_share_of_the_host(url: str) -> None:
    meter = PrometheusMeter(PrometheusSettings(url=url, steps_metric="training_steps_total"), HOST_W)
    end = datetime.now(UTC) - timedelta(seconds=1)
    start = end - timedelta(seconds=3)
    usage = meter.usage("team", ["train-1", "train-2"], start, end)
    meter.close()
    assert usage.gpu_w == pytest.approx(250.0)
    assert usage.utilisation == pytest.approx(0.8)
    assert usage.stall_share == pytest.approx(1.0)
    assert usage.steps is not None
    assert usage.steps > 0
    wh = sum(slot.it_wh for slot in usage.slots)
    assert wh == pytest.approx((4 * 250.0 + 4 * HOST_W) * 3.0 / 3600.0, rel=1e-6)
    assert sum(slot.covered_s for slot in usage.slots) == pytest.approx(3.0)


def test_pods_that_were_never_there_used_nothing(url: str) -> None:
    meter = PrometheusMeter(PrometheusSettings(url=url), HOST_W)
    end = datetime.now(UTC)
    usage = meter.usage("team", ["nobody"], end - timedelta(hours=1), end)
    meter.close()
    assert usage.slots == ()
    assert usage.gpu_w is None


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json={"status": "success"}),
        httpx.Response(500, text="no"),
        httpx.Response(200, text="<html>"),
    ],
)
def test_what_is_no_prometheus_is_told(answer: httpx.Response) -> None:
    meter = PrometheusMeter(PrometheusSettings(url="http://meter"), HOST_W, httpx.MockTransport(lambda request: answer))
    end = datetime.now(UTC)
    with pytest.raises(DeviceError):
        meter.usage("team", ["train-1"], end - timedelta(minutes=5), end)
    meter.close()
