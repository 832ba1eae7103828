"""HTTP as Redfish uses it: an answer, how long to wait, what a failed connection means, and whom to trust."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from facility.devices.redfish.resources import Json, messages_of
from facility.errors import ConfigError, DeviceError, Reason, network_reason


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and JSON of one answer; ``body`` is None where it is not JSON."""

    status: int
    headers: Mapping[str, str]
    body: Json

    @property
    def is_resource(self) -> bool:
        """Whether a resource came."""
        return self.status == 200 and isinstance(self.body, dict)

    @property
    def etag(self) -> str:
        """The version of the resource, for If-Match; empty where the service gives none."""
        said = self.headers.get("ETag") or (self.body.get("@odata.etag") if isinstance(self.body, dict) else None)
        return said if is_sendable(said) else ""

    @property
    def where_to(self) -> str:
        """Path in the Location header."""
        parts = urlsplit(self.headers.get("Location", ""))
        return parts.path + (f"?{parts.query}" if parts.query else "")

    @property
    def said(self) -> str:
        """Status and messages, for an error."""
        return f"{self.status} {messages_of(self.body)}".strip()


def is_sendable(text: object) -> TypeGuard[str]:
    """Whether it can be sent back as the value of a header."""
    return isinstance(text, str) and text.isascii() and text.isprintable()


def retry_after_s(answer: Answer, default_s: float) -> float:
    """Seconds that an answer asks us to wait (RFC 9110: seconds or a date)."""
    said = answer.headers.get("Retry-After", "")
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        if said.strip().isdecimal():
            return float(said)
        at = parsedate_to_datetime(said)
        return max((at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)
    return default_s


def parse(content: bytes) -> Any:
    """What the bytes say; None where they are no JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def failure(name: str, where: str, error: Exception) -> DeviceError:
    """What a failed connection means: bad certificate, no TLS, refused, no such host."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            hint = "name the device's certificate, or its issuer's, as http.ca_file"
            said = f"bad certificate: {cause.verify_message}"
            return DeviceError(said, where=where, hint=hint, reason=Reason.CERTIFICATE)
        if isinstance(cause, ssl.SSLError):
            hint = "does the port speak TLS?"
            said = f"{name}: TLS failed, {cause.reason or cause}"
            return DeviceError(said, where=where, hint=hint, reason=Reason.WRONG_DEVICE)
        if isinstance(cause, ConnectionRefusedError):
            hint = "is it on, and are host and port right?"
            return DeviceError(f"{name}: connection refused", where=where, hint=hint, reason=Reason.REFUSED)
        if isinstance(cause, socket.gaierror):
            said = f"{name}: no address for this host, {cause.strerror}"
            return DeviceError(said, where=where, reason=Reason.UNREACHABLE)
    reasons = {network_reason(cause) for cause in _causes(error) if isinstance(cause, OSError)}
    reason = Reason.UNREACHABLE if Reason.UNREACHABLE in reasons else Reason.ERROR
    said = f"{name}: the connection failed, {error or type(error).__name__}"
    return DeviceError(said, where=where, reason=reason)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it came from, and so on; such chains can go in circles."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop(0)
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()
        waiting += (cause.__cause__, cause.__context__)


@functools.cache
def tls(ca_file: str, verify: bool) -> ssl.SSLContext:
    """Whom to trust: the system's authorities or those in ``ca_file``; raises ConfigError where that is no PEM file."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"cannot use the CA file: {error}", where=ca_file, hint="a PEM file is needed") from error
    if ca_file:  # what is named is trusted, also where it is the device's own certificate
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
