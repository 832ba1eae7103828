"""The emulated building as a process, asked by real programs: mbpoll, snmpget, and HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from apps.shared_clock import set_clock, start_clock
from apps.state_dir import StateDir
from facility.records import Job, WorkClass
from scheduler.cluster.codec import job_to_json
from tests.peers.require import require_program

T = TypeVar("T")
START = datetime(2024, 5, 1, tzinfo=UTC)
ENVIRONMENT = {"ECO_SNMP_AUTH_KEY": "authpass12", "ECO_SNMP_PRIV_KEY": "privpass12"}
CRAH, CHILLER, METER = 1, 3, 5  # unit ids
# Zero-based registers, written out here so that a slip in a profile is seen.
ENABLE, TIMEOUT, ACTIVE, SUPPLY_SETPOINT, SUPPLY_EFFECTIVE, SUPPLY_AIR = 0, 2, 3, 4, 12, 100
RARITAN, UPS_OUTPUT_W = "1.3.6.1.4.1.13742.6", "1.3.6.1.2.1.33.1.4.4.1.4.1"


def _until(look: Callable[[], T | None], what: str) -> T:
    """Poll until something true is seen; the deadline is generous and no part of what is tested."""
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError, OSError, ValueError):
            found = look()
            if found:
                return found
        time.sleep(0.05)
    raise AssertionError(f"waited for {what}")


@dataclass
class Emulator:
    """A running emulator in its own state directory."""

    state: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Start, and wait for the ready signal."""
        ports = self.state / "ports.json"
        before = ports.stat().st_mtime_ns if ports.exists() else 0
        command = [sys.executable, "-m", "apps.emulator", "--state", str(self.state)]
        with (self.state / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **ENVIRONMENT})
        self.processes.append(process)
        _until(lambda: ports.exists() and ports.stat().st_mtime_ns > before, "the ready signal")

    @property
    def ports(self) -> dict[str, int]:
        """Where each device listens."""
        ports: dict[str, int] = json.loads((self.state / "ports.json").read_text())
        return ports

    def api(self, method: str, path: str, body: Any = None, token: str | None = None) -> httpx.Response:
        """One request to the cluster's interface."""
        token = (self.state / "cluster.token").read_text() if token is None else token
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.request(
            method, f"http://127.0.0.1:{self.ports['cluster']}{path}", json=body, headers=headers, timeout=5.0
        )

    def truth(self) -> dict[str, float]:
        """Noise-free values."""
        values: dict[str, float] = self.api("GET", "/v1/truth").raise_for_status().json()
        return values

    def mbpoll(self, unit: int, kind: str, register: int, *rest: str) -> str:
        """Run mbpoll on a zero-based register; its output."""
        program = require_program("mbpoll", "apt-get install mbpoll")
        reach = ["-m", "tcp", "-p", str(self.ports["crah-1"]), "-a", str(unit), "-t", kind, "-B"]
        command = [program, *reach, "-r", str(register + 1), "-1", *rest]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return done.stdout + done.stderr

    def floats(self, unit: int, register: int, count: int = 1, kind: str = "4:float") -> list[float]:
        """Float32 registers as mbpoll reads them."""
        text = self.mbpoll(unit, kind, register, "-c", str(count), "127.0.0.1")
        return [float(value) for value in re.findall(r"^\[\d+\]:\s+(\S+)$", text, re.MULTILINE)]

    def word(self, unit: int, register: int) -> int:
        """One 16-bit register as mbpoll reads it."""
        (value,) = re.findall(r"^\[\d+\]:\s+(\d+)", self.mbpoll(unit, "4", register, "127.0.0.1"), re.MULTILINE)
        return int(value)

    def snmp(self, program: str, device: str, *oids: str, v3: bool = False) -> str:
        """Run one of the Net-SNMP programs."""
        path = require_program(program, "apt-get install snmp")
        v3_user = ["-v3", "-l", "authPriv", "-u", "eco", "-a", "SHA-256", "-x", "AES"]
        v3_user += ["-A", ENVIRONMENT["ECO_SNMP_AUTH_KEY"], "-X", ENVIRONMENT["ECO_SNMP_PRIV_KEY"]]
        who = v3_user if v3 else ["-v2c", "-c", "public"]
        command = [path, *who, "-On", "-t", "2", "-r", "2", f"127.0.0.1:{self.ports[device]}", *oids]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return done.stdout + done.stderr


@contextlib.contextmanager
def _emulator(state: Path, running: bool = True) -> Iterator[Emulator]:
    directory = StateDir(state)
    set_clock(directory, START, 200.0)
    job = Job("job-1", START, 8, 1e6, START + timedelta(days=99), True, WorkClass.COMPUTE_BOUND)
    world = {"start": START.isoformat(), "drybulb_c": [14.0] * 48, "rh_pct": [65.0] * 48, "jobs": [job_to_json(job)]}
    directory.world.write_text(json.dumps(world))
    emulator = Emulator(state)
    try:
        emulator.start()
        if running:
            start_clock(directory)
        yield emulator
    finally:
        for process in emulator.processes:
            process.kill()
            process.wait()
        print((state / "log").read_text()[-3000:])


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with _emulator(tmp_path_factory.mktemp("emulator")) as running:
        yield running


