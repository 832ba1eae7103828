"""What an SNMP value says, as a number or as text: agents write numbers in many ways, and not every text is one."""

from __future__ import annotations

import math
import re
import struct
import warnings
from typing import Any

with warnings.catch_warnings():
    # Where pysmi is installed, pysnmp touches names that pysmi has deprecated; nothing here uses either's MIB compiler.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pysnmp.proto import rfc1902, rfc1905

NO_VALUE = (rfc1905.NoSuchObject, rfc1905.NoSuchInstance, rfc1905.EndOfMibView)
_NOT_TEXT = (rfc1902.IpAddress, rfc1902.Opaque)  # pysnmp derives them from OCTET STRING
_DECIMAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?")
_OPAQUE = {b"\x9f\x78\x04": ">f", b"\x9f\x79\x08": ">d"}  # net-snmp's floats: tag, length, IEEE 754


def is_text(value: Any) -> bool:
    """Whether the value is an OCTET STRING that may hold text."""
    return isinstance(value, rfc1902.OctetString) and not isinstance(value, _NOT_TEXT)


def number_of(value: Any) -> float | None:
    """A finite number, also where the agent sends it as text or as an Opaque float; None where there is none."""
    number = _number(value)
    return number if number is not None and math.isfinite(number) else None


def _number(value: Any) -> float | None:
    if isinstance(value, (*NO_VALUE, rfc1902.IpAddress, rfc1902.ObjectIdentifier)):
        return None
    if isinstance(value, rfc1902.Opaque):
        data = bytes(value)
        code = _OPAQUE.get(data[:3])
        return float(struct.unpack(code, data[3:])[0]) if code and len(data) == 3 + struct.calcsize(code) else None
    if is_text(value):
        text = text_of(value)
        return float(text) if _DECIMAL.fullmatch(text) else None
    try:
        return float(int(value))
    except (ValueError, TypeError, OverflowError):
        return None


def text_of(value: Any) -> str:
    """The text of an OCTET STRING, without padding; empty where the value is none."""
    if not is_text(value):
        return ""
    data = bytes(value)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.strip(" \t\r\n\0")


def like(current: Any, raw: float) -> Any:
    """``raw`` as a value of the type that ``current`` has. Raises ValueError where the type cannot hold it."""
    try:
        return current.clone(f"{raw:g}".encode()) if is_text(current) else current.clone(round(raw))
    except Exception as error:  # pyasn1 raises errors of its own kind
        raise ValueError(f"{type(current).__name__} cannot hold {raw:g}") from error
