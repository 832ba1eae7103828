"""The error tree. Every error says what was wrong, where, and what to do; each carries its data.

EcoError
├── ConfigError      a configuration file: file, key, expected
├── DataError        a signal, trace or recording: file, line or time, problem
├── DeviceError      a device: device, operation
│   ├── DeviceTimeout    no answer within the deadline
│   ├── ReleaseUnknown   a family that knows no way to give control back
│   └── ReadBackError    a write that the device did not take
├── StoreError       the database
│   └── StoreLocked      another process owns it
└── GuardError       a write that did not pass the guard
"""

from __future__ import annotations


class EcoError(Exception):
    """Base of every error that a user is meant to read.

    ``what`` says what was wrong, ``where`` names the file, key, device or time, ``hint`` says what to do.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(": ".join(part for part in (where, what) if part) + (f" ({hint})" if hint else ""))


class ConfigError(EcoError):
    """A configuration value that cannot be used."""


class DataError(EcoError):
    """A signal, job trace or recording that cannot be used as it is."""


class DeviceError(EcoError):
    """A device answered with an error, or with something that its profile does not explain."""


class DeviceTimeout(DeviceError):  # noqa: N818 - "timeout" is the term of the field
    """A device did not answer within its deadline."""


class ReleaseUnknown(DeviceError):  # noqa: N818 - names the state
    """A device family knows no way to go back to local control."""


class ReadBackError(DeviceError):
    """A device acknowledged a write and then reported another value."""


class StoreError(EcoError):
    """The store could not do what was asked."""


class StoreLocked(StoreError):  # noqa: N818 - names the state
    """Another process owns the database file."""


class GuardError(EcoError):
    """A command was not allowed to reach its actuator."""
