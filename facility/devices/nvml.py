"""NVML, reading only: power, energy, temperature, use, clock and limit of each GPU of this machine.

GPUs are numbered from 1, as all equipment: ``node-3/gpu-1`` is NVML index 0 of node-3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pynvml

from facility.clock import Clock
from facility.devices.base import check_limits
from facility.errors import DeviceError
from facility.records import Command, Point, Quality, Reading, Verdict

START_ERRORS = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: ("the library libnvidia-ml.so.1 is missing", "install the NVIDIA driver"),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: ("the NVIDIA driver is not loaded", "modprobe nvidia, then look at dmesg"),
    pynvml.NVML_ERROR_NO_PERMISSION: ("no permission to use the GPUs", "check the access to /dev/nvidia*"),
}
# The GPU or driver is gone or in trouble: the device fails, instead of one value being absent.
LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_RESET_REQUIRED)


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity of a GPU and the NVML call behind it."""

    name: str
    kind: str
    unit: str
    description: str
    get: Callable[[Any], float]


# NVML reports mW and mJ (NVML API reference, device queries).
QUANTITIES = (
    Quantity("power_w", "power", "W", "power draw of the board", lambda gpu: pynvml.nvmlDeviceGetPowerUsage(gpu) / 1e3),
    Quantity(
        "energy_wh",
        "energy",
        "Wh",
        "energy since the driver was loaded",
        lambda gpu: pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 3.6e6,
    ),
    Quantity(
        "temperature_c",
        "temperature",
        "degC",
        "GPU core temperature",
        lambda gpu: float(pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU)),
    ),
    Quantity(
        "utilization_pct",
        "utilization",
        "%",
        "share of the last sample period with a kernel running",
        lambda gpu: float(pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
    ),
    Quantity(
        "sm_clock_mhz",
        "frequency",
        "MHz",
        "clock of the multiprocessors",
        lambda gpu: float(pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM)),
    ),
    Quantity(
        "power_limit_w",
        "power",
        "W",
        "power limit in force",
        lambda gpu: pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1e3,
    ),
)


class NvmlDevice:
    """The GPUs of this machine; ``name`` is that of the node."""

    def __init__(self, name: str, clock: Clock) -> None:
        """Starts NVML; raises DeviceError that says what is missing."""
        self.name = name
        self._clock = clock
        self._gpus = self._start()
        self._calls: dict[str, tuple[Quantity, Any]] = {
            f"{name}/gpu-{number}/{quantity.name}": (quantity, gpu)
            for number, gpu in enumerate(self._gpus, start=1)
            for quantity in QUANTITIES
        }
        self._points = {point: self._point(point, quantity) for point, (quantity, _) in self._calls.items()}

    def _start(self) -> list[Any]:
        try:
            pynvml.nvmlInit()
            return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError as error:
            what, hint = START_ERRORS.get(error.value, (f"NVML does not start: {error}", "try nvidia-smi"))
            raise DeviceError(f"{what} (NVML error {error.value})", where=self.name, hint=hint) from error

    def _point(self, name: str, quantity: Quantity) -> Point:
        return Point(name, quantity.kind, quantity.unit, name.rpartition("/")[0], quantity.description)

    @property
    def points(self) -> Mapping[str, Point]:
        """Every quantity of every GPU."""
        return self._points

    async def read(self, points: Sequence[str] | None = None) -> list[Reading]:
        """Read some or all points; what a GPU does not support has no value. Raises DeviceError where a GPU is lost."""
        names = list(self._calls) if points is None else list(points)
        return await asyncio.to_thread(lambda: [self._get(name) for name in names])

    def _get(self, name: str) -> Reading:
        if name not in self._calls:
            raise DeviceError("the node has no such point", where=name)
        quantity, gpu = self._calls[name]
        try:
            value: float | None = quantity.get(gpu)
        except pynvml.NVMLError as error:
            if error.value in LOST:
                raise DeviceError(f"NVML error {error.value}: {error}", where=name, hint="see dmesg for Xid") from error
            value = None
        quality = Quality.BAD if value is None else Quality.GOOD
        return Reading(name, value, quantity.unit, self._clock.now(), quality, self.name)

    def check(self, command: Command) -> Verdict:
        """Rejects every command: these points are read only."""
        return check_limits(self._points, command)

    async def write(self, command: Command) -> None:
        """Always raises DeviceError: limits are set by the agent on the node, within its own guard."""
        raise DeviceError("GPUs are reading only here", where=command.point, hint="caps are set by the node's agent")

    async def read_back(self, command: Command) -> Reading:
        """The value now."""
        return self._get(command.point)

    async def release(self, points: Sequence[str] | None = None) -> None:
        """Nothing was taken, so nothing is given back."""

    async def close(self) -> None:
        """Shut NVML down; it counts its users."""
        pynvml.nvmlShutdown()
