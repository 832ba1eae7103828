"""Modbus TCP."""

from facility.devices.modbus.device import ModbusDevice

__all__ = ["ModbusDevice"]
