"""What is wrong with a site, and that a person is told: list, audit and webhook."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from apps.conditions import conditions, drifted, missed
from apps.watch import Watch
from facility.alarms import AlarmKind, Severity
from facility.records import PointState, Quality, Reading, State
from facility.site import Site, load_site
from facility.store import Store
from tests.apps.running import wait_for

NOW = datetime(2023, 6, 1, 12, tzinfo=UTC)
SITE = load_site()
INLET = SITE.roles.rack_inlet_c[0]
METER = SITE.roles.facility_power_w


def _point(value: float | None, unit: str = "", age_s: float = 30.0, quality: Quality = Quality.GOOD) -> PointState:
    return PointState(value, unit, NOW - timedelta(seconds=age_s), age_s, quality)


def _state(**changed: PointState | None) -> State:
    """All is well, but for the points that are named with ``__`` for a slash and ``_`` as they are."""
    roles = SITE.roles
    points = dict.fromkeys(roles.rack_inlet_c, _point(23.0, "degC"))
    points |= dict.fromkeys(roles.it_power_w, _point(4000.0, "W"))
    points |= {METER: _point(45_000.0, "W"), roles.drybulb_c: _point(20.0, "degC"), roles.rh_pct: _point(50.0, "%")}
    points |= dict.fromkeys(roles.fan_speed_setpoint_pct, _point(60.0, "%"))
    names = {name.replace("/", "__").replace("-", "_"): name for name in points}
    new = {names[key]: value for key, value in changed.items()}
    return State(NOW, {name: point for name, point in {**points, **new}.items() if point is not None})


def _key(name: str) -> str:
    return name.replace("/", "__").replace("-", "_")


def _found(state: State) -> list[tuple[AlarmKind, str, Severity]]:
    return [(one.kind, one.subject, one.severity) for one in conditions(state, SITE, 600.0)]


def test_a_site_that_is_well_has_no_alarm() -> None:
    assert _found(_state()) == []


@pytest.mark.parametrize(
    ("name", "point", "kind", "subject", "severity"),
    [
        (INLET, _point(None, "degC", quality=Quality.BAD), AlarmKind.SENSOR_FAULT, INLET, Severity.WARNING),
        (INLET, None, AlarmKind.STALE, INLET, Severity.WARNING),
        (METER, _point(45_000.0, "W", age_s=1201.0), AlarmKind.STALE, METER, Severity.WARNING),
        (INLET, _point(28.0, "degC"), AlarmKind.CAPACITY, INLET, Severity.WARNING),
        (INLET, _point(33.0, "degC"), AlarmKind.CAPACITY, INLET, Severity.CRITICAL),
        (METER, _point(20_000.0, "W"), AlarmKind.DRIFT, METER, Severity.WARNING),
        (SITE.roles.it_power_w[0], _point(27_000.0, "W"), AlarmKind.CAPACITY, "ups", Severity.WARNING),
    ],
)
def test_each_fault_is_told(
    name: str, point: PointState | None, kind: AlarmKind, subject: str, severity: Severity
) -> None:
    assert (kind, subject, severity) in _found(_state(**{_key(name): point}))


def test_every_condition_says_what_to_do() -> None:
    state = _state(**{_key(INLET): _point(33.0, "degC"), _key(METER): _point(None, "W", quality=Quality.BAD)})
    assert all(one.cause and one.action for one in conditions(state, SITE, 600.0))


def test_missed_savings_and_drift_have_a_threshold() -> None:
    assert missed(99.0, 100.0, "mode shadow") == []
    (one,) = missed(101.0, 100.0, "mode shadow")
    assert (one.severity, "mode shadow" in one.cause) == (Severity.INFO, True)
    assert drifted("m/power_w", 100.0, 96.0, 0.05) == []
    assert len(drifted("m/power_w", 100.0, 90.0, 0.05)) == 1


def _site(webhook: str = "", **alarms: float) -> Site:
    table = {"after_s": 0.0, "clear_s": 0.0, **alarms, **({"webhook": webhook} if webhook else {})}
    content = SITE.model_dump()
    content["service"]["alarms"] = table
    return Site.model_validate(content)


class _Loop:
    """A loop that has not decided yet."""

    last_decision = None
    last_written = ()


async def _look(watch: Watch, state: State, at: datetime) -> list[tuple[str, str]]:
    return [(row.subject, row.action) for row in await watch.look(state, _Loop(), at)]  # type: ignore[arg-type]


@contextmanager
def _webhook() -> Iterator[tuple[str, list[Any]]]:
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook?key=secret", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_alarm_is_audited_and_posted_and_so_is_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store.open(tmp_path / "eco.duckdb", "run")
    with _webhook() as (address, got):
        monkeypatch.setenv("ALARMS", address)
        watch = Watch(_site("env:ALARMS"), store, "run", 600.0)

        async def live() -> None:
            hot = _state(**{_key(INLET): _point(33.0, "degC")})
            assert await _look(watch, hot, NOW) == [(f"capacity {INLET}", "raised")]
            assert [one["subject"] for one in watch.now()] == [INLET]
            await watch.close()
            assert await _look(watch, _state(), NOW + timedelta(seconds=30)) == [(f"capacity {INLET}", "over")]
            await watch.close()

        asyncio.run(live())
        wait_for(lambda: len(got) == 2, "both messages")
    assert [(one["status"], one["severity"]) for one in got] == [("raised", "critical"), ("over", "critical")]
    assert "key=secret" not in caplog.text
    store.close()


def test_a_webhook_that_is_away_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store.open(tmp_path / "eco.duckdb", "run")
    monkeypatch.setenv("ALARMS", "http://127.0.0.1:9/hook?key=secret")
    watch = Watch(_site("env:ALARMS"), store, "run", 600.0)

    async def live() -> None:
        assert len(await _look(watch, _state(**{_key(INLET): None}), NOW)) == 1
        await watch.close()

    asyncio.run(live())
    assert "the webhook does not take alarms: ConnectError" in caplog.text
    assert "key=secret" not in caplog.text
    store.close()


def test_a_meter_whose_counter_and_power_differ_is_told(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "eco.duckdb", "run")
    readings = []
    for minute in range(61):
        at = NOW + timedelta(minutes=minute)
        readings.append(Reading(METER, 45_000.0, "W", at, Quality.GOOD, "meter"))
        counted_wh = 50_000.0 * minute / 60.0
        readings.append(Reading(SITE.roles.facility_energy_wh, counted_wh, "Wh", at, Quality.GOOD, "meter"))
    store.append_readings(readings)
    watch = Watch(_site(), store, "run", 600.0)

    async def live() -> list[tuple[str, str]]:
        await _look(watch, _state(), NOW)
        return await _look(watch, _state(), NOW + timedelta(minutes=60))

    assert asyncio.run(live()) == [(f"drift {METER}", "raised")]
    assert "49.2 kWh" in watch.now()[0]["cause"]
    store.close()
