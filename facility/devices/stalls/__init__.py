"""I/O stalls of this machine and of the pods on it."""

from facility.devices.stalls.device import StallDevice

__all__ = ["StallDevice"]