def test_it_says_where_it_listens_and_time_stands_until_the_clock_is_started(tmp_path: Path) -> None:
    with _emulator(tmp_path, running=False) as emulator:
        devices = {"crah-1", "crah-2", "chiller-1", "tower-1", "meter-main", "ups-1", "cluster"}
        devices |= {f"pdu-{i}" for i in range(1, 5)} | {f"node-{i}" for i in range(1, 9)}
        devices |= {"exporter/dcgm", "exporter/kepler"}
        assert {name for name in emulator.ports if not name.startswith("ipmi/")} == devices
        assert min(emulator.ports.values()) >= 1024
        shown = [datetime.fromisoformat(emulator.api("GET", "/v1/cluster").json()["at"]) for _ in range(2)]
        assert shown == [START, START]
        start_clock(StateDir(tmp_path))
        _until(lambda: datetime.fromisoformat(emulator.api("GET", "/v1/cluster").json()["at"]) > START, "time to pass")
        emulator.processes[0].send_signal(signal.SIGTERM)
        assert emulator.processes[0].wait(30) == 0


def test_it_listens_on_loopback_alone(emulator: Emulator) -> None:
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in addresses - {"127.0.0.1"}:
        if str(address).startswith("127."):
            continue
        for port in (emulator.ports["crah-1"], emulator.ports["cluster"]):
            with socket.socket() as probe:
                assert probe.connect_ex((str(address), port)) != 0


def test_mbpoll_reads_holding_and_input_registers(emulator: Emulator) -> None:
    for kind in ("4:float", "3:float"):
        supply_c, return_c, rh_pct = emulator.floats(CRAH, SUPPLY_AIR, 3, kind)
        assert 10.0 < supply_c < return_c < 40.0
        assert 5.0 < rh_pct < 95.0
    (facility_w,) = emulator.floats(METER, 19_026)
    assert 5_000.0 < facility_w < 60_000.0
    (energy_wh,) = emulator.floats(METER, 19_068)
    assert _until(lambda: emulator.floats(METER, 19_068)[0] > energy_wh, "the meter to count")


def test_an_operators_setpoint_reads_back_and_changes_the_supply_air(emulator: Emulator) -> None:
    assert "Written" in emulator.mbpoll(CRAH, "4", TIMEOUT, "127.0.0.1", "60")
    assert "Written" in emulator.mbpoll(CRAH, "4", ENABLE, "127.0.0.1", "1")
    assert "Written" in emulator.mbpoll(CRAH, "4:float", SUPPLY_SETPOINT, "127.0.0.1", "22.5")
    assert emulator.floats(CRAH, SUPPLY_SETPOINT) == [22.5]
    assert emulator.word(CRAH, ACTIVE) == 1
    _until(lambda: emulator.floats(CRAH, SUPPLY_AIR)[0] > 21.0, "the supply air to follow")
    assert "Written" in emulator.mbpoll(CRAH, "4", ENABLE, "127.0.0.1", "0")
    assert emulator.floats(CRAH, SUPPLY_SETPOINT) == [18.0]
    _until(lambda: emulator.floats(CRAH, SUPPLY_EFFECTIVE) == [18.0], "the ramp back")


def test_silence_falls_back_to_the_local_setpoint(emulator: Emulator) -> None:
    emulator.mbpoll(CHILLER, "4", TIMEOUT, "127.0.0.1", "1")
    emulator.mbpoll(CHILLER, "4", ENABLE, "127.0.0.1", "1")
    emulator.mbpoll(CHILLER, "4:float", SUPPLY_SETPOINT, "127.0.0.1", "12")
    _until(lambda: emulator.word(CHILLER, ACTIVE) == 0, "the time-out")
    assert emulator.floats(CHILLER, SUPPLY_SETPOINT) == [7.0]


def test_writes_outside_range_or_map_are_refused_and_change_nothing(emulator: Emulator) -> None:
    before = emulator.floats(CRAH, SUPPLY_SETPOINT)
    assert "Illegal data value" in emulator.mbpoll(CRAH, "4:float", SUPPLY_SETPOINT, "127.0.0.1", "40")
    assert "Illegal data value" in emulator.mbpoll(CRAH, "4:float", SUPPLY_SETPOINT, "127.0.0.1", "20", "500")
    assert "Illegal data value" in emulator.mbpoll(CRAH, "4", TIMEOUT, "127.0.0.1", "0")
    assert "Illegal data address" in emulator.mbpoll(CRAH, "4:float", SUPPLY_AIR, "127.0.0.1", "20")
    assert "Illegal data address" in emulator.mbpoll(CRAH, "4", SUPPLY_SETPOINT, "127.0.0.1", "20")
    assert "Illegal data address" in emulator.mbpoll(CRAH, "4:float", 60, "127.0.0.1")
    assert emulator.floats(CRAH, SUPPLY_SETPOINT) == before


