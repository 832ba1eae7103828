"""IPMI 2.0, and what lies behind a BMC."""

from facility.devices.ipmi.device import IpmiDevice

__all__ = ["IpmiDevice"]
