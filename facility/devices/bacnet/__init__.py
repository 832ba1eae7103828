"""BACnet/IP, with priorities."""

from facility.devices.bacnet.device import BacnetDevice

__all__ = ["BacnetDevice"]
