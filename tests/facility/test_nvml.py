"""The real NVML binding on a library of a few lines of C, and without any library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from facility.site import Device
from tests.peers.require import require_program

SOURCE = Path(__file__).parents[1] / "peers" / "nvml_stub.c"
HEAD = """
import asyncio, json, os, sys
from datetime import timedelta
from pathlib import Path
from facility.checks import GuardLimits
from facility.clock import WallClock
from facility.devices import open_device
from facility.errors import EcoError
from facility.guard import Guard
from facility.journal import Journal
from facility.records import Command, Mode, PointState, State
from facility.site import Device
CAP, CLOCK = "node-3/gpu-1/power_limit_w", "node-3/gpu-1/sm_clock_limit_mhz"
said, clock = {}, WallClock()
deadline_s, may_write = float(os.environ.get("DEADLINE_S", "10")), "READ_ONLY" not in os.environ
device = Device(name="node-3", protocol="nvml", deadline_s=deadline_s, allow_gpu_writes=may_write)
gpus = open_device(device, clock)
def cap(value, point=CAP):
    return Command(point, value, "W", "test")
async def values(*names):
    return {r.point: r.value for r in await gpus.read(names or None)}
async def attempt(key, what):
    try:
        said[key] = await what
    except EcoError as error:
        said[key] = str(error)
def verdict(value, point=CAP):
    found = gpus.check(cap(value, point))
    return [found.kind.value, found.value, found.rule, found.detail]
def guard():
    return Guard([gpus], GuardLimits(), Journal(Path(os.environ["JOURNAL"]), "here"), Mode.ACTIVE)
async def state():
    now = clock.now()
    rows = {r.point: PointState(r.value, r.unit, now, 0.0, r.quality) for r in await gpus.read()}
    return State(now, rows)
async def main():
"""
TAIL = """
    await gpus.close()
    print(json.dumps(said))
asyncio.run(main())
"""


def _built(folder: Path, *options: str) -> Path:
    compiler = require_program("cc", "apt-get install gcc libc6-dev")
    command = [compiler, "-shared", "-fPIC", *options, "-o", str(folder / "libnvidia-ml.so.1"), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built(tmp_path_factory.mktemp("nvml"))


def ask(library: Path, body: str = 'await attempt("values", values())', **environment: str) -> dict[str, Any]:
    """What a program says, in a process that finds NVML in ``library``."""
    program = HEAD + "\n".join(f"    {line}" for line in body.strip().splitlines()) + TAIL
    found = {**os.environ, "LD_LIBRARY_PATH": str(library), **environment}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=found, timeout=60)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


# Reading ----------------------------------------------------------------------------------------------------------


def test_two_gpus_in_watts_and_watt_hours(library: Path) -> None:
    values = ask(library)["values"]
    assert len(values) == 2 * 13
    assert values["node-3/gpu-1/power_w"] == 250.5
    assert values["node-3/gpu-2/power_w"] == 350.5
    assert values["node-3/gpu-2/energy_wh"] == 2.0
    assert values["node-3/gpu-2/temperature_c"] == 62.0
    assert values["node-3/gpu-1/utilization_pct"] == 87.0
    assert values["node-3/gpu-1/memory_copy_utilization_pct"] == 40.0
    assert values["node-3/gpu-1/sm_clock_mhz"] == 1410.0
    assert values["node-3/gpu-1/memory_clock_mhz"] == 2619.0
    assert values["node-3/gpu-1/power_limit_w"] == 400.0
    assert values["node-3/gpu-1/enforced_power_limit_w"] == 400.0
    assert values["node-3/gpu-1/sm_clock_limit_mhz"] == 1980.0


def test_clock_event_reasons_are_told_as_flags(library: Path) -> None:
    flags = {"0x0": "---", "0x4": "p--", "0x80": "p--", "0x20": "-t-", "0x68": "-th", "0x44": "pt-", "0x13": "---"}
    body = f"""
names = ("power_throttle_flag", "thermal_throttle_flag", "hardware_slowdown_flag")
await gpus.read()
for reasons in {list(flags)}:
    os.environ["STUB_REASONS"] = reasons
    found = await values(*(f"node-3/gpu-1/{{name}}" for name in names))
    said[reasons] = "".join(letter if flag else "-" for letter, flag in zip("pth", found.values()))
