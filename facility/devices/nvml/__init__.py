"""NVML: the GPUs of this machine."""

from facility.devices.nvml.device import NvmlDevice

__all__ = ["NvmlDevice"]
