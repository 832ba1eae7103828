"""The error tree. Every error says what was wrong, where, and what to do; each carries its data.

EcoError
├── ConfigError      a configuration file: file, key, expected
├── DataError        a signal, trace or recording: file, line or time, problem
├── DeviceError      a device: device, operation, reason
│   ├── DeviceTimeout    no answer within the deadline
│   ├── ReleaseUnknown   a family that knows no way to give control back
│   └── ReadBackError    a write that the device did not take
├── StoreError       the database
│   └── StoreLocked      another process owns it
└── GuardError       a write that did not pass the guard
"""

from __future__ import annotations

import errno
import socket
from enum import StrEnum


class Reason(StrEnum):
    """Why something cannot be used, in one word for programs; the words for people are in the error."""

    TIMEOUT = "timeout"  # no answer
    REFUSED = "refused"  # the host answers, and nothing listens on that port
    UNREACHABLE = "unreachable"  # no such host, or no way there
    CREDENTIALS = "credentials"  # password, key, token or community
    CERTIFICATE = "certificate"  # not one that is trusted
    UNKNOWN_MODEL = "unknown_model"  # it answers, and has nothing of what the profile reads
    WRONG_DEVICE = "wrong_device"  # another device, or another kind of service, answers at that address
    BUSY = "busy"  # it asks to be left alone
    CONFIG = "config"  # the site file, a profile, or what they refer to
    ERROR = "error"  # anything else


class EcoError(Exception):
    """Base of every error that a user is meant to read.

    ``what`` says what was wrong, ``where`` names the file, key, device or time, ``hint`` says what to do.
    """

    reason: Reason = Reason.ERROR

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(": ".join(part for part in (where, what) if part) + (f" ({hint})" if hint else ""))


class ConfigError(EcoError):
    """A configuration value that cannot be used."""

    reason = Reason.CONFIG


class DataError(EcoError):
    """A signal, job trace or recording that cannot be used as it is."""


class DeviceError(EcoError):
    """A device answered with an error, or with something that its profile does not explain; ``reason`` sorts it."""

    def __init__(self, what: str, *, where: str = "", hint: str = "", reason: Reason | None = None) -> None:
        super().__init__(what, where=where, hint=hint)
        self.reason = reason or self.reason


class DeviceTimeout(DeviceError):  # noqa: N818 - "timeout" is the term of the field
    """A device did not answer within its deadline."""

    reason = Reason.TIMEOUT


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


def network_reason(error: OSError) -> Reason:
    """What the operating system's refusal to connect or send means."""
    if isinstance(error, ConnectionRefusedError):
        return Reason.REFUSED
    if isinstance(error, TimeoutError):
        return Reason.TIMEOUT
    is_cut_off = isinstance(error, socket.gaierror) or error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)
    return Reason.UNREACHABLE if is_cut_off else Reason.ERROR