def test_snmpget_reads_a_pdu_over_v2c_and_v3(emulator: Emulator) -> None:
    outlets = [f"{RARITAN}.5.4.3.1.4.1.{outlet}.5" for outlet in (1, 2)]
    for v3 in (False, True):
        text = emulator.snmp("snmpget", "pdu-1", *outlets, f"{RARITAN}.5.5.3.1.4.1.1", "1.3.6.1.2.1.1.2.0", v3=v3)
        assert [500 < int(w) < 7_000 for w in re.findall(r"Gauge32: (\d+)", text)] == [True, True], text
        assert 100 < int(re.findall(r"INTEGER: (\d+)", text)[0]) < 400  # one decimal digit
        assert ".1.3.6.1.2.1.1.2.0 = OID: .1.3.6.1.4.1.13742.6" in text
    assert emulator.snmp("snmpget", "pdu-1", f"{RARITAN}.3.3.4.1.7.1.1.1").strip().endswith("Gauge32: 3")
    walked = emulator.snmp("snmpbulkwalk", "pdu-2", RARITAN)
    assert walked.count("\n") > 40
    assert "Error" not in walked


def test_the_ups_speaks_v3_alone_and_nothing_takes_a_set(emulator: Emulator) -> None:
    assert re.search(r"INTEGER: \d{4,5}", emulator.snmp("snmpget", "ups-1", UPS_OUTPUT_W, v3=True))
    assert "Timeout" in emulator.snmp("snmpget", "ups-1", UPS_OUTPUT_W)
    power = f"{RARITAN}.5.2.3.1.4.1.1.5"
    assert "notWritable" in emulator.snmp("snmpset", "pdu-1", power, "u", "5", v3=True)
    assert "No Such Instance" in emulator.snmp("snmpget", "pdu-1", f"{RARITAN}.9.9.9")


def test_the_cluster_runs_suspends_and_caps_behind_its_token(emulator: Emulator) -> None:
    assert emulator.api("GET", "/v1/cluster", token="wrong").status_code == 401
    idle_w = emulator.truth()["power_w/node-2"]
    run = {"placement": [["node-2", 8]]}
    assert emulator.api("POST", "/v1/jobs/job-1/run", run).status_code == 204
    refused = emulator.api("POST", "/v1/jobs/job-1/run", run)
    assert (refused.status_code, refused.json()["error"]["what"]) == (409, "the job is running already")
    full_w = _until(lambda: (w := emulator.truth()["power_w/node-2"]) > idle_w + 1_500.0 and w, "the node to work")
    assert emulator.api("POST", "/v1/jobs/job-1/cap", {"gpu_cap_w": 250.0}).status_code == 204
    _until(lambda: emulator.truth()["power_w/node-2"] < full_w - 200.0, "the cap to show")
    assert emulator.api("POST", "/v1/jobs/job-1/suspend").status_code == 204
    (job,) = emulator.api("GET", "/v1/cluster").json()["jobs"]
    assert (job["phase"], job["gpu_cap_w"], job["suspensions"]) == ("suspended", 250.0, 1)
    new = Job("mine", START, 2, 60.0, START + timedelta(hours=1), True, WorkClass.MEMORY_BOUND)
    assert emulator.api("POST", "/v1/jobs", job_to_json(new)).status_code == 201
    assert emulator.api("POST", "/v1/jobs", job_to_json(new)).status_code == 409
    assert emulator.api("POST", "/v1/jobs", {"name": "half"}).status_code == 422


def test_killed_and_started_again_it_goes_on_at_the_same_ports(tmp_path: Path) -> None:
    with _emulator(tmp_path) as emulator:
        emulator.api("POST", "/v1/jobs/job-1/run", {"placement": [["node-1", 8]]})
        emulator.mbpoll(CRAH, "4:float", 8, "127.0.0.1", "19")  # the local supply air setpoint
        _until(lambda: json.loads((tmp_path / "emulator.json").read_text())["remotes"]["crah-1"]["local"]
               ["supply_air_setpoint_c"] == 19.0, "the state to be saved")  # fmt: skip
        energy_wh, ports = emulator.floats(METER, 19_068)[0], emulator.ports
        emulator.processes[0].kill()
        emulator.processes[0].wait()
        emulator.start()
        assert emulator.ports == ports
        assert emulator.floats(METER, 19_068)[0] >= energy_wh
        assert emulator.floats(CRAH, SUPPLY_SETPOINT) == [19.0]
        (job,) = emulator.api("GET", "/v1/cluster").json()["jobs"]
        assert job["phase"] == "running"
        assert "INTEGER" in emulator.snmp("snmpget", "ups-1", UPS_OUTPUT_W, v3=True)
