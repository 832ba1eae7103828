"""What ipmi_sim needs to run one BMC: its configuration, sensors, data repository and loadable module."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facility.errors import EcoError

NAME = "bmc"
TEMPLATES = Path(__file__).parent
HEADER = Path("/usr/include/OpenIPMI/mcserv.h")
POLL_MS = 100  # how often the simulator looks at a sensor's file
SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


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


@dataclass(frozen=True, slots=True)
class Login:
    """The BMC's one administrator."""

    user: str
    password: str


def program(name: str) -> str | None:
    """Path of one of OpenIPMI's programs or a compiler; None where it is not installed."""
    return shutil.which(name, path=SYSTEM_PATH)


def build_module(folder: Path) -> Path | None:
    """Compile the module into ``folder``; None where compiler or headers are absent. Raises EcoError where it fails."""
    compiler = program("cc")
    if compiler is None or not HEADER.exists():
        return None
    module = folder / "psu_module.so"
    options = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    source = str(TEMPLATES / "psu_module.c")
    done = subprocess.run([compiler, *options, "-o", str(module), source], capture_output=True, text=True)  # noqa: S603 - our own source
    if done.returncode != 0:
        raise EcoError(f"cannot be compiled: {done.stderr}", where=source)
    return module


def prepare(folder: Path, module: Path | None, port: int, login: Login, sensors: Sequence[Sensor]) -> list[str]:
    """Write all that the simulator reads, and return the command that starts it.

    The data repository lies where the simulator looks for it; elsewhere it would be silently empty. Without a module
    there are sensors and chassis power alone. Raises EcoError where OpenIPMI is not installed.
    """
    simulator, compiler = program("ipmi_sim"), program("sdrcomp")
    if simulator is None or compiler is None:
        raise EcoError("ipmi_sim is not installed", where="BMC over IPMI", hint="apt-get install openipmi")
    folder.mkdir(parents=True, exist_ok=True)
    fill = {"NAME": NAME, "PORT": str(port), "USER": login.user, "PASSWORD": login.password}
    fill |= {"MODULE": str(module), "FOLDER": str(folder)}
    text = (TEMPLATES / "lan.conf").read_text(encoding="utf-8")
    for mark, value in fill.items():
        text = text.replace(f"@{mark}@", value)
    if module is None:
        text = "\n".join(line for line in text.splitlines() if not line.startswith("loadlib")) + "\n"
    configuration = folder / "lan.conf"
    with open(os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)  # it holds the password
    (folder / "bmc.emu").write_text(_emulation(folder, sensors), encoding="utf-8")
    (folder / "bmc.sdrs").write_text("\n".join(_record(sensor) for sensor in sensors), encoding="utf-8")
    for sensor in sensors:
        path = folder / f"sensor-{sensor.number}.val"
        if not path.exists():
            path.write_text(f"{sensor.raw}\n", encoding="utf-8")
    repository = folder / "ipmi_sim" / NAME
    repository.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-8", "-o", str(repository / "sdr.20.main"), str(folder / "bmc.sdrs")]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own files
    return [simulator, "-c", str(configuration), "-f", str(folder / "bmc.emu"), "-s", str(folder), "-n"]


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
