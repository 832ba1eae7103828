"""DCMI power management: the bytes of its requests and answers. Source: DCMI 1.5, 6.6.1 to 6.6.4.

Bytes that are no such answer raise DataError.
"""

from __future__ import annotations

from dataclasses import dataclass

from facility.errors import DataError

NETFN = 0x2C
GROUP = b"\xdc"
POWER_READING, GET_LIMIT, SET_LIMIT, ACTIVATE_LIMIT = 0x02, 0x03, 0x04, 0x05
NO_ACTIVE_LIMIT = 0x80  # completion code of Get Power Limit
POWER_REQUEST = GROUP + b"\x01\x00\x00"  # system power statistics
LIMIT_REQUEST = GROUP + b"\x00\x00"
MEASURING = 0x40  # in the state of a power reading
POWER_OFF, LOG_ONLY = 0x01, 0x11  # what happens where the limit cannot be held
REFUSALS = {
    0x84: "the limit is out of the BMC's range",
    0x85: "the correction time is out of the BMC's range",
    0x89: "the sampling period is out of the BMC's range",
    0xD4: "the user's privilege does not allow it",
}


@dataclass(frozen=True, slots=True)
class Limit:
    """A power limit: what it is, and what happens where it cannot be held for ``correction_ms``."""

    watts: int
    action: int
    correction_ms: int
    sampling_s: int


DEFAULT_LIMIT = Limit(watts=0, action=LOG_ONLY, correction_ms=1000, sampling_s=1)


def decode_power(data: bytes) -> float | None:
    """The present power in W; None where the BMC does not measure now."""
    _check(data, 18)
    return float(int.from_bytes(data[1:3], "little")) if data[17] & MEASURING else None


def decode_limit(data: bytes) -> Limit:
    """The limit that is set, in force or not."""
    _check(data, 14)
    return Limit(
        watts=int.from_bytes(data[4:6], "little"),
        action=data[3],
        correction_ms=int.from_bytes(data[6:10], "little"),
        sampling_s=int.from_bytes(data[12:14], "little"),
    )


def encode_limit(watts: float, before: Limit) -> bytes:
    """Set Power Limit with the other settings as they were, but never one that powers the node off."""
    whole = round(watts)
    if not 0 < whole <= 0xFFFF:
        raise DataError(f"{watts:g} W is no power limit", where="DCMI")
    action = LOG_ONLY if before.action == POWER_OFF else before.action
    return (
        GROUP
        + bytes(3)
        + bytes((action,))
        + whole.to_bytes(2, "little")
        + (before.correction_ms or DEFAULT_LIMIT.correction_ms).to_bytes(4, "little")
        + bytes(2)
        + (before.sampling_s or DEFAULT_LIMIT.sampling_s).to_bytes(2, "little")
    )


def encode_activation(is_active: bool) -> bytes:
    """Activate/Deactivate Power Limit."""
    return GROUP + bytes((int(is_active), 0, 0))


def _check(data: bytes, length: int) -> None:
    if len(data) < length or data[:1] != GROUP:
        raise DataError(f"{data.hex()} is no DCMI answer of {length} bytes", where="DCMI")
