"""The real NVML binding on a library of a few lines of C, and without any library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.peers.require import require_program

SOURCE = Path(__file__).parents[1] / "peers" / "nvml_stub.c"
PROGRAM = """
import asyncio, json
from facility.clock import WallClock
from facility.devices import open_device
from facility.errors import EcoError
from facility.records import Command
from facility.site import Device
async def main():
    said = {}
    try:
        gpus = open_device(Device(name="node-3", protocol="nvml"), WallClock())
        said["values"] = {r.point: r.value for r in await gpus.read()}
        command = Command("node-3/gpu-1/power_limit_w", 300.0, "W", "test")
        said["verdict"] = gpus.check(command).rule
        try:
            await gpus.write(command)
        except EcoError as error:
            said["write"] = str(error)
        await gpus.release()
        await gpus.close()
    except EcoError as error:
        said["error"] = str(error)
    print(json.dumps(said))
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = require_program("cc", "apt-get install gcc libc6-dev")
    folder = tmp_path_factory.mktemp("nvml")
    command = [compiler, "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1"), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def ask(library: Path, **environment: str) -> dict[str, Any]:
    """What the device says, in a process that finds NVML in ``library``."""
    found = {**os.environ, "LD_LIBRARY_PATH": str(library), **environment}
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, env=found)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_two_gpus_in_watts_and_watt_hours(library: Path) -> None:
    values = ask(library)["values"]
    assert len(values) == 12
    assert values["node-3/gpu-1/power_w"] == 250.5
    assert values["node-3/gpu-2/power_w"] == 350.5
    assert values["node-3/gpu-2/energy_wh"] == 2.0
    assert values["node-3/gpu-2/temperature_c"] == 62.0
    assert values["node-3/gpu-1/sm_clock_mhz"] == 1410.0
    assert values["node-3/gpu-1/power_limit_w"] == 400.0


def test_nothing_is_written(library: Path) -> None:
    said = ask(library)
    assert said["verdict"] == "not_writable"
    assert "reading only" in said["write"]


def test_what_an_old_gpu_does_not_count_has_no_value(library: Path) -> None:
    values = ask(library, STUB_OLD="1")["values"]
    assert values["node-3/gpu-1/energy_wh"] is None
    assert values["node-3/gpu-1/power_w"] == 250.5


def test_a_lost_gpu_is_an_error_that_names_it(library: Path) -> None:
    assert "node-3/gpu-1/power_w: NVML error 15" in ask(library, STUB_LOST="1")["error"]


def test_a_driver_that_is_not_loaded_and_a_missing_library_are_told_apart(library: Path, tmp_path: Path) -> None:
    assert "driver is not loaded (NVML error 9)" in ask(library, STUB_INIT="9")["error"]
    said = ask(tmp_path)  # on a machine with a GPU the system's own library answers
    assert "values" in said or "libnvidia-ml.so.1 is missing (NVML error 12)" in said["error"]
