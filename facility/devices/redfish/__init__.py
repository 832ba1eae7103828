"""Redfish."""

from facility.devices.redfish.device import RedfishDevice

__all__ = ["RedfishDevice"]
