"""The BMCs of the emulated building over IPMI 2.0, one ipmi_sim a node, with the numbers that the plant has for it.

Sensors and supplies are files that the simulator looks at. A power limit set over DCMI is kept and reported; it does
not bite in the plant: that of the node's Redfish service does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from apps.emulator.ipmi import config
from apps.emulator.ipmi.config import Login, Sensor
from apps.emulator.redfish_node import NodeNumbers
from apps.emulator.sockets import listen_udp
from apps.supervise import end_with_parent
from facility.errors import EcoError
from facility.pmbus import encode_linear11

log = logging.getLogger(__name__)

FEED_S = 1.0  # wall seconds between two looks at the plant
INLET, POWER = 1, 2  # numbers of the sensors
POWER_STEP_W = 40  # of the power sensor: eight bits for 10 kW
SENSORS = (
    Sensor(INLET, "Inlet Temp", "Temperature", 1, "degrees_C", 22, entity=55),
    Sensor(POWER, "Node Power", "Other_Units_Based_Sensor", 11, "Watts", 20, m=POWER_STEP_W, entity=7),
)
SUPPLIES = (0x58, 0x59, 0x5A, 0x5B)  # PMBus addresses on the private bus
READ_VIN, READ_PIN = 0x88, 0x97
LINE_V = 208.0


class IpmiBmcs:
    """The running simulators; ``ports`` are by node."""

    def __init__(self, folder: Path, read: Mapping[str, Callable[[], NodeNumbers]], login: Login) -> None:
        self._folder = folder
        self._read = read
        self._login = login
        self._processes: list[asyncio.subprocess.Process] = []
        self._feeding: asyncio.Task[None] | None = None
        self.ports: dict[str, int] = {}

    @staticmethod
    def can_run() -> bool:
        """Whether OpenIPMI is installed."""
        return config.program("ipmi_sim") is not None and config.program("sdrcomp") is not None

    async def start(self, wishes: Mapping[str, int]) -> None:
        """Start a simulator for each node; raises EcoError where one cannot be prepared."""
        self._folder.mkdir(parents=True, exist_ok=True)
        module = await asyncio.to_thread(config.build_module, self._folder)
        for node in self._read:
            with listen_udp(wishes.get(node, 0)) as probe:  # the simulator binds for itself
                port = int(probe.getsockname()[1])
            folder = self._folder / node
            command = await asyncio.to_thread(config.prepare, folder, module, port, self._login, SENSORS)
            self._feed(node, folder)
            with (folder / "ipmi_sim.log").open("wb") as output:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    preexec_fn=end_with_parent,
                )
            self._processes.append(process)
            self.ports[node] = port
        self._feeding = asyncio.create_task(self._keep_feeding())

    async def close(self) -> None:
        """End the simulators."""
        if self._feeding is not None:
            self._feeding.cancel()
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await asyncio.gather(*(process.wait() for process in self._processes))

    async def _keep_feeding(self) -> None:
        while True:
            await asyncio.sleep(FEED_S)
            for node in self._read:
                try:
                    self._feed(node, self._folder / node)
                except (OSError, EcoError) as error:
                    log.warning("the sensors of %s stay as they are: %s", node, error)

    def _feed(self, node: str, folder: Path) -> None:
        now = self._read[node]()
        _write(folder / f"sensor-{INLET}.val", f"{round(now.inlet_c)}\n")
        _write(folder / f"sensor-{POWER}.val", f"{round(now.node_w / POWER_STEP_W)}\n")
        each = [(READ_VIN, LINE_V), (READ_PIN, now.node_w / len(SUPPLIES))]
        lines = [_register(address, command, value) for address in SUPPLIES for command, value in each]
        _write(folder / "supplies.txt", "\n".join(lines) + "\n")


def _register(address: int, command: int, value: float) -> str:
    """A line of the module's register file: address, command, bytes (a word is little-endian)."""
    word = encode_linear11(value)
    return f"{address:02x} {command:02x} {word & 0xFF:02x} {word >> 8:02x}"


def _write(path: Path, text: str) -> None:
    """Replace the file whole: the simulator may be reading it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
