"""A real BMC over IPMI 2.0: OpenIPMI's ipmi_sim with a module of ours (ipmi/psu_module.c) for what it lacks."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import SOCK_DGRAM

from tests.peers.processes import free_port, running
from tests.peers.require import require_program
from tests.shared import missing

USER, PASSWORD = "operator", "psu-secret-9"
NAME = "bmc"
TEMPLATES = Path(__file__).parent / "ipmi"
POLL_MS = 100  # how often the simulator looks at a sensor's file

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


@dataclass(frozen=True, slots=True)
class Sensor:
    """One threshold sensor: value = raw * m * 10^exponent."""

    number: int
    name: str
    kind: str  # as sdrcomp writes sensor types
    kind_code: int
    unit: str  # as sdrcomp writes units
    raw: int
    m: int = 1
    exponent: int = 0
    entity: int = 7  # system board
    instance: int = 1
    signed: bool = False
    scanning: bool = True
    exists: bool = True  # False: in the repository, but the BMC has no such sensor


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
    compiler = require_program("cc", "apt-get install gcc libc6-dev")
    require_program("ipmi_sim", "apt-get install openipmi")
    if not Path("/usr/include/OpenIPMI/mcserv.h").exists():
        missing("the headers of ipmi_sim are not installed: apt-get install libopenipmi-dev")
    module = folder / "psu_module.so"
    command = [compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(module)]
    done = subprocess.run([*command, str(TEMPLATES / "psu_module.c")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return module


@contextlib.contextmanager
def ipmi_sim(
    folder: Path, module: Path, port: int | None = None, sensors: Sequence[Sensor] = SENSORS, supplies: str = SUPPLIES
) -> Iterator[Bmc]:
    """A BMC on loopback, from the moment it answers. Started again in the same folder it goes on where it was."""
    port = port or free_port(SOCK_DGRAM)
    program = require_program("ipmi_sim", "apt-get install openipmi")
    _prepare(folder, module, port, sensors)
    if not (folder / "supplies.txt").exists():
        (folder / "supplies.txt").write_text(supplies)
    command = [program, "-c", str(folder / "lan.conf"), "-f", str(folder / "bmc.emu"), "-s", str(folder), "-n"]
    with running(command, folder / "ipmi_sim.log", lambda: "Device ID" in ipmitool(port, "mc", "info")) as process:
        yield Bmc(port, folder, process)


def _prepare(folder: Path, module: Path, port: int, sensors: Sequence[Sensor]) -> None:
    """Write the configuration, and compile the sensor data repository to where the simulator looks for it."""
    fill = {"NAME": NAME, "PORT": str(port), "USER": USER, "PASSWORD": PASSWORD}
    fill |= {"MODULE": str(module), "FOLDER": str(folder)}
    text = (TEMPLATES / "lan.conf").read_text()
    for mark, value in fill.items():
        text = text.replace(f"@{mark}@", value)
    (folder / "lan.conf").write_text(text)
    (folder / "bmc.emu").write_text(_emulation(folder, sensors))
    (folder / "bmc.sdrs").write_text("\n".join(_record(sensor) for sensor in sensors))
    for sensor in sensors:
        path = folder / f"sensor-{sensor.number}.val"
        if not path.exists():
            path.write_text(f"{sensor.raw}\n")
    repository = folder / "ipmi_sim" / NAME
    repository.mkdir(parents=True, exist_ok=True)
    compiler = require_program("sdrcomp", "apt-get install openipmi")
    command = [compiler, "-8", "-o", str(repository / "sdr.20.main"), str(folder / "bmc.sdrs")]
    subprocess.run(command, check=True, capture_output=True)


def _emulation(folder: Path, sensors: Sequence[Sensor]) -> str:
    lines = [
        "mc_setbmc 0x20",
        "mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr",
        "sel_enable 0x20 1000 0x0a",
    ]
    for sensor in sensors:
        if not sensor.exists:
            continue
        where = f"0x20 0 {sensor.number}"
        scanning = "scanning" if sensor.scanning else "no-scanning"
        lines.append(
            f'sensor_add {where} {sensor.kind_code} 1 poll {POLL_MS} file "{folder}/sensor-{sensor.number}.val"'
        )
        lines.append(f"sensor_set_event_support {where} enable {scanning} per-state" + " 000000000000000" * 4)
    return "\n".join([*lines, "mc_enable 0x20", ""])


def _record(sensor: Sensor) -> str:
    """A full sensor record as sdrcomp reads it."""
    return f"""sdr type 1
sensor_owner_id 0x20
sensor_owner_lun 0
channel_number 0
sensor_number {sensor.number}
entity_id {sensor.entity}
entity_instance {sensor.instance}
init_scanning true
init_events true
init_thresholds true
init_sensor_type true
default_event_gen_on true
default_sensor_scan_on true
sensor_auto_rearm true
sensor_hysteresis no
sensor_threshold_access settable
sensor_event_msg_ctrl per_state
sensor_type {sensor.kind}
event_reading_type_code 1
analog_data_format {"2s_complement" if sensor.signed else "unsigned"}
base_unit {sensor.unit}
linearization linear
m {sensor.m}
b 0
r_exp {sensor.exponent}
b_exp 0
sensor_maximum 255
sensor_minimum 0
id_string "{sensor.name}"
endsdr
"""
