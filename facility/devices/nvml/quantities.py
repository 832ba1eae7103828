"""What is read of each GPU. NVML reports mW and mJ (NVML API reference, device queries)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml

# Reasons why clocks are below what was asked for (NVML API reference, nvmlClocksEventReasons). HwSlowdown (8) is not
# told apart by older GPUs: heat, an external power brake, or a power draw that is too high; newer ones add which it is.
POWER_REASONS = pynvml.nvmlClocksEventReasonSwPowerCap | pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
THERMAL_REASONS = pynvml.nvmlClocksEventReasonSwThermalSlowdown | pynvml.nvmlClocksEventReasonHwThermalSlowdown
HARDWARE_REASONS = pynvml.nvmlClocksEventReasonHwSlowdown


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity of a GPU and the NVML call behind it."""

    name: str
    kind: str
    unit: str
    description: str
    get: Callable[[Any], float]


def event_reasons(gpu: Any) -> int:
    """Bits of the reasons in force; drivers before 535 know the call by its former name."""
    try:
        return int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu))
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
    return int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu))


def _flag(reasons: int) -> Callable[[Any], float]:
    return lambda gpu: float(bool(event_reasons(gpu) & reasons))


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
        "memory_copy_utilization_pct",
        "utilization",
        "%",
        "share of the last sample period with memory being read or written",
        lambda gpu: float(pynvml.nvmlDeviceGetUtilizationRates(gpu).memory),
    ),
    Quantity(
        "sm_clock_mhz",
        "frequency",
        "MHz",
        "clock of the multiprocessors",
        lambda gpu: float(pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM)),
    ),
    Quantity(
        "memory_clock_mhz",
        "frequency",
        "MHz",
        "clock of the memory",
        lambda gpu: float(pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_MEM)),
    ),
    Quantity(
        "enforced_power_limit_w",
        "power",
        "W",
        "the lowest of all power limits in force",
        lambda gpu: pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1e3,
    ),
    Quantity("power_throttle_flag", "flag", "1", "clocks are lowered by a limit of power", _flag(POWER_REASONS)),
    Quantity("thermal_throttle_flag", "flag", "1", "clocks are lowered by heat", _flag(THERMAL_REASONS)),
    Quantity(
        "hardware_slowdown_flag",
        "flag",
        "1",
        "clocks are halved or more by the hardware: heat, power brake or power draw",
        _flag(HARDWARE_REASONS),
    ),
)
