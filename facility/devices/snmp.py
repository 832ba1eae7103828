"""SNMP v2c and v3: GETs in batches; a SET is to be read back, for some agents acknowledge and change nothing."""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections.abc import Sequence
from typing import Any

from facility.clock import Clock
from facility.devices.base import ProfileDevice
from facility.errors import DeviceError, DeviceTimeout
from facility.profile import Profile, ProfilePoint
from facility.site import Device, SnmpAuth, resolve_secret

with warnings.catch_warnings():
    # Where pysmi is installed, pysnmp touches names that pysmi has deprecated; nothing here uses either's MIB compiler.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pysnmp.hlapi.v3arch import asyncio as hlapi
    from pysnmp.proto import errind, rfc1905

BATCH = 20  # OIDs a request: fits the smallest message that an agent must take (RFC 3417, 484 octets)
TOO_BIG = 1  # RFC 3416 error-status
ERRORS = {5: "genErr", 6: "noAccess", 7: "wrongType", 8: "wrongLength", 10: "wrongValue", 16: "authorizationError"}
NO_VALUE = (rfc1905.NoSuchObject, rfc1905.NoSuchInstance, rfc1905.EndOfMibView)
TEXT = (hlapi.OctetString,)
AUTH = {
    "SHA": hlapi.USM_AUTH_HMAC96_SHA,
    "SHA256": hlapi.USM_AUTH_HMAC192_SHA256,
    "SHA512": hlapi.USM_AUTH_HMAC384_SHA512,
}
PRIV = {"AES": hlapi.USM_PRIV_CFB128_AES, "AES256": hlapi.USM_PRIV_CFB256_AES}

_Engines = dict[tuple[str, ...], Any]
_engines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Engines] = weakref.WeakKeyDictionary()


class SnmpDevice(ProfileDevice):
    """One SNMP agent. Writing needs v3, unless the site file allows it over v2c."""

    def __init__(self, device: Device, auth: SnmpAuth, profile: Profile, clock: Clock) -> None:
        super().__init__(device.name, profile, clock, "snmp")
        self._device = device
        self._settings = auth
        self._secrets = _secrets(auth)
        self._credentials = _credentials(auth, self._secrets)
        self._target: Any = None

    async def _read_raw(self, wanted: Sequence[ProfilePoint]) -> list[float | None]:
        raws: list[float | None] = []
        for start in range(0, len(wanted), BATCH):
            oids = [point.oid for point in wanted[start : start + BATCH]]
            raws += [_number(value) for value in await self._get(oids)]
        return raws

    async def _get(self, oids: Sequence[str]) -> list[Any]:
        """Values in the order of ``oids``; an answer that does not fit one message is fetched in halves."""
        bindings = [hlapi.ObjectType(hlapi.ObjectIdentity(oid)) for oid in oids]
        status, values = await self._ask(hlapi.get_cmd, bindings, "read")
        if status == TOO_BIG and len(oids) > 1:
            middle = len(oids) // 2
            return await self._get(oids[:middle]) + await self._get(oids[middle:])
        if status:
            raise DeviceError(f"read: {ERRORS.get(status, f'error status {status}')}", where=self._where())
        return values

    async def _write_raw(self, point: ProfilePoint, raw: float) -> None:
        """SET with the type that the agent itself reports for the object."""
        if self._settings.version != "3" and not self._settings.allow_v2c_writes:
            raise DeviceError(
                "writing over SNMP v2c is off: it sends the community in clear",
                where=f"{self.name}/{point.name}",
                hint="use version 3, or set allow_v2c_writes",
            )
        (current,) = await self._get([point.oid])
        if isinstance(current, NO_VALUE):
            raise DeviceError("the agent has no such object", where=f"{self.name}/{point.name}", hint=point.oid)
        value = _like(current, raw)
        status, _ = await self._ask(hlapi.set_cmd, [hlapi.ObjectType(hlapi.ObjectIdentity(point.oid), value)], "write")
        if status:
            said = ERRORS.get(status, f"error status {status}")
            raise DeviceError(f"write refused: {said}", where=f"{self.name}/{point.name}")

    async def _ask(self, command: Any, bindings: list[Any], operation: str) -> tuple[int, list[Any]]:
        engine = self._engine()
        try:
            async with asyncio.timeout(self._device.deadline_s):
                target = await self._reach()
                failure, status, _, answer = await command(
                    engine, self._credentials, target, self._context(), *bindings, lookupMib=False
                )
        except TimeoutError as error:
            raise self._timeout(operation) from error
        if isinstance(failure, errind.RequestTimedOut):
            raise self._timeout(operation)
        if failure:
            hint = "check user and keys" if self._settings.version == "3" else ""
            raise DeviceError(f"{operation}: {failure}", where=self._where(), hint=hint)
        return int(status), [value for _, value in answer]

    async def _reach(self) -> Any:
        if self._target is None:
            address = (self._device.host, self._device.port)
            # Two tries within the deadline: one lost datagram costs half of it.
            self._target = await hlapi.UdpTransportTarget.create(address, self._device.deadline_s / 2, 1)
        return self._target

    def _context(self) -> Any:
        return hlapi.ContextData(contextName=self._settings.context.encode())

    def _engine(self) -> Any:
        """One engine for an event loop and a set of keys: an engine knows one pair of keys for a user name."""
        engines = _engines.setdefault(asyncio.get_running_loop(), {})
        if self._secrets not in engines:
            engines[self._secrets] = hlapi.SnmpEngine()
        return engines[self._secrets]

    def _timeout(self, operation: str) -> DeviceTimeout:
        hint = "" if self._settings.version == "3" else "an agent does not answer a wrong community"
        return DeviceTimeout(
            f"{operation}: no answer within {self._device.deadline_s:g} s", where=self._where(), hint=hint
        )

    def _where(self) -> str:
        return f"{self.name} (snmp v{self._settings.version} {self._device.host}:{self._device.port})"

    async def close(self) -> None:
        """Forget the agent; does not release. The engine's sockets close with the last device of the loop."""
        self._target = None


def _secrets(auth: SnmpAuth) -> tuple[str, ...]:
    """The credentials themselves, resolved; raises ConfigError where a reference leads nowhere."""
    if auth.version == "2c":
        return ("2c", resolve_secret(auth.community or ""))
    keys = (resolve_secret(auth.auth_key or ""), resolve_secret(auth.priv_key or ""))
    return ("3", auth.user or "", *keys, auth.auth_protocol, auth.priv_protocol)


def _credentials(auth: SnmpAuth, secrets: tuple[str, ...]) -> Any:
    if auth.version == "2c":
        return hlapi.CommunityData(secrets[1], mpModel=1)  # noqa: S508 - many PDUs speak nothing better
    return hlapi.UsmUserData(
        secrets[1],
        authKey=secrets[2],
        privKey=secrets[3],
        authProtocol=AUTH[auth.auth_protocol],
        privProtocol=PRIV[auth.priv_protocol],
    )


def _number(value: Any) -> float | None:
    """A number, also where the agent sends it as text; None where there is none."""
    if isinstance(value, NO_VALUE):
        return None
    try:
        return float(bytes(value).decode("ascii")) if isinstance(value, TEXT) else float(int(value))
    except (ValueError, TypeError, UnicodeDecodeError):
        return None


def _like(current: Any, raw: float) -> Any:
    return current.clone(f"{raw:g}".encode()) if isinstance(current, TEXT) else current.clone(round(raw))
