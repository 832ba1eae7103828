"""Devices behind one port, the Actuator of facility.records: one protocol a file."""

from __future__ import annotations

from pathlib import Path

from facility.clock import Clock
from facility.errors import ConfigError
from facility.profile import load_profile
from facility.records import Actuator
from facility.site import Device


def open_device(device: Device, clock: Clock, *, port: int | None = None, host: str | None = None) -> Actuator:
    """The device as configured; ``port`` and ``host`` override the site file. Nothing is sent before the first read.

    A protocol's library is imported with the first device that speaks it. Raises ConfigError.
    """
    changes = {key: value for key, value in (("port", port), ("host", host)) if value is not None}
    device = device.model_copy(update=changes)
    match device.protocol:
        case "modbus":
            from facility.devices.modbus import ModbusDevice

            return ModbusDevice(device, load_profile(device.profile), clock)
        case "snmp":
            from facility.devices.snmp import SnmpDevice

            if device.snmp is None:
                raise ConfigError("an snmp device needs a table 'snmp' with its credentials", where=device.name)
            return SnmpDevice(device, device.snmp, load_profile(device.profile), clock)
        case "ipmi":
            from facility.devices.ipmi import IpmiDevice

            return IpmiDevice(device, load_profile(device.profile), clock)
        case "redfish":
            from facility.devices.redfish import RedfishDevice

            return RedfishDevice(device, load_profile(device.profile), clock)
        case "bacnet":
            from facility.devices.bacnet import BacnetDevice

            return BacnetDevice(device, load_profile(device.profile), clock)
        case "prometheus":
            from facility.devices.prometheus import PrometheusDevice

            return PrometheusDevice(device, load_profile(device.profile), clock)
        case "hwmon":
            from facility.devices.hwmon import HwmonDevice

            return HwmonDevice(device, load_profile(device.profile), clock)
        case "replay":
            from facility.devices.replay import ReplayDevice
            from facility.recording import load_recording

            return ReplayDevice(device.name, load_recording(Path(device.recording)), clock)
        case "nvml":
            from facility.devices.nvml import NvmlDevice

            return NvmlDevice(device.name, clock, device.deadline_s, may_write=device.allow_gpu_writes)
        case "stalls":
            from facility.devices.stalls import StallDevice

            return StallDevice(device, clock)
