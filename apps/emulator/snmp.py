"""SNMP agents of the emulated building: read only, v2c for the PDUs, v3 for all; one agent a socket."""

from __future__ import annotations

import bisect
import hashlib
import socket
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from apps.emulator.objects import Objects, Oid

with warnings.catch_warnings():
    # Where pysmi is installed, pysnmp touches names that pysmi has deprecated; the MIB compiler is not used here.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pysnmp.carrier.asyncio.dgram import udp
    from pysnmp.entity import config, engine
    from pysnmp.entity.rfc3413 import cmdrsp, context
    from pysnmp.proto import rfc1902
    from pysnmp.smi import error, exval, instrum

USER = "eco"
COMMUNITY = "public"
_READABLE = (1, 3, 6)
_BOOTS_EPOCH_S = 1_600_000_000  # boots counts seconds since then: it grows from start to start without a file


@dataclass(frozen=True, slots=True)
class Keys:
    """Secrets of the v3 user."""

    auth: str
    priv: str


class _Mib(instrum.AbstractMibInstrumController):  # type: ignore[misc]  # pysnmp has no types
    """The objects of one device, looked up when somebody asks."""

    def __init__(self, objects: Callable[[], Objects]) -> None:
        self._objects = objects

    def read_variables(self, *bindings: Any, **options: Any) -> list[Any]:
        """GET."""
        objects = self._objects()
        self._check_access("read", bindings, options)
        return [(name, objects.get(tuple(name), exval.noSuchInstance)) for name, _ in bindings]

    def read_next_variables(self, *bindings: Any, **options: Any) -> list[Any]:
        """GETNEXT, and each step of GETBULK."""
        objects = self._objects()
        self._check_access("read", bindings, options)
        order = sorted(objects)
        return [self._after(tuple(name), order, objects) for name, _ in bindings]

    def write_variables(self, *bindings: Any, **options: Any) -> list[Any]:
        """SET is refused: these devices are read only."""
        raise error.NotWritableError(name=bindings[0][0], idx=0)

    def _after(self, oid: Oid, order: list[Oid], objects: Objects) -> tuple[Any, Any]:
        place = bisect.bisect_right(order, oid)
        if place == len(order):
            return rfc1902.ObjectName(oid), exval.endOfMibView
        return rfc1902.ObjectName(order[place]), objects[order[place]]

    def _check_access(self, view: str, bindings: Any, options: dict[str, Any]) -> None:
        for index, binding in enumerate(bindings):
            if options["acFun"](view, binding, idx=index, **options):
                raise error.AuthorizationError(name=binding[0], idx=index)


class Agent:
    """One device's agent."""

    def __init__(
        self, identity: str, listener: socket.socket, objects: Callable[[], Objects], keys: Keys, v2c: bool
    ) -> None:
        """``identity`` makes the engine ID; ``listener`` is a bound UDP socket. Needs a running event loop."""
        digest = hashlib.sha256(identity.encode()).hexdigest()[:24]
        # RFC 3411: enterprise 20408 (pysnmp) with the first bit set, then format 5, octets.
        self._engine = engine.SnmpEngine(rfc1902.OctetString(hexValue=f"80004fb805{digest}"))
        (boots,) = self._engine.get_mib_builder().import_symbols("__SNMP-FRAMEWORK-MIB", "snmpEngineBoots")
        boots.syntax = boots.syntax.clone(int(time.time()) - _BOOTS_EPOCH_S)
        config.add_transport(self._engine, udp.DOMAIN_NAME, udp.UdpAsyncioTransport().open_server_mode(sock=listener))
        self._admit(keys, v2c)
        mib = _Mib(objects)
        served = context.SnmpContext(self._engine)
        served.unregister_context_name(b"")
        served.register_context_name(b"", mib)
        for responder in (
            cmdrsp.GetCommandResponder,
            cmdrsp.NextCommandResponder,
            cmdrsp.BulkCommandResponder,
            cmdrsp.SetCommandResponder,
        ):
            responder(self._engine, served)

    def _admit(self, keys: Keys, v2c: bool) -> None:
        if v2c:
            config.add_v1_system(self._engine, "reader", COMMUNITY)
            config.add_vacm_user(self._engine, 2, "reader", "noAuthNoPriv", _READABLE)
        config.add_v3_user(
            self._engine, USER, config.USM_AUTH_HMAC192_SHA256, keys.auth, config.USM_PRIV_CFB128_AES, keys.priv
        )
        config.add_vacm_user(self._engine, 3, USER, "authPriv", _READABLE)

    def close(self) -> None:
        """Stop answering."""
        self._engine.close_dispatcher()
