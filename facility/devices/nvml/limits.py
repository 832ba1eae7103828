"""What may be set at a GPU: its power limit, and the highest clock of its multiprocessors.

Neither outlives the driver. Both need root or CAP_SYS_ADMIN (NVML API reference, device commands).
"""

from __future__ import annotations

from typing import Any, Protocol

import pynvml

CLOCK_STEP_MHZ = 15.0  # GPUs have clocks in steps of this: one above the limit is still within it


class Limit(Protocol):
    """One setting of one GPU. Every call may raise NVMLError."""

    name: str
    kind: str
    unit: str
    description: str

    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value that the GPU takes, in ``unit``."""
        ...

    def get(self) -> float | None:
        """The value in force; None where it is not known."""
        ...

    def set(self, value: float) -> None:
        """Put a value in force."""
        ...

    def lift(self) -> None:
        """Go back to what the GPU does by default."""
        ...


class PowerLimit:
    """The power limit of the board. NVML counts in mW."""

    name, kind, unit = "power_limit_w", "power", "W"
    description = "power limit of the board as it was set"

    def __init__(self, gpu: Any) -> None:
        self._gpu = gpu

    def bounds(self) -> tuple[float, float]:
        """What the board allows, W."""
        low_mw, high_mw = pynvml.nvmlDeviceGetPowerManagementLimitConstraints(self._gpu)
        return low_mw / 1e3, high_mw / 1e3

    def get(self) -> float | None:
        """The limit that was set, W; what is enforced may be lower."""
        return float(pynvml.nvmlDeviceGetPowerManagementLimit(self._gpu) / 1e3)

    def set(self, value: float) -> None:
        """Set the limit, W."""
        pynvml.nvmlDeviceSetPowerManagementLimit(self._gpu, round(value * 1e3))

    def lift(self) -> None:
        """Set the board's default limit."""
        limit_mw = pynvml.nvmlDeviceGetPowerManagementDefaultLimit(self._gpu)
        pynvml.nvmlDeviceSetPowerManagementLimit(self._gpu, limit_mw)


class ClockLimit:
    """The highest clock of the multiprocessors: clocks locked to a range that begins at the GPU's lowest.

    NVML sets locked clocks and does not tell them. What was set here is known, and no longer believed once the GPU runs
    faster than that; before anything was set, the GPU's highest clock stands for "not locked".
    """

    name, kind, unit = "sm_clock_limit_mhz", "frequency", "MHz"
    description = "highest clock of the multiprocessors that is allowed; the GPU's own highest is no limit"

    def __init__(self, gpu: Any) -> None:
        self._gpu = gpu
        self._locked_mhz: float | None = None

    def bounds(self) -> tuple[float, float]:
        """The GPU's lowest and highest clock, MHz."""
        memory_mhz = max(pynvml.nvmlDeviceGetSupportedMemoryClocks(self._gpu))
        clocks_mhz = pynvml.nvmlDeviceGetSupportedGraphicsClocks(self._gpu, memory_mhz)
        return float(min(clocks_mhz)), float(pynvml.nvmlDeviceGetMaxClockInfo(self._gpu, pynvml.NVML_CLOCK_SM))

    def get(self) -> float | None:
        """The limit, MHz; None where the GPU runs faster than what was set here: somebody else has lifted it."""
        if self._locked_mhz is None:
            return self.bounds()[1]
        clock_mhz = float(pynvml.nvmlDeviceGetClockInfo(self._gpu, pynvml.NVML_CLOCK_SM))
        return self._locked_mhz if clock_mhz <= self._locked_mhz + CLOCK_STEP_MHZ else None

    def set(self, value: float) -> None:
        """Lock the clocks to at most ``value`` MHz; the GPU's highest lifts the lock."""
        low_mhz, high_mhz = self.bounds()
        if value >= high_mhz:
            self.lift()
            return
        pynvml.nvmlDeviceSetGpuLockedClocks(self._gpu, round(low_mhz), round(value))
        self._locked_mhz = value

    def lift(self) -> None:
        """Unlock the clocks."""
        pynvml.nvmlDeviceResetGpuLockedClocks(self._gpu)
        self._locked_mhz = None


def limits_of(gpu: Any) -> tuple[Limit, ...]:
    """Every limit of one GPU, whether or not it can be set."""
    return PowerLimit(gpu), ClockLimit(gpu)
