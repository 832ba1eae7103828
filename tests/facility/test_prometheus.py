"""Prometheus as a device: a real server that scrapes real exporters of an emulated hall."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from apps.emulator.exporter import DcgmCollector, Gpu, KeplerCollector, Node, exporter_app
from apps.emulator.redfish_tls import Certificate, certificate_in
from apps.web import GuestServer, listen_on
from facility.clock import WallClock
from facility.devices.prometheus import PrometheusDevice
from facility.devices.prometheus.api import number
from facility.errors import DeviceError, DeviceTimeout, Reason
from facility.profile import Profile, load_profile
from facility.records import Quality, Reading
from facility.site import Device, Http
from tests.peers.processes import free_port
from tests.peers.prometheus import PASSWORD, USER, Prometheus, prometheus

PLAIN = Http(scheme="http")


@dataclass
class Hall:
    """A hall whose numbers a test may change."""

    nodes: list[Node] = field(
        default_factory=lambda: [
            Node(
                "node-1",
                3300.0,
                400.0,
                100.0,
                (Gpu("node-1", 0, 330.0, 61.0, "job-1-node-1"), Gpu("node-1", 1, 52.0, 31.0, "")),
            )
        ]
    )

    def look(self) -> tuple[datetime, list[Node]]:
        return datetime.now(UTC), self.nodes


@contextlib.contextmanager
def exporters(hall: Hall) -> Iterator[list[int]]:
    """Both exporters over HTTP, in a thread with an event loop of its own; yields their ports."""
    listeners = [listen_on(free_port()) for _ in range(2)]
    servers = [
        GuestServer(uvicorn.Config(exporter_app(collector), log_level="warning", lifespan="off", access_log=False))
        for collector in (DcgmCollector(hall.look), KeplerCollector(hall.look))
    ]

    async def serve() -> None:
        await asyncio.gather(
            *(server.serve(sockets=[listener]) for server, listener in zip(servers, listeners, strict=True))
        )

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield [listener.getsockname()[1] for listener in listeners]
    finally:
        for server in servers:
            server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def hall() -> Hall:
    return Hall()


@pytest.fixture(scope="module")
def server(hall: Hall, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with exporters(hall) as ports, prometheus(tmp_path_factory.mktemp("prometheus"), ports) as running:
        yield running


def _device(port: int, profile: Profile | str, http: Http = PLAIN, deadline_s: float = 3.0) -> PrometheusDevice:
    known = load_profile(profile) if isinstance(profile, str) else profile
    about = Device(name="prom", protocol="prometheus", profile=known.name, port=port, http=http, deadline_s=deadline_s)
    return PrometheusDevice(about, known, WallClock())


async def _read(device: PrometheusDevice) -> dict[str, Reading]:
    try:
        return {reading.point: reading for reading in await device.read()}
    finally:
        await device.close()


def _read_until(port: int, profile: str, point: str) -> dict[str, Reading]:
    """Readings once ``point`` is among them: Prometheus has to scrape first, twice for a rate."""
    until = time.monotonic() + 30.0
    while time.monotonic() < until:
        readings = asyncio.run(_read(_device(port, profile)))
        if point in readings:
            return readings
        time.sleep(0.3)
    raise AssertionError(f"no {point} within 30 s; there are {sorted(readings)}")


def test_dcgm_gives_a_point_for_each_gpu_with_the_samples_own_time(server: Prometheus) -> None:
    readings = _read_until(server.port, "dcgm", "prom/node-1/gpu-1/power_w")
    power = readings["prom/node-1/gpu-0/power_w"]
    assert (power.value, power.unit, power.quality) == (330.0, "W", Quality.GOOD)
    assert readings["prom/node-1/gpu-1/power_w"].value == 52.0
    assert readings["prom/node-1/gpu-0/temperature_c"].value == 61.0
    assert readings["prom/node-1/gpu-0/sm_clock_mhz"].value == 1410.0
    assert power.measured_at <= datetime.now(UTC)
    # What the exporter does not give (violations are off, as in the real one) is no point.
    assert not any("violation" in name for name in readings)


def test_energy_in_millijoules_becomes_watt_hours_that_count_up(server: Prometheus) -> None:
    first = _read_until(server.port, "dcgm", "prom/node-1/gpu-0/energy_wh")["prom/node-1/gpu-0/energy_wh"].value
    time.sleep(2.2)
    later = asyncio.run(_read(_device(server.port, "dcgm")))["prom/node-1/gpu-0/energy_wh"].value
    assert first is not None
    assert later is not None
    assert 0.0 < later - first < 330.0 * 60.0 / 3600.0


def test_kepler_gives_nodes_and_pods_by_the_rate_of_their_energy(server: Prometheus) -> None:
    shipped = load_profile("kepler")
    # A rate is over its whole window, however young the series is: a short one, so that the test need not last minutes.
    short = [point.model_copy(update={"query": point.query.replace("[2m]", "[4s]")}) for point in shipped.point]
    profile = shipped.model_copy(update={"point": tuple(short)})
    until, watts = time.monotonic() + 60.0, 0.0
    while time.monotonic() < until and abs(watts - 500.0) > 100.0:
        readings = asyncio.run(_read(_device(server.port, profile)))
        watts = readings["prom/node-1/cpu_power_w"].value or 0.0 if "prom/node-1/cpu_power_w" in readings else 0.0
        time.sleep(0.3)
    assert watts == pytest.approx(500.0, rel=0.25)
    assert readings["prom/training/job-1-node-1/cpu_power_w"].value == pytest.approx(0.5 * watts, rel=0.01)
    assert readings["prom/node-1/platform_power_w"].value == 3300.0
    assert not any("gpu_power" in name for name in readings)  # experimental, and not exported here


def _profile(query: str, name: str = "a/x_w", second: str = "") -> Profile:
    points = [{"name": name, "kind": "power", "unit": "W", "query": query}]
    if second:
        points.append({"name": "b/y_w", "kind": "power", "unit": "W", "query": second})
    about = {"name": "mine", "protocol": "prometheus", "source": "a test"}
    return Profile.model_validate({"profile": about, "point": points})


def test_a_query_that_is_refused_costs_its_own_point_alone(server: Prometheus) -> None:
    readings = asyncio.run(_read(_device(server.port, _profile("sum(up", second="vector(7)"))))
    assert (readings["prom/a/x_w"].value, readings["prom/a/x_w"].quality) == (None, Quality.BAD)
    assert readings["prom/b/y_w"].value == 7.0


@pytest.mark.parametrize("query", ["sum(up", "rate(up)", "up[5m]", '"text"'])
def test_where_every_query_is_refused_the_error_names_query_and_reason(server: Prometheus, query: str) -> None:
    with pytest.raises(DeviceError) as caught:
        asyncio.run(_read(_device(server.port, _profile(query))))
    assert query in str(caught.value)


@pytest.mark.parametrize("query", ["vector(0)/0", "vector(1)/0", "absent_metric"])
def test_what_is_no_number_has_no_value(server: Prometheus, query: str) -> None:
    reading = asyncio.run(_read(_device(server.port, _profile(query))))["prom/a/x_w"]
    assert (reading.value, reading.quality) == (None, Quality.BAD)


def test_a_series_without_a_label_of_the_name_is_no_point(server: Prometheus) -> None:
    _read_until(server.port, "dcgm", "prom/node-1/gpu-0/power_w")
    by_pod = _profile("DCGM_FI_DEV_POWER_USAGE", "{namespace}/{pod}/gpu_power_w")
    assert set(asyncio.run(_read(_device(server.port, by_pod)))) == {"prom/training/job-1-node-1/gpu_power_w"}


def test_two_series_that_claim_one_name_at_one_time_are_uncertain(server: Prometheus) -> None:
    _read_until(server.port, "dcgm", "prom/node-1/gpu-0/power_w")
    readings = asyncio.run(_read(_device(server.port, _profile("DCGM_FI_DEV_POWER_USAGE + 0", "{hostname}/x_w"))))
    assert readings["prom/node-1/x_w"].quality is Quality.UNCERTAIN


def test_history_is_a_grid(server: Prometheus) -> None:
    async def ask() -> list[float]:
        device = _device(server.port, "dcgm")
        now = datetime.now(UTC)
        try:
            found = await device.api.history("vector(3)", now - timedelta(seconds=60), now, 15.0)
        finally:
            await device.close()
        return [float(value) for series in found for value in series.value]

    assert asyncio.run(ask()) == [3.0] * 5


def test_tls_and_password(hall: Hall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECO_PROM", PASSWORD)
    monkeypatch.setenv("ECO_WRONG", "wrong")
    files: Certificate = certificate_in(tmp_path)
    trusted = {"scheme": "https", "ca_file": str(files.cert), "user": USER}
    with prometheus(tmp_path / "p", [], cert=files.cert, key=files.key) as server:
        right = Http.model_validate({**trusted, "password": "env:ECO_PROM"})
        assert asyncio.run(_read(_device(server.port, _profile("vector(7)"), right)))["prom/a/x_w"].value == 7.0
        for http, reason in (
            ({**trusted, "password": "env:ECO_WRONG"}, Reason.CREDENTIALS),
            ({"scheme": "https"}, Reason.CERTIFICATE),
        ):
            with pytest.raises(DeviceError) as caught:
                asyncio.run(_read(_device(server.port, _profile("vector(7)"), Http.model_validate(http))))
            assert caught.value.reason is reason


def test_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    async def live() -> None:
        device = _device(port, _profile("vector(7)"), deadline_s=2.0)
        try:
            with prometheus(tmp_path, [], port=port) as server:
                assert (await device.read())[0].value == 7.0
                os.kill(server.pid, signal.SIGKILL)
                await asyncio.sleep(0.3)
                with pytest.raises(DeviceError) as caught:
                    await device.read()
                assert caught.value.reason in (Reason.REFUSED, Reason.ERROR)
            with prometheus(tmp_path, [], port=port):
                assert (await device.read())[0].value == 7.0
        finally:
            await device.close()

    port = free_port()
    asyncio.run(live())


def test_silence_is_a_timeout_and_another_service_is_said_to_be_one(server: Prometheus) -> None:
    with listen_on(free_port()) as silent:
        silent.listen()
        port = silent.getsockname()[1]
        with pytest.raises(DeviceTimeout):
            asyncio.run(_read(_device(port, _profile("vector(7)"), deadline_s=0.5)))
    with exporters(Hall()) as ports, pytest.raises(DeviceError) as caught:
        asyncio.run(_read(_device(ports[0], _profile("vector(7)"))))
    assert caught.value.reason is Reason.WRONG_DEVICE


@given(
    st.one_of(
        st.none(), st.text(), st.floats(), st.integers(), st.lists(st.text()), st.dictionaries(st.text(), st.text())
    )
)
def test_whatever_stands_for_a_value_is_a_number_or_none(found: object) -> None:
    value = number(found)
    assert value is None or math.isfinite(value)
