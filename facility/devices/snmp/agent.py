"""One SNMP agent over v2c or v3: GET in batches, GETBULK, SET. It knows no profiles."""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any

from facility.devices.snmp.udp_port import Port, knock
from facility.devices.snmp.value import NO_VALUE
from facility.errors import ConfigError, DeviceError, DeviceTimeout, Reason, network_reason
from facility.site import SnmpAuth, resolve_secret

with warnings.catch_warnings():
    # Where pysmi is installed, pysnmp touches names that pysmi has deprecated; nothing here uses either's MIB compiler.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pysnmp.error import PySnmpError
    from pysnmp.hlapi.v3arch import asyncio as hlapi
    from pysnmp.proto import errind

BATCH = 20  # OIDs a request: fits the smallest message that an agent must take (RFC 3417, 484 octets)
TOO_BIG, NO_SUCH_NAME, GEN_ERR = 1, 2, 5  # RFC 3416 error-status
ERRORS = {
    GEN_ERR: "genErr",
    6: "noAccess",
    7: "wrongType",
    8: "wrongLength",
    10: "wrongValue",
    16: "authorizationError",
    17: "notWritable",
}
HINTS = {
    "WrongDigest": "the authentication key or its protocol is wrong",
    "DecryptionError": "the privacy key or its protocol is wrong",
    "UnknownUserName": "the agent does not know this user",
    "UnknownSecurityName": "the agent does not know this user",
    "UnsupportedSecurityLevel": "the agent does not let this user use authPriv",
    "UnknownContextName": "the agent has no such context",
}
NOT_CREDENTIALS = ("UnknownContextName",)  # of these
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


