"""NVML: the GPUs of this machine."""

from facility.devices.nvml.device import NvmlDevice
from facility.devices.nvml.identity import GpuIdentity
from facility.devices.nvml.one_limit import OneLimit

__all__ = ["GpuIdentity", "NvmlDevice", "OneLimit"]
