"""A real BMC over IPMI 2.0: OpenIPMI's ipmi_sim with the emulated building's module for what it lacks."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import SOCK_DGRAM

from apps.emulator.ipmi import config
from apps.emulator.ipmi.config import NAME, Login, Sensor
from tests.peers.processes import free_port, running
from tests.peers.require import require_program
from tests.shared import missing

__all__ = ["NAME", "PASSWORD", "SUPPLIES", "USER", "Bmc", "build_module", "ipmi_sim", "ipmitool"]

USER, PASSWORD = "operator", "psu-secret-9"

# Two supplies on the private bus: 263 W and 235 W in, 12.2 V out; READ_EIN is a block of six bytes.
SUPPLIES = """
58 20 17
58 79 00 00
58 86 06 e8 7f 01 10 00 00
58 88 9a f3
58 89 7c ca
58 8b 66 18
58 8d 20 db
58 90 ee 0a
58 96 f4 00
58 97 07 01
59 20 17
59 79 48 28
59 88 9a f3
59 8b 66 18
59 97 ac f3
"""


SENSORS = (
    Sensor(1, "Inlet Temp", "Temperature", 1, "degrees_C", 23, entity=55),
    Sensor(2, "Exhaust Temp", "Temperature", 1, "degrees_C", 38),
    Sensor(3, "FAN1", "Fan", 4, "RPM", 84, m=100, entity=29),
    Sensor(4, "Temp", "Temperature", 1, "degrees_C", 61, entity=3, instance=1),
    Sensor(5, "Temp", "Temperature", 1, "degrees_C", 64, entity=3, instance=2),
    Sensor(6, "PSU1 Power In", "Other_Units_Based_Sensor", 11, "Watts", 33, m=8, entity=10),
    Sensor(7, "SysBrd 12V", "Voltage", 2, "Volts", 203, m=6, exponent=-2),
    Sensor(8, "DTS Margin", "Temperature", 1, "degrees_C", 256 - 35, entity=3, signed=True),
    Sensor(9, "GPU Temp", "Temperature", 1, "degrees_C", 50, entity=11, scanning=False),
    Sensor(10, "Pulled Temp", "Temperature", 1, "degrees_C", 50, entity=11, instance=2, exists=False),
)


@dataclass(frozen=True, slots=True)
class Bmc:
    """A BMC that runs: its UDP port, its folder and its process."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def set_sensor(self, number: int, raw: int) -> None:
        """The simulator looks at the file every POLL_MS."""
        (self.folder / f"sensor-{number}.val").write_text(f"{raw}\n")

    def set_supplies(self, registers: str) -> None:
        """What the supplies hold from now on: address, command, bytes."""
        fresh = self.folder / "supplies.new"
        fresh.write_text(registers)
        fresh.replace(self.folder / "supplies.txt")

    def state(self) -> dict[str, int]:
        """The power limit and the chassis' power as the module keeps them; empty before the first change."""
        path = self.folder / "state.txt"
        words = path.read_text().split() if path.exists() else []
        names = ("limit_w", "limit_active", "action", "correction_ms", "sampling_s", "power_on")
        return dict(zip(names, map(int, words), strict=False))

    def ipmitool(self, *arguments: str, password: str = PASSWORD) -> str:
        """What ipmitool, the independent client, says."""
        return ipmitool(self.port, *arguments, password=password)


def ipmitool(port: int, *arguments: str, password: str = PASSWORD) -> str:
    """Run ipmitool over IPMI 2.0 with cipher suite 3, which is all that the simulator has."""
    program = require_program("ipmitool", "apt-get install ipmitool")
    reach = ["-I", "lanplus", "-C", "3", "-N", "1", "-R", "2", "-H", "127.0.0.1", "-p", str(port)]
    command = [program, *reach, "-U", USER, "-P", password, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def build_module(folder: Path) -> Path:
    """Compile the simulator's module into ``folder``; skips where compiler or headers are absent."""
    require_program("ipmi_sim", "apt-get install openipmi")
    module = config.build_module(folder)
    if module is None:
        missing("compiler or headers of ipmi_sim are not installed: apt-get install gcc libc6-dev libopenipmi-dev")
    assert module is not None
    return module


@contextlib.contextmanager
def ipmi_sim(
    folder: Path, module: Path, port: int | None = None, sensors: Sequence[Sensor] = SENSORS, supplies: str = SUPPLIES
) -> Iterator[Bmc]:
    """A BMC on loopback, from the moment it answers. Started again in the same folder it goes on where it was."""
    port = port or free_port(SOCK_DGRAM)
    require_program("ipmi_sim", "apt-get install openipmi")
    command = config.prepare(folder, module, port, Login(USER, PASSWORD), sensors)
    if not (folder / "supplies.txt").exists():
        (folder / "supplies.txt").write_text(supplies)
    with running(command, folder / "ipmi_sim.log", lambda: "Device ID" in ipmitool(port, "mc", "info")) as process:
        yield Bmc(port, folder, process)
