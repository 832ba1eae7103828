"""SNMP v2c and v3: GETs in batches; a SET is to be read back, for some agents acknowledge and change nothing."""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from facility.clock import Clock
from facility.devices.base import ProfileDevice
from facility.errors import ConfigError, DeviceError, DeviceTimeout
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


@dataclass(slots=True)
class Shared:
    """One SNMP engine, its sockets, and the devices that use it."""

    engine: Any = field(default_factory=hlapi.SnmpEngine)
    users: set[int] = field(default_factory=set)


_Engines = dict[tuple[str, ...], Shared]
_LOOPBACK = ("127.0.0.1", "localhost")
_engines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Engines] = weakref.WeakKeyDictionary()


class Binding(hlapi.ObjectType):  # type: ignore[misc]  # pysnmp is not typed
    """An OID and a value as they are: pysnmp would look for MIBs, compile and even fetch them, for unneeded names."""

    def __init__(self, oid: str, value: Any = None) -> None:
        super().__init__(hlapi.ObjectIdentity(oid))
        self._pair = (hlapi.ObjectIdentifier(oid), hlapi.Null("") if value is None else value)

    def __getitem__(self, index: int) -> Any:
        return self._pair[index]

    def resolve_with_mib(self, *_: Any, **__: Any) -> Binding:
        """Nothing is left to resolve."""
        return self


class SnmpDevice(ProfileDevice):
    """One SNMP agent. Writing needs v3, unless the site file allows it over v2c."""

    def __init__(self, device: Device, auth: SnmpAuth, profile: Profile, clock: Clock) -> None:
        super().__init__(device.name, profile, clock, "snmp")
        self._device = device
        self._settings = auth
        secrets = _secrets(auth)
        self._credentials = _credentials(auth, secrets)
        # v3: an engine an agent, for it remembers the agent's boots and time, and one pair of keys for a user name.
        self._engine_key = secrets if auth.version == "2c" else (*secrets, device.host, str(device.port))
        self._target: Any = None

    async def _read_raw(self, wanted: Sequence[ProfilePoint]) -> list[float | None]:
        raws: list[float | None] = []
        for start in range(0, len(wanted), BATCH):
            oids = [point.oid for point in wanted[start : start + BATCH]]
            raws += [_number(value) for value in await self._get(oids)]
        return raws

    async def _get(self, oids: Sequence[str]) -> list[Any]:
        """Values in the order of ``oids``; an answer that does not fit one message is fetched in halves."""
        status, values = await self._ask(hlapi.get_cmd, [Binding(oid) for oid in oids], "read")
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
        status, _ = await self._ask(hlapi.set_cmd, [Binding(point.oid, value)], "write")
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
        except asyncio.CancelledError:  # the caller's own deadline was the shorter one
            self._start_over()
            raise
        except TimeoutError as error:
            self._start_over()
            raise self._timeout(operation) from error
        if failure:
            self._start_over()
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
            target = await hlapi.UdpTransportTarget.create(address, self._device.deadline_s / 2, 1)
            if self._device.host in _LOOPBACK:
                target.set_local_address(("127.0.0.1", 0))  # nothing of a local device is heard beyond this machine
            self._target = target
        return self._target

    def _context(self) -> Any:
        return hlapi.ContextData(contextName=self._settings.context.encode())

    def _engine(self) -> Any:
        """The engine for our key in the running loop; never shared across loops."""
        engines = _engines.setdefault(asyncio.get_running_loop(), {})
        if self._engine_key not in engines:
            engines[self._engine_key] = Shared()
        shared = engines[self._engine_key]
        shared.users.add(id(self))
        return shared.engine

    def _start_over(self) -> None:
        """After a failure over v3: an agent that was restarted is not known again by an engine that knew it before."""
        if self._settings.version == "3":
            shared = _engines.get(asyncio.get_running_loop(), {}).pop(self._engine_key, None)
            if shared is not None:
                shared.engine.close_dispatcher()

    def _timeout(self, operation: str) -> DeviceTimeout:
        hint = "" if self._settings.version == "3" else "an agent does not answer a wrong community"
        return DeviceTimeout(
            f"{operation}: no answer within {self._device.deadline_s:g} s", where=self._where(), hint=hint
        )

    def _where(self) -> str:
        return f"{self.name} (snmp v{self._settings.version} {self._device.host}:{self._device.port})"

    async def close(self) -> None:
        """Leave the engine, and close it where nobody else uses it; does not release."""
        self._target = None
        engines = _engines.get(asyncio.get_running_loop(), {})
        shared = engines.get(self._engine_key)
        if shared is None:
            return
        shared.users.discard(id(self))
        if not shared.users:
            del engines[self._engine_key]
            shared.engine.close_dispatcher()


def _secrets(auth: SnmpAuth) -> tuple[str, ...]:
    """The credentials themselves, resolved; raises ConfigError where a reference leads nowhere."""
    if auth.version == "2c":
        return ("2c", resolve_secret(auth.community or ""))
    keys = (resolve_secret(auth.auth_key or ""), resolve_secret(auth.priv_key or ""))
    return ("3", auth.user or "", *keys, auth.auth_protocol, auth.priv_protocol)


def _credentials(auth: SnmpAuth, secrets: tuple[str, ...]) -> Any:
    if auth.version == "2c":
        return hlapi.CommunityData(secrets[1], mpModel=1)  # noqa: S508 - many PDUs speak nothing better
    try:
        import cryptography  # noqa: F401 - pysnmp takes AES from it and does not declare it
    except ImportError as error:
        raise ConfigError("SNMP v3 needs the package 'cryptography'", hint="pip install cryptography") from error
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
