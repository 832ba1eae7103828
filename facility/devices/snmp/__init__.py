"""SNMP v2c and v3."""

from facility.devices.snmp.device import SYS_DESCR, SYS_OBJECT_ID, SnmpDevice

__all__ = ["SYS_DESCR", "SYS_OBJECT_ID", "SnmpDevice"]
