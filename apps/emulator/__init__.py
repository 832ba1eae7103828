"""A building on loopback: a process that behaves like a small hall and speaks Modbus TCP, SNMP and HTTP.

It is not the twin: it has a physics of its own, other parameters, and instruments that err. See docs/emulator.md.
"""