"""
    assert ask(library, body) == flags


def test_what_an_old_gpu_does_not_have_has_no_value_and_cannot_be_set(library: Path) -> None:
    said = ask(library, 'await attempt("values", values())\nsaid["verdict"] = verdict(300.0)', STUB_OLD="1")
    assert said["values"]["node-3/gpu-1/energy_wh"] is None
    assert said["values"]["node-3/gpu-1/power_w"] == 250.5
    assert said["verdict"][2] == "not_writable"


def test_an_old_driver_knows_the_reasons_by_their_former_name(tmp_path: Path) -> None:
    values = ask(_built(tmp_path, "-DOLD_DRIVER"), STUB_REASONS="0x4")["values"]
    assert values["node-3/gpu-1/power_throttle_flag"] == 1.0


def test_a_lost_gpu_costs_its_own_points_alone_and_all_of_them_the_device(library: Path) -> None:
    body = 'await attempt("one", values())\nos.environ["STUB_LOST"] = "all"\nawait attempt("all", values())'
    said = ask(library, body, STUB_LOST="0")
    assert {value for name, value in said["one"].items() if "gpu-1" in name} == {None}
    assert said["one"]["node-3/gpu-2/power_w"] == 350.5
    assert "node-3/gpu-1: NVML error 15: " in said["all"]
    assert "dmesg" in said["all"]


def test_what_is_missing_is_told_apart_and_a_driver_that_comes_back_is_used(library: Path, tmp_path: Path) -> None:
    body = """
await attempt("no driver", values())
os.environ["STUB_INIT"] = "18"
await attempt("other version", values())
os.environ.pop("STUB_INIT")
await attempt("after", values(CAP))
os.environ["STUB_DEAD"] = "1"
await attempt("dead", values())
os.environ.pop("STUB_DEAD")
await attempt("again", values(CAP))
"""
    said = ask(library, body, STUB_INIT="9")
    assert "driver is not loaded (NVML error 9)" in said["no driver"]
    assert "different versions (NVML error 18)" in said["other version"]
    assert "NVML error 1: " in said["dead"]
    assert said["after"] == said["again"] == {"node-3/gpu-1/power_limit_w": 400.0}
    nothing = ask(tmp_path)["values"]  # on a machine with a GPU the system's own library answers
    assert isinstance(nothing, dict) or "libnvidia-ml.so.1 is missing (NVML error 12)" in nothing


def test_a_driver_that_hangs_costs_its_deadline(library: Path) -> None:
    body = """
await attempt("first", values())
await attempt("second", values())
print(json.dumps(said), flush=True)
os._exit(0)
"""
    said = ask(library, body, STUB_SLOW="30", DEADLINE_S="0.3")
    assert "no answer within 0.3 s" in said["first"]
    assert "an earlier call has not come back" in said["second"]


# Setting ----------------------------------------------------------------------------------------------------------


def test_the_range_is_the_gpus_own(library: Path) -> None:
    body = """
said["before"] = verdict(300.0)
await gpus.read()
said["inside"], said["above"], said["below"] = verdict(300.0), verdict(900.0), verdict(10.0)
said["clock"] = verdict(100.0, CLOCK)
said["power"] = verdict(100.0, "node-3/gpu-1/power_w")
"""
    said = ask(library, body)
    assert said["before"][2] == "unknown_point"
    assert said["inside"][:2] == ["accepted", 300.0]
    assert said["above"][:3] == ["clipped", 500.0, "range"]
    assert said["below"][:3] == ["clipped", 200.0, "range"]
    assert said["clock"][:2] == ["clipped", 210.0]
    assert said["power"][2] == "not_writable"


def test_limits_are_set_read_back_and_lifted(library: Path) -> None:
    body = """
await gpus.read()
await gpus.write(cap(300.0))
await gpus.write(cap(1200.0, CLOCK))
said["back"] = (await gpus.read_back(cap(300.0))).value
said["set"] = await values()
await gpus.write(cap(None))
said["lifted"] = await values()
await gpus.release()
said["released"] = await values()
await attempt("outside", gpus.write(cap(900.0)))
"""
    said = ask(library, body)
    assert said["back"] == 300.0
    assert said["set"]["node-3/gpu-1/enforced_power_limit_w"] == 300.0
    assert said["set"]["node-3/gpu-2/power_limit_w"] == 400.0
    assert said["set"]["node-3/gpu-1/sm_clock_limit_mhz"] == said["set"]["node-3/gpu-1/sm_clock_mhz"] == 1200.0
    assert said["lifted"]["node-3/gpu-1/power_limit_w"] == 400.0
    assert said["lifted"]["node-3/gpu-1/sm_clock_limit_mhz"] == 1200.0
    assert said["released"]["node-3/gpu-1/sm_clock_limit_mhz"] == 1980.0
    assert said["released"]["node-3/gpu-1/sm_clock_mhz"] == 1410.0
    assert "not written: 900 is outside 200..500 W" in said["outside"]


def test_a_clock_that_runs_above_the_limit_set_here_is_not_called_limited(library: Path) -> None:
    body = """