class SnmpAgent:
    """The agent at ``host:port``. Nothing is sent before the first request; each takes ``deadline_s`` at most.

    ``name`` is what errors call the device, ``pause_s`` the time left between two requests. Raises ConfigError where a
    secret is missing.
    """

    def __init__(
        self, name: str, host: str, port: int, auth: SnmpAuth, deadline_s: float, *, pause_s: float = 0.0
    ) -> None:
        self.where = f"{name} (snmp v{auth.version} {host}:{port})"
        self._host, self._port, self._deadline_s = host, port, deadline_s
        self._settings = auth
        secrets = _secrets(auth)
        self._credentials = _credentials(auth, secrets)
        # v3: an engine an agent, for it remembers the agent's boots and time, and one pair of keys for a user name.
        self._engine_key = secrets if auth.version == "2c" else (*secrets, host, str(port))
        self._target: Any = None
        self._batch = BATCH
        self._has_answered = False
        self._port_says = Port.SILENT  # to the last request, where that was the first contact
        self._pause_s = pause_s

    async def get(self, oids: Sequence[str]) -> list[Any]:
        """Values in the order of ``oids``, in as many requests as they need; None for one that cannot be read now."""
        values: list[Any] = []
        while len(values) < len(oids):
            values += await self._get(oids[len(values) : len(values) + self._batch])
        return values

    async def _get(self, oids: Sequence[str]) -> list[Any]:
        """What does not fit one message, or is refused whole, is fetched in halves."""
        status, pairs = await self._ask(hlapi.get_cmd, [Binding(oid) for oid in oids], "read")
        if status in (TOO_BIG, NO_SUCH_NAME, GEN_ERR) and len(oids) > 1:
            middle = len(oids) // 2
            if status == TOO_BIG:
                self._batch = middle  # the agent is known now
            return await self._get(oids[:middle]) + await self._get(oids[middle:])
        if status == NO_SUCH_NAME:  # an agent of SNMP v1 behind a v2c face
            return [NO_VALUE[0]("")]
        if status == GEN_ERR:
            return [None]
        self._raise_on(status, "read")
        if len(pairs) != len(oids):
            raise DeviceError(f"{len(oids)} objects were asked for, {len(pairs)} came", where=self.where)
        return [value for _, value in pairs]

    async def bulk(self, cursor: str, rows: int) -> list[tuple[str, Any]]:
        """The next ``rows`` objects after ``cursor``; none at the end of the agent's view."""
        status, pairs = await self._ask(hlapi.bulk_cmd, [0, rows, Binding(cursor)], "walk")
        if status == NO_SUCH_NAME:
            return []
        self._raise_on(status, "walk")
        return [(str(oid), value) for oid, value in pairs if not isinstance(value, NO_VALUE)]

    async def set(self, oid: str, value: Any) -> None:
        """Write one object; an agent may say yes and change nothing."""
        status, _ = await self._ask(hlapi.set_cmd, [Binding(oid, value)], "write")
        self._raise_on(status, "write refused")

    def _raise_on(self, status: int, what: str) -> None:
        if status:
            raise DeviceError(f"{what}: {ERRORS.get(status, f'error status {status}')}", where=self.where)

    async def _ask(self, command: Any, bindings: list[Any], operation: str) -> tuple[int, list[Any]]:
        """Error status, and (OID, value) pairs. Raises DeviceError, DeviceTimeout."""
        await asyncio.sleep(self._pause_s)
        engine = self._engine()
        try:
            async with asyncio.timeout(self._deadline_s):
                target = await self._reach()
                context = hlapi.ContextData(contextName=self._settings.context.encode())
                request = command(engine, self._credentials, target, context, *bindings, lookupMib=False)
                failure, status, _, answer = await self._listened_to(request, operation)
        except asyncio.CancelledError:  # the caller's own deadline was the shorter one
            self._start_over()
            raise
        except TimeoutError as error:
            self._start_over()
            raise self._timeout(operation) from error
        except (OSError, PySnmpError) as error:
            self._start_over()
            reason = network_reason(error) if isinstance(error, OSError) else Reason.UNREACHABLE
            said = f"{operation} failed: {error}"
            raise DeviceError(said, where=self.where, hint="is the host right?", reason=reason) from error
        if failure:
            self._start_over()
            raise self._failure(failure, operation)
        return int(status), list(answer)

    async def _listened_to(self, request: Awaitable[Any], operation: str) -> Any:
        """The answer to ``request``; at first contact we knock at its port: a closed one ends the wait."""
        self._port_says = Port.SILENT
        if self._has_answered:
            return await request
        call = asyncio.ensure_future(request)
        knocking = asyncio.create_task(knock(self._host, self._port))
        try:
            await asyncio.wait({call, knocking}, return_when=asyncio.FIRST_COMPLETED)
            self._port_says = Port.SILENT if call.done() else await knocking
            if self._port_says is Port.CLOSED:
                hint = "nothing listens on this port: is SNMP on, and is the port right?"
                raise DeviceError(f"{operation}: refused", where=self.where, hint=hint, reason=Reason.REFUSED)
            answer = await call
            self._has_answered = True
            return answer
        finally:
            call.cancel()
            knocking.cancel()

    def _failure(self, failure: Any, operation: str) -> DeviceError:
        if isinstance(failure, errind.RequestTimedOut):
            return self._timeout(operation)
        default = "check user and keys" if self._settings.version == "3" else ""
        name = type(failure).__name__
        reason = Reason.CREDENTIALS if name in HINTS and name not in NOT_CREDENTIALS else Reason.ERROR
        hint = HINTS.get(name, default)
        return DeviceError(f"{operation}: {failure}", where=self.where, hint=hint, reason=reason)

    async def _reach(self) -> Any:
        if self._target is None:
            address = (self._host, self._port)
            # Two tries within the deadline: one lost datagram costs half of it.
            target = await hlapi.UdpTransportTarget.create(address, self._deadline_s / 2, 1)
            if self._host in _LOOPBACK:
                target.set_local_address(("127.0.0.1", 0))  # nothing of a local device is heard beyond this machine
            self._target = target
        return self._target

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
        self._has_answered = False
        if self._settings.version == "3":
            shared = _engines.get(asyncio.get_running_loop(), {}).pop(self._engine_key, None)
            if shared is not None:
                shared.engine.close_dispatcher()

    def _timeout(self, operation: str) -> DeviceTimeout:
        """Silence; but an agent that speaks v3 tells anybody that it is there, and so what it did not answer to."""
        said, hint, reason = f"{operation}: no answer within {self._deadline_s:g} s", "", Reason.TIMEOUT
        if self._settings.version == "2c":
            hint = "an agent does not answer a wrong community"
        if self._port_says is Port.ANSWERS:
            said, reason = f"{said}, though an agent is there", Reason.CREDENTIALS
            hint = hint or "an agent may not answer a wrong privacy key"
        return DeviceTimeout(said, where=self.where, hint=hint, reason=reason)

    async def close(self) -> None:
        """Leave the engine, and close it where nobody else uses it."""
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