await gpus.read()
await gpus.write(cap(1200.0, CLOCK))
said["back"] = (await gpus.read_back(cap(1200.0, CLOCK))).value
"""
    assert ask(library, body, STUB_DROP="1")["back"] is None


def test_without_permission_a_write_says_so_and_further_ones_are_rejected(library: Path) -> None:
    body = """
await gpus.read()
await attempt("write", gpus.write(cap(300.0)))
said["verdict"] = verdict(300.0)
await attempt("release", gpus.release())
"""
    said = ask(library, body, STUB_NOROOT="1")
    assert "no permission to set limits: run the agent as root, or with CAP_SYS_ADMIN" in said["write"]
    assert said["verdict"][0::2] == ["rejected", "no_permission"]
    assert "NVML error 4" in said["release"]


def test_nothing_is_set_unless_the_site_allows_it(library: Path) -> None:
    assert not Device(name="node-3", protocol="nvml").allow_gpu_writes
    body = """
said["values"] = await values(CAP)
said["verdict"] = verdict(300.0)
point = gpus.points[CAP]
said["point"] = [point.writable, point.min, point.max]
await attempt("write", gpus.write(cap(300.0)))
await attempt("named", gpus.release([CAP]))
await gpus.release()
"""
    said = ask(library, body, READ_ONLY="1")
    assert said["values"] == {"node-3/gpu-1/power_limit_w": 400.0}
    assert said["verdict"][0::2] == ["rejected", "writes_off"]
    assert said["point"] == [False, 200.0, 500.0]
    assert "not written: setting limits is switched off: see allow_gpu_writes" in said["write"]
    assert "node-3/gpu-1/power_limit_w: setting limits is switched off" in said["named"]


def test_a_gpu_in_mig_mode_is_not_limited(library: Path) -> None:
    body = 'await gpus.read()\nsaid["one"] = verdict(300.0)\nsaid["two"] = verdict(300.0, "node-3/gpu-2/power_limit_w")'
    said = ask(library, body, STUB_MIG="1")
    assert said["one"][0::2] == ["rejected", "mig_mode"]
    assert said["two"][:2] == ["accepted", 300.0]


def test_a_lost_gpu_does_not_keep_the_others_from_being_released(library: Path, tmp_path: Path) -> None:
    body = """
await gpus.read()
other = "node-3/gpu-2/power_limit_w"
await gpus.write(cap(300.0, other))
os.environ["STUB_LOST"] = "0"
await attempt("release", gpus.release())
said["other"] = (await values(other))[other]
"""
    said = ask(library, body)
    assert "node-3/gpu-1/power_limit_w: the limit is not lifted (NVML error 15" in said["release"]
    assert said["other"] == 400.0


CAPS = """
now = await state()
done = await guard().apply([cap(250.0), cap(1200.0, CLOCK)], now)
said["read_back"] = [one.read_back for one in done]
said["errors"] = [one.error for one in done]
"""
KILLED = CAPS + "print(json.dumps(said), flush=True)\nos.kill(os.getpid(), 9)"
HAND_BACK = """
await gpus.read()
said["errors"] = await guard().hand_back()
said["values"] = await values(CAP)
"""


def test_after_a_crash_the_limit_that_stood_before_is_put_back(library: Path, tmp_path: Path) -> None:
    kept = {"JOURNAL": str(tmp_path / "journal.json"), "STUB_STATE": str(tmp_path / "driver")}
    operator = 'await gpus.read()\nawait gpus.write(cap(350.0))\nsaid["set"] = await values(CAP)'
    assert ask(library, operator, **kept)["set"] == {"node-3/gpu-1/power_limit_w": 350.0}
    program = HEAD + "\n".join(f"    {line}" for line in KILLED.strip().splitlines()) + TAIL
    found = {**os.environ, "LD_LIBRARY_PATH": str(library), **kept}
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=found, timeout=60)
    assert killed.returncode == -9, killed.stderr
    assert json.loads(killed.stdout) == {"read_back": [250.0, 1200.0], "errors": ["", ""]}
    said = ask(library, HAND_BACK, **kept)
    assert said["errors"] == []
    assert said["values"] == {"node-3/gpu-1/power_limit_w": 350.0}
    assert (tmp_path / "driver").read_bytes()[8:12] == bytes(4)  # no clock is locked any more
